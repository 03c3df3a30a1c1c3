"""What `cascade estimate` prints: tables and advice for people, the same figures for machines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cascade.cli.estimate_advice import advice
from cascade.cli.estimate_layers import Assumption
from cascade.cli.estimate_words import MODEL, money, percent, whole
from cascade.estimate import Cell, Estimate

__all__ = ["facts", "show"]

MIN_WIDTH: Final = 80
MAX_WIDTH: Final = 100

Json = dict[str, Any]


def show(found: Estimate, assumptions: Sequence[Assumption]) -> None:
    """Print the estimate on stdout."""
    console = Console(highlight=False, markup=False, emoji=False)
    console.width = min(max(console.width, MIN_WIDTH), MAX_WIDTH)
    with console.capture() as printed:
        for place, (title, part) in enumerate(_parts(found, assumptions)):
            if place:
                console.print()
            console.print(Text(title, style="bold"))
            console.print(Padding(part, (0, 0, 0, 2), expand=False))
    # Not by rich, which ends the process with a code of its own when the reader has gone away.
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in printed.get().splitlines()))


def _parts(found: Estimate, assumptions: Sequence[Assumption]) -> list[tuple[str, RenderableType]]:
    """Titles and what stands below them; the most telling last, where a terminal shows it."""
    strongest = found.strongest
    parts: list[tuple[str, RenderableType]] = [
        ("What this reckons with", _assumptions(assumptions)),
        ("What it takes for granted", _lines(MODEL)),
        (f"A month of {whole(found.scenario.calls)} calls", _costs(found)),
        (f"The rungs: {percent(found.escalation_rate)} of the calls are escalated", _rungs(found)),
        ("Acceptance by kind, and where it breaks even", _kinds(found)),
        (f"What calls wait, and against {strongest} alone", _waits(found)),
        ("If acceptance were different", _sensitivity(found)),
        ("Advice", _lines(advice(found, assumptions))),
    ]
    return parts if len(found.tiers) > 1 else [parts[0], parts[2], parts[-1]]


def _lines(lines: Sequence[str]) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    for line in lines:
        table.add_row("-", line)
    return table


def _table(*headings: str, first: str = "") -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column(first, no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    return table


def _assumptions(assumptions: Sequence[Assumption]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for one in assumptions:
        table.add_row(one.what, one.value, f"{one.basis} ({one.origin})")
    return table


def _costs(found: Estimate) -> Table:
    tiers = [tier.total for tier in found.tiers]
    strongest = f"{found.strongest} alone"
    table = _table(*(tier.tier for tier in tiers), "cascade", strongest)
    for kind in found.scenario.kinds:
        cells = [cell for cell in found.cells if cell.kind == kind.name]
        table.add_row(
            kind.name,
            *(money(cell.cost_usd) for cell in cells),
            money(found.kind_usd(kind.name)),
            money(found.kind_now_usd(kind.name)),
        )
    costs = [money(tier.cost_usd) for tier in tiers]
    table.add_row("together", *costs, money(found.cost_usd), money(found.now_usd), style="bold")
    table.add_row("all of it on", *(money(found.alone_usd[tier.tier]) for tier in tiers), "", "")
    return table


def _rungs(found: Estimate) -> Table:
    table = _table(
        "asked", "accepted", "share", "break-even", f"below {found.strongest}", "costs", "avoids"
    )
    for tier in found.tiers[:-1]:
        total = tier.total
        table.add_row(
            total.tier,
            whole(total.asked),
            whole(total.accepted),
            percent(tier.acceptance),
            percent(tier.break_even, "never"),
            percent(tier.break_even_alone, "never"),
            money(total.cost_usd),
            money(total.avoided_usd),
        )
    last = found.tiers[-1].total
    table.add_row(last.tier, whole(last.asked), "", "", "", "", money(last.cost_usd), "")
    return table


def _kinds(found: Estimate) -> Table:
    lower = [tier.total.tier for tier in found.tiers[:-1]]
    table = _table(*lower)
    for kind in found.scenario.kinds:
        cells = [cell for cell in found.cells if cell.kind == kind.name][:-1]
        table.add_row(kind.name, *(_against(cell, kind.acceptance[cell.tier]) for cell in cells))
    return table


def _against(cell: Cell, acceptance: Decimal) -> str:
    if not cell.asked:
        return "not asked"
    return f"{percent(acceptance)} (from {percent(cell.break_even, 'never')})"


def _waits(found: Estimate) -> RenderableType:
    if not found.waits:
        return "unknown: give every tier a latency, as in --latency small=0.3,large=1.6"
    table = _table("of the calls", "after", "against it", first="accepted on")
    for wait in found.waits:
        table.add_row(
            wait.tier,
            percent(wait.share),
            f"{wait.latency_s:.2f} s",
            f"{wait.added_s:+.2f} s",
        )
    return table


def _sensitivity(found: Estimate) -> Table:
    table = _table("cascade", "saved", "escalated", first="every acceptance")
    for one in found.sensitivity:
        points = f"{one.points * 100:+.0f} points" if one.points else "as above"
        table.add_row(
            points, money(one.cost_usd), money(one.saving_usd), percent(one.escalation_rate)
        )
    return table


def facts(found: Estimate, assumptions: Sequence[Assumption]) -> Json:
    """The machine-readable estimate: money as exact decimal text, shares and seconds as numbers."""
    return {
        "assumptions": [one._asdict() for one in assumptions],
        "model": list(MODEL),
        "calls": _count(found.scenario.calls),
        "strongest": found.strongest,
        "cost_usd": _exact(found.cost_usd),
        "alone_usd": {tier: _exact(cost) for tier, cost in found.alone_usd.items()},
        "saving_usd": _exact(found.saving_usd),
        "saving_share": _number(found.saving_share),
        "escalation_rate": _number(found.escalation_rate),
        "worth_it": found.worth_it,
        "worth_usd": _exact(found.scenario.worth_usd),
        "worth_from_calls": found.worth_from_calls,
        "kinds": [
            {
                "kind": kind.name,
                "share": _number(kind.share),
                "cost_usd": _exact(found.kind_usd(kind.name)),
                "strongest_alone_usd": _exact(found.kind_now_usd(kind.name)),
                "best_ladder": list(found.best_by_kind[kind.name]),
                "tiers": [_cell(cell) for cell in found.cells if cell.kind == kind.name],
            }
            for kind in found.scenario.kinds
        ],
        "tiers": [
            {
                **_cell(tier.total),
                "acceptance": _number(tier.acceptance),
                "break_even": _number(tier.break_even),
                "break_even_below_strongest": _number(tier.break_even_alone),
            }
            for tier in found.tiers
        ],
        "best_ladder": list(found.best_ladder),
        "best_ladder_usd": _exact(found.best_usd),
        "best_by_kind_usd": _exact(found.best_by_kind_usd),
        "latency": [
            {
                "accepted_on": wait.tier,
                "share": _number(wait.share),
                "latency_s": _number(wait.latency_s),
                "added_s": _number(wait.added_s),
            }
            for wait in found.waits
        ],
        "sensitivity": [
            {
                "points": _number(one.points * 100),
                "cost_usd": _exact(one.cost_usd),
                "saving_usd": _exact(one.saving_usd),
                "escalation_rate": _number(one.escalation_rate),
            }
            for one in found.sensitivity
        ],
        "advice": advice(found, assumptions),
    }


def _cell(cell: Cell) -> Json:
    return {
        "tier": cell.tier,
        "asked": _count(cell.asked),
        "accepted": _count(cell.accepted),
        "cost_usd": _exact(cell.cost_usd),
        "avoided_usd": _exact(cell.avoided_usd),
        "break_even": _number(cell.break_even),
    }


def _exact(amount: Decimal) -> str:
    return f"{amount.normalize():f}"


def _count(value: Decimal) -> float:
    whole = value.to_integral_value()
    return int(whole) if whole == value else float(value)


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
