"""How the page looks: on a screen, light or dark, on a phone, and on paper."""

from __future__ import annotations

from typing import Final

__all__ = ["STYLE"]

STYLE: Final = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --wash: #f5f6f8; --ink: #15181e; --soft: #565d6b; --rule: #e1e4ea;
  --accent: #0b6e69; --range: #0b6e6938; --ghost: #757d8c; --band: #757d8c2e;
  --bad: #a8361a; --bad-wash: #fbe9e4; --warn: #7a5200; --warn-wash: #fbf0d9;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #101318; --wash: #191d24; --ink: #e8eaef; --soft: #a3abba; --rule: #2b313c;
    --accent: #52c4b8; --range: #52c4b845; --ghost: #8d96a6; --band: #8d96a633;
    --bad: #f2977a; --bad-wash: #3a1f18; --warn: #e6bb66; --warn-wash: #35290f;
  }
}
* { box-sizing: border-box; }
html { background: var(--paper); color: var(--ink); -webkit-text-size-adjust: 100%; }
body {
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  margin: 0 auto; max-width: 66rem; padding: 2.5rem 1.5rem 4rem;
}
h1 { font-size: 1.75rem; letter-spacing: -0.015em; line-height: 1.2; margin: 0; }
h2 {
  border-top: 1px solid var(--rule); font-size: 1.3rem; letter-spacing: -0.01em;
  line-height: 1.25; margin: 3.25rem 0 0.25rem; padding-top: 1.5rem;
}
h3 { font-size: 1rem; margin: 2rem 0 0.5rem; }
p { margin: 0.4rem 0; max-width: 46rem; }
.lead, .note, figcaption, footer, summary { color: var(--soft); }
.note, figcaption, footer, summary { font-size: 0.875rem; }
header p { color: var(--soft); margin: 0.35rem 0 0; overflow-wrap: anywhere; }

.headlines {
  display: grid; gap: 1px; grid-template-columns: repeat(5, 1fr); margin: 2rem 0 0; padding: 0;
  background: var(--rule); border: 1px solid var(--rule); border-radius: 10px; overflow: hidden;
}
.headlines div { background: var(--paper); padding: 1rem 1.1rem 1.05rem; }
.headlines dt { color: var(--soft); font-size: 0.8125rem; }
.headlines dd { margin: 0; }
.headlines .value {
  font-size: 1.75rem; font-variant-numeric: tabular-nums; font-weight: 650;
  letter-spacing: -0.025em; line-height: 1.3; white-space: nowrap;
}
.headlines .under { color: var(--soft); font-size: 0.8125rem; line-height: 1.35; }

figure { margin: 1.5rem 0 0; }
figcaption { align-items: center; display: flex; flex-wrap: wrap; gap: 0.15rem 1.25rem; }
figcaption strong { color: var(--ink); font-size: 1rem; }
.key { align-items: center; display: inline-flex; gap: 0.45rem; }
.key::before {
  background: var(--look); border-radius: 2px; content: ""; height: 3px; width: 18px;
  print-color-adjust: exact; -webkit-print-color-adjust: exact;
}
.key.area::before { border: 1px solid var(--ghost); height: 11px; }
.key.dashed::before {
  background: repeating-linear-gradient(90deg, var(--look) 0 5px, transparent 5px 8px);
}
svg text { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
svg.trend {
  display: block; height: 210px; margin: 0.9rem 0.75rem 2rem 4.1rem; overflow: visible;
  width: calc(100% - 4.85rem);
}
svg.trend svg { overflow: visible; }
.grid { stroke: var(--rule); }
.zero, .mark { stroke: var(--ghost); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
.line.accent { stroke: var(--accent); }
.line.bad { stroke: var(--bad); }
.line.ghost { stroke: var(--ghost); stroke-dasharray: 5 3; }
.band { fill: var(--band); }
circle.accent, rect.accent { fill: var(--accent); }
circle.bad, rect.bad { fill: var(--bad); }
circle.ghost, rect.ghost { fill: var(--ghost); }
rect.range { fill: var(--range); }
line.budget { stroke: var(--ink); stroke-width: 2; }
svg.strip {
  display: block; height: 12px; min-width: 7rem; overflow: visible; width: 100%;
  background: linear-gradient(var(--rule), var(--rule)) center / 100% 1px no-repeat;
}

.scroll { margin: 0.6rem 0 0; overflow-x: auto; }
.scroll:focus-visible, summary:focus-visible {
  outline: 2px solid var(--accent); outline-offset: 2px;
}
table { border-collapse: collapse; font-size: 0.875rem; line-height: 1.4; width: 100%; }
caption {
  color: var(--ink); font-size: 1rem; font-weight: 600; padding: 1.6rem 0 0.35rem; text-align: left;
}
th, td { border-bottom: 1px solid var(--rule); padding: 0.42rem 1rem 0.42rem 0; text-align: left; }
th { font-weight: 500; vertical-align: top; }
thead th { color: var(--soft); font-size: 0.8125rem; vertical-align: bottom; }
td { vertical-align: top; }
th.n, td.n { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap; }
th.when, td.when { white-space: nowrap; }
td.wide { min-width: 8.5rem; padding-top: 0.65rem; width: 30%; }
td.say { min-width: 15rem; }
tr > :last-child { padding-right: 0; }
tr.part th { color: var(--soft); font-weight: 400; padding-left: 1.1rem; }
tbody th { max-width: 20rem; min-width: 7rem; overflow-wrap: break-word; }
.weak { color: var(--soft); }
.tag {
  border-radius: 4px; display: inline-block; font-size: 0.8125rem; padding: 0 0.4rem;
  white-space: nowrap;
}
.tag.too_strict, .tag.refusal { background: var(--warn-wash); color: var(--warn); }
.tag.too_loose { background: var(--bad-wash); color: var(--bad); }
.tag.no_sign, .tag.too_few_labels { color: var(--soft); padding-left: 0; }
details { margin-top: 0.6rem; }
summary { cursor: pointer; width: fit-content; }
ul { margin: 0.75rem 0 0; max-width: 46rem; padding-left: 1.15rem; }
li { margin: 0.3rem 0; }
footer { border-top: 1px solid var(--rule); margin-top: 3.25rem; padding-top: 1rem; }

@media (max-width: 58rem) { .headlines { grid-template-columns: repeat(6, 1fr); }
  .headlines div { grid-column: span 2; }
  .headlines div:nth-child(-n+2) { grid-column: span 3; } }
@media (max-width: 36rem) {
  body { padding: 1.5rem 1rem 3rem; }
  .headlines div, .headlines div:nth-child(-n+2) { grid-column: span 3; padding: 0.8rem 0.9rem; }
  .headlines div:last-child:nth-child(odd) { grid-column: span 6; }
  .headlines .value { font-size: 1.45rem; }
  svg.trend { height: 170px; margin-left: 3.5rem; width: calc(100% - 4.25rem); }
  svg .minor { display: none; }
  th.wide, td.wide, .note.wide { display: none; }
  th, td { padding-right: 0.6rem; }
  table { font-size: 0.8125rem; }
  tbody th { min-width: 0; }
  table.tall { display: grid; grid-template-columns: repeat(var(--values), auto); }
  .tall caption, .tall thead, .tall tbody, .tall tr { grid-column: 1 / -1; }
  .tall caption { display: block; }
  .tall thead, .tall tbody, .tall tr {
    display: grid; grid-template-columns: repeat(var(--values), 1fr);
    grid-template-columns: subgrid;
  }
  .tall tr { border-bottom: 1px solid var(--rule); padding: 0.35rem 0; }
  .tall th, .tall td { border: 0; padding-block: 0.05rem; }
  .tall tr > :first-child, .tall td.say { grid-column: 1 / -1; }
  .tall thead th { align-self: end; white-space: normal; }
  .tall td.when { white-space: normal; }
  .tall th.say { display: none; }
  .tall tbody th { max-width: none; }
}
@media print {
  :root {
    color-scheme: light;
    --paper: #ffffff; --wash: #ffffff; --ink: #000000; --soft: #444444; --rule: #cccccc;
    --accent: #0b6e69; --range: #0b6e6938; --ghost: #666666; --band: #66666626;
    --bad: #a8361a; --bad-wash: #ffffff; --warn: #7a5200; --warn-wash: #ffffff;
  }
  @page { margin: 16mm 14mm; }
  body { font-size: 9.5pt; line-height: 1.45; max-width: none; padding: 0; }
  h2 { margin-top: 1.75rem; padding-top: 1rem; }
  .headlines {
    grid-template-columns: repeat(5, 1fr); print-color-adjust: exact;
    -webkit-print-color-adjust: exact;
  }
  .headlines div, .headlines div:nth-child(-n+2) { grid-column: auto; padding: 0.7rem 0.8rem; }
  .headlines .value { font-size: 1.3rem; }
  .headlines dt, .headlines .under, table, thead th, .tag { font-size: 8.5pt; }
  .note, figcaption { font-size: 8.5pt; }
  svg.trend { height: 150px; }
  caption { padding-top: 1rem; }
  th, td { padding-block: 0.22rem; padding-right: 0.7rem; }
  td.wide { padding-top: 0.4rem; width: 22%; }
  tbody th { min-width: 6.5rem; }
  h2, h3, caption { break-after: avoid; }
  figure, tr, .headlines { break-inside: avoid; }
  .scroll { overflow: visible; }
  details:not([open]) { display: none; }
  svg { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
