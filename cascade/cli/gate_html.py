"""The gate's report as one HTML file: no script, nothing loaded from anywhere, no content."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from cascade.evals.arms import Pairs, signals_shown
from cascade.evals.frontier import Point, hull
from cascade.evals.gate import Comparison, Finding, Report
from cascade.evals.gate_view import as_dict
from cascade.evals.statistics import Bin, calibration_error, reliability
from cascade.report.markup import Html, el, join, name

__all__ = ["html"]

_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:#1c2430;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}
.PASS{color:#14713d}.FAIL{color:#b3261e}.INCONCLUSIVE{color:#8a5a00}
table{border-collapse:collapse;width:100%}td,th{padding:.3rem .5rem;text-align:right;
border-bottom:1px solid #d9dee5}td:first-child,th:first-child,td:last-child{text-align:left}
svg{width:100%;height:auto;font:12px system-ui,sans-serif}svg text{fill:currentColor}
.axis{stroke:#8b95a3}.zero{stroke:#1c2430}.margin{stroke:#b3261e;stroke-dasharray:4 3}
.range{stroke:#3b6fb6;stroke-width:3}.dot{fill:#3b6fb6}.other{fill:#8b95a3}
.worse .range{stroke:#b3261e}.worse .dot{fill:#b3261e}.open .range{stroke:#8a5a00}
.open .dot{fill:#8a5a00}.few .range{stroke:#8b95a3}.few .dot{fill:#8b95a3}
.hull{fill:none;stroke:#8b95a3;stroke-dasharray:3 3}.ideal{stroke:#8b95a3}
@media(prefers-color-scheme:dark){body{color:#e4e8ee;background:#14181e}
td,th{border-color:#333b46}.zero{stroke:#e4e8ee}.PASS{color:#5fd08c}.FAIL{color:#ff8a80}
.INCONCLUSIVE{color:#e6b450}.range{stroke:#7aa7e0}.dot{fill:#7aa7e0}.margin{stroke:#ff8a80}
.worse .range{stroke:#ff8a80}.worse .dot{fill:#ff8a80}.open .range{stroke:#e6b450}
.open .dot{fill:#e6b450}}
"""
_WIDTH: Final = 720
_LONGEST: Final = 22  # letters of a slice's name


def html(report: Report, tiers: Mapping[str, tuple[float, float]]) -> str:
    """The whole page.

    Args:
        tiers: the mean cost in USD and the mean grade of single tiers, to stand beside the two.
    """
    title = f"cascade gate: {report.verdict}"
    baseline, candidate = report.pairs.names
    page = el(
        "html",
        el("head", el("meta", charset="utf-8"), el("title", title), el("style", Html(_STYLE))),
        el(
            "body",
            el("h1", title, class_=report.verdict),
            el(
                "p", name(candidate), " against ", name(baseline),
                f", within {report.settings.within:.2%} at {report.settings.confidence:.0%} "
                "confidence",
            ),
            el("ul", *(el("li", str(why)) for why in report.reasons)),
            _section("Change of quality", forest(report)),
            _section("Cost and quality", frontier(report, tiers)),
            _reliabilities(report.pairs),
            _section("Figures", _table(report)),
            _section("Cases answered differently well", _cases(report)),
        ),
        lang="en",
    )  # fmt: skip
    return f"<!doctype html>\n{page}\n"


def _section(title: str, *children: Html) -> Html:
    return el("section", el("h2", title), *children)


def _x(value: float, low: float, high: float, left: float = 60.0, right: float = 20.0) -> float:
    return left + (value - low) / (high - low) * (_WIDTH - left - right)


def forest(report: Report) -> Html:
    """The forest plot: the difference and its interval, overall and of each slice."""
    rows = (report.overall, *report.slices)
    ends = [0.0, -report.settings.within]
    for one in rows:
        lower, upper = _bounds(one)
        ends += [lower, upper]
    pad = max(max(ends) - min(ends), 0.001) * 0.05
    low, high = min(ends) - pad, max(ends) + pad
    height = 28 * len(rows) + 40
    lines = [_vertical(0.0, low, high, height, "zero", "0", "start")]
    margin = f"-{report.settings.within:.1%}"
    lines.append(_vertical(-report.settings.within, low, high, height, "margin", margin, "end"))
    drawn = [_whisker(one, place, low, high) for place, one in enumerate(rows)]
    return _svg(height, "Change of quality with its interval", *lines, *drawn)


def _bounds(one: Comparison) -> tuple[float, float]:
    if one.test is None or one.upper is None:
        return one.difference, one.difference
    return one.test.lower, one.upper


def _vertical(
    at: float, low: float, high: float, height: int, look: str, label: str, anchor: str
) -> Html:
    x = _forest_x(at, low, high)
    return join(
        el("line", x1=x, x2=x, y1=8, y2=height - 24, class_=look),
        el("text", label, x=x, y=height - 8, text_anchor=anchor),
    )


def _forest_x(value: float, low: float, high: float) -> float:
    """With room for names on the left and figures on the right."""
    return _x(value, low, high, 150.0, 200.0)


_LOOKS: Final[Mapping[Finding, str]] = {"too few cases": "few", "not worse": "fine"}


def _whisker(one: Comparison, place: int, low: float, high: float) -> Html:
    y = 24 + 28 * place
    lower, upper = _bounds(one)
    told = f"{one.difference:+.2%}"
    if one.test is not None:
        told += f" ({lower:+.2%} to {upper:+.2%})"
    ends = {"x1": _forest_x(lower, low, high), "x2": _forest_x(upper, low, high)}
    return el(
        "g",
        el("text", _shortened(one.name or "overall"), x=4, y=y + 4),
        el("line", **ends, y1=y, y2=y, class_="range"),
        el("circle", cx=_forest_x(one.difference, low, high), cy=y, r=5, class_="dot"),
        el("text", told, x=_WIDTH - 4, y=y + 4, text_anchor="end"),
        class_=_LOOKS.get(one.finding, one.finding),
    )


def _shortened(text: str) -> str:
    """What fits beside the plot; the table has the whole name."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"


def frontier(report: Report, tiers: Mapping[str, tuple[float, float]]) -> Html:
    """Cost against quality: the two sides, single tiers, and what mixing those would get."""
    baseline, candidate = report.pairs.names
    both = {
        baseline: (report.cost.baseline_usd, report.overall.baseline),
        candidate: (report.cost.candidate_usd, report.overall.candidate),
    }
    points = {**{tier: at for tier, at in tiers.items() if at not in both.values()}, **both}
    costs, grades = zip(*points.values(), strict=True)
    top = max(costs) * 1.1 or 1.0
    low, high = max(min(grades) - 0.05, 0.0), min(max(grades) + 0.05, 1.0)
    mixture = hull(Point(*at) for at in tiers.values())

    def place(cost: float, grade: float) -> tuple[float, float]:
        return _x(cost, 0.0, top), 20 + (high - grade) / (high - low) * 220

    path = "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in mixture))
    return _svg(
        290,
        "Cost against quality",
        *_axes(f"${1000 * top:.3g} per 1,000", f"{low:.0%}", f"{high:.0%}"),
        el("path", d=path, class_="hull") if len(mixture) > 1 else Html(),
        *(_spot(label, *place(*at), look="dot" if label in both else "other")
          for label, at in points.items()),
    )  # fmt: skip


def _axes(right: str, bottom: str, top: str, left: str = "0") -> tuple[Html, ...]:
    return (
        el("line", x1=60, x2=_WIDTH - 20, y1=240, y2=240, class_="axis"),
        el("line", x1=60, x2=60, y1=20, y2=240, class_="axis"),
        el("text", right, x=_WIDTH - 20, y=258, text_anchor="end"),
        el("text", left, x=60, y=258, text_anchor="middle"),
        el("text", bottom, x=54, y=244, text_anchor="end"),
        el("text", top, x=54, y=24, text_anchor="end"),
    )


def _spot(label: str, x: float, y: float, look: str) -> Html:
    near_the_edge = x > _WIDTH * 0.7
    return join(
        el("circle", cx=x, cy=y, r=5, class_=look),
        el(
            "text", label, x=x - 9 if near_the_edge else x + 9, y=y + 4,
            text_anchor="end" if near_the_edge else "start",
        ),
    )  # fmt: skip


def _reliabilities(pairs: Pairs) -> Html:
    """A reliability diagram of each signal of the candidate's that states a probability."""
    shown = signals_shown(pairs.candidate)
    if not shown:
        return Html()
    drawn = [
        join(
            el("h3", name(signal)),
            diagram(signal, reliability(stated, grades, adaptive=True)),
        )
        for signal, (stated, grades) in list(shown.items())[:4]
    ]
    return _section("Are the candidate's signals honest?", *drawn)


def diagram(signal: str, bins: tuple[Bin, ...]) -> Html:
    """Stated against observed: on the diagonal a signal is a probability."""
    # Scores crowd near 1, so that axes from 0 on would show little else than a blot.
    least = min(min(one.stated, one.interval[0]) for one in bins)
    low = min(math.floor(least * 10) / 10, 0.9)

    def place(stated: float, observed: float) -> tuple[float, float]:
        return _x(stated, low, 1.0), 240 - (observed - low) / (1 - low) * 220

    dots: list[Html] = []
    for one in bins:
        x, y = place(one.stated, one.observed)
        bottom, top = (place(one.stated, end)[1] for end in one.interval)
        dots += [
            el("line", x1=x, x2=x, y1=bottom, y2=top, class_="range"),
            el("circle", cx=x, cy=y, r=3 + 6 * one.weight**0.5, class_="dot"),
        ]
    (x1, y1), (x2, y2) = place(low, low), place(1.0, 1.0)
    caption = f"stated (across) and observed; calibration error {calibration_error(bins):.3f}"
    return _svg(
        290,
        f"Reliability of {signal}",
        *_axes("100%", f"{low:.0%}", "100%", left=f"{low:.0%}"),
        el("text", caption, x=_WIDTH / 2 + 20, y=258, text_anchor="middle"),
        el("line", x1=x1, x2=x2, y1=y1, y2=y2, class_="ideal"),
        *dots,
    )


def _svg(height: int, label: str, *children: Html) -> Html:
    return el(
        "svg", el("title", label), *children,
        viewBox=f"0 0 {_WIDTH} {height}", role="img", aria_label=label,
    )  # fmt: skip


def _table(report: Report) -> Html:
    escalation: Mapping[str, float | None] = as_dict(report)["escalation"]
    header = ("", "cases", "baseline", "candidate", "change", "better", "worse", "")
    rows = [_row(one) for one in (report.overall, *report.slices)]
    facts = {
        "Mean cost": f"${1000 * report.cost.baseline_usd:.4f} to "
        f"${1000 * report.cost.candidate_usd:.4f} per 1,000",
        **({"Escalated": _both(escalation)} if any(escalation.values()) else {}),
        "Left out": ", ".join(f"{n} {what}" for what, n in report.pairs.unpaired.items()) or "none",
    }
    return join(
        el("table", el("tr", *(el("th", cell) for cell in header)), *rows),
        el("p", join(*(el("span", f"{key}: {value}. ") for key, value in facts.items()))),
    )


def _both(sides: Mapping[str, float | None]) -> str:
    return " to ".join("not known" if one is None else f"{one:.1%}" for one in sides.values())


def _row(one: Comparison) -> Html:
    cells = (
        f"{one.n:,}",
        f"{one.baseline:.2%}",
        f"{one.candidate:.2%}",
        f"{one.difference:+.2%}",
        str(one.gains),
        str(one.losses),
        one.finding,
    )
    return el("tr", el("td", name(one.name or "overall")), *(el("td", cell) for cell in cells))


def _cases(report: Report) -> Html:
    return join(
        el("p", el("b", "Worse: "), _names(report.losses)),
        el("p", el("b", "Better: "), _names(report.gains)),
    )


def _names(ids: Sequence[str]) -> Html:
    return join(*_separated(ids)) if ids else Html("none")


def _separated(ids: Sequence[str]) -> Iterable[Html]:
    for place, one in enumerate(ids):
        yield join(", " if place else "", name(one))
