"""The report in the terminal: the page's figures, without its trends."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Final, TypeAlias

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cascade.report.claims import (
    FINDINGS,
    about_threshold,
    assumption,
    gaps,
    headlines,
    period,
)
from cascade.report.figures import Bill, Figures, Latency, Share
from cascade.report.words import (
    DASH,
    count,
    day_time,
    interval,
    money,
    of_cascade,
    of_path,
    percent,
    plural,
    rate,
    route,
    seconds,
    spent,
)

__all__ = ["show"]

Cells: TypeAlias = Sequence[str | Text]
Part: TypeAlias = tuple[str, RenderableType | None]

_MIN_WIDTH: Final = 80
_MAX_WIDTH: Final = 120
_MOST_STEPS: Final = 10
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_LOOKS: Final = {"too_strict": "yellow", "too_loose": "red", "too_few_labels": "dim"}


def show(figures: Figures) -> None:
    """Print it on stdout."""
    console = Console(highlight=False, markup=False, emoji=False)
    console.width = min(max(console.width, _MIN_WIDTH), _MAX_WIDTH)
    with console.capture() as printed:
        requests = plural(figures.totals.requests, "request")
        console.print(Text(f"{_safe(figures.ledger)}: {requests}, {period(figures)}"))
        for title, part in _parts(figures) if figures.totals.requests else ():
            if part is not None:
                console.print()
                console.print(Text(title, style="bold"))
                console.print(Padding(part, (0, 0, 0, 2), expand=False))
    # Not by rich, which ends the process with a code of its own when the reader has gone away.
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in printed.get().splitlines()))


def _parts(figures: Figures) -> Iterator[Part]:
    yield "Headline", _headlines(figures)
    yield "Against the strongest tier alone", _lines(assumption(figures.saving))
    yield "Spend", _spend(figures)
    yield "Escalation by tier", _tiers(figures)
    yield "Why answers were not accepted", _steps(figures)
    yield "Right answers", _quality(figures)
    yield "Thresholds", _thresholds(figures)
    yield "Latency by path", _latency(figures)
    yield "What failed", _faults(figures)
    yield "How requests ended", _endings(figures)
    yield "What the ledger does not say", _lines(gaps(figures))


def _headlines(figures: Figures) -> Table:
    rows = [(one.name, Text(one.value, style="bold"), one.note) for one in headlines(figures)]
    return _table(("", "", ""), rows, right=(1,), headings=False)


def _spend(figures: Figures) -> Table:
    total = sum((bill.cost_usd for _, bill in figures.tier_bills), Decimal(0))
    total += sum((bill.cost_usd for _, bill in figures.judge_bills), Decimal(0))

    def row(kind: str, what: str, bill: Bill) -> Cells:
        share = percent(float(bill.cost_usd / total)) if total else DASH
        mean = DASH if bill.mean_usd is None else money(bill.mean_usd)
        return kind, what, spent(bill), share, count(bill.count), mean

    rows = [row("tier", tier, bill) for tier, bill in figures.tier_bills]
    rows += [row("tier", f"{tier}, as a judge", bill) for tier, bill in figures.judge_bills]
    rows += [row("path", route(one.cascade, one.path), one.bill) for one in figures.paths]
    rows += [row("tenant", tenant or "(nobody named)", bill) for tenant, bill in figures.tenants]
    if figures.other_tenants is not None:
        number, bill = figures.other_tenants
        rows.append(row("tenant", plural(number, "other"), bill))
    return _table(("", "", "USD", "share", "calls", "mean"), rows, right=(2, 3, 4, 5))


def _tiers(figures: Figures) -> Table:
    rows = [
        (
            f"{route(one.cascade, one.path)} / {one.tier}",
            count(one.asked),
            count(one.accepted),
            rate(one.escalated),
            interval(one.escalated),
        )
        for one in figures.tiers
    ]
    heads = ("cascade / path / tier", "asked", "accepted", "escalated", "interval")
    return _table(heads, rows, right=(1, 2, 3, 4))


def _steps(figures: Figures) -> RenderableType | None:
    if not figures.steps:
        return None
    shown = figures.steps[:_MOST_STEPS]
    rows = [
        (
            f"{of_cascade(one.cascade)} / {one.tier}",
            one.to or DASH,
            f"{one.outcome.replace('_', ' ')}: {one.reason}",
            count(one.count),
        )
        for one in shown
    ]
    found = _table(("cascade / tier", "went on to", "because", "count"), rows, right=(3,))
    left = len(figures.steps) - len(shown)
    return Group(found, Text(f"and {plural(left, 'rarer reason')}", "dim")) if left else found


def _quality(figures: Figures) -> RenderableType:
    rows = [
        (f"{of_cascade(one.cascade)} / {what}", *_share(one.correct), count(one.calls))
        for found, fallback in ((figures.tier_quality, "?"), (figures.path_quality, of_path(None)))
        for one in found
        for what in (one.name or fallback,)
    ]
    if not any(one.correct.of for one in figures.tier_quality):
        return Text("no labels: record_outcome(id, correct=...) adds one")
    heads = ("cascade / tier or path", "right", "interval", "labels", "accepted")
    return _table(heads, rows, right=(1, 2, 3, 4))


def _share(share: Share) -> tuple[str, str, str]:
    return rate(share), interval(share), count(share.of)


def _thresholds(figures: Figures) -> Table | None:
    if not figures.thresholds:
        return None
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    for one in figures.thresholds:
        where = f"{of_cascade(one.cascade)} / {one.tier}, {one.validator} at {one.threshold:g}"
        text = Text(f"{_safe(where)}, rejects {rate(one.rejected)}\n")
        text.append(_safe(about_threshold(one)), "dim")
        table.add_row(Text(FINDINGS[one.finding], style=_LOOKS.get(one.finding, "")), text)
    return table


def _latency(figures: Figures) -> Table:
    rows: list[Cells] = []
    for path in figures.paths:
        budget = path.budget
        kept = ("", "") if budget is None else (f"{budget.high_s:g} s", rate(budget.kept))
        rows.append((route(path.cascade, path.path), *_times(path.latency), *kept))
        if path.direct_calls.calls and path.escalated_calls.calls:
            rows.append(("  not escalated", *_times(path.direct_calls), "", ""))
            rows.append(("  escalated", *_times(path.escalated_calls), "", ""))
    heads = ("cascade / path", "calls", "p50", "p95", "p99", "budget", "kept")
    return _table(heads, rows, right=(1, 2, 3, 4, 5, 6))


def _times(found: Latency) -> tuple[str, str, str, str]:
    return count(found.calls), seconds(found.p50_s), seconds(found.p95_s), seconds(found.p99_s)


def _faults(figures: Figures) -> Table | None:
    now = figures.totals.last_at or 0.0
    rows = [
        (
            one.tier,
            one.error + (" (not sent)" if one.is_refusal else ""),
            count(one.attempts.count),
            rate(one.attempts),
            day_time(one.first_at, now),
            day_time(one.last_at, now),
        )
        for one in figures.faults
    ]
    heads = ("tier", "what", "attempts", "of asked", "first (UTC)", "last (UTC)")
    return _table(heads, rows, right=(2, 3)) if rows else None


def _endings(figures: Figures) -> Table:
    total = figures.totals.requests
    rows = [
        (reason, count(number), percent(number / total))
        for reason, number in figures.totals.endings
    ]
    return _table(("reason", "requests", "share"), rows, right=(1, 2))


def _lines(lines: Iterable[str]) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    for line in lines:
        table.add_row("-", Text(_safe(line)))
    return table


def _table(
    heads: Sequence[str], rows: Iterable[Cells], *, right: Sequence[int], headings: bool = True
) -> Table:
    table = Table(
        box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0), show_header=headings
    )
    for place, head in enumerate(heads):
        is_number = place in right
        table.add_column(
            head, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold"
        )
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(_safe(cell)) for cell in row))
    return table


def _safe(text: str) -> str:
    """Text that cannot steer the terminal, whoever named the thing."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)
