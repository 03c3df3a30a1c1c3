"""How `cascade demo` looks: progress on stderr, the report on stdout."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from cascade.cli.demo_figures import LABEL, PERCENTILES, Report, Run, Score
from cascade.cli.demo_ladder import AUTOCOMPLETE, HELD_OUT_SEED
from cascade.cli.output import usd
from cascade.simulated import Case
from cascade.simulated.tickets import KINDS
from cascade.types import Result, add_exactly

__all__ = ["Progress", "show"]

MIN_WIDTH, MAX_WIDTH = 80, 100  # the tables need 80; longer lines are hard to read
MOST_REASONS = 5

NEXT = """\
cascade init            write a cascade.toml for models of your own
cascade run "..."       send one request up its ladder and see its story
cascade demo --seed 1   other tickets, other luck; --json for machines

A validator is any function of an answer. This one is part of the demo:

    def states_every_fact(answer, context):
        ticket = context.request.messages[-1]["content"]
        facts = re.findall(r"^\\* .+?: (.+)$", ticket, re.MULTILINE)
        return all(fact in answer.text for fact in facts)

    Cascade(tiers=[small, large], validators=[states_every_fact, ...])"""

WHEN_NOT = (
    "Where most requests need the large model anyway; where nothing short of it tells a good "
    "answer from a bad one; or where the slowest requests matter most: an escalated one waits "
    "for every tier in turn, as the p99 above shows."
)


class Progress:
    """Progress on stderr: bars on a terminal, else one plain line for each run.

    `live` True draws bars whatever stderr is, False never; None where stderr is a terminal.
    """

    def __init__(self, live: bool | None) -> None:
        console = Console(stderr=True, highlight=False, force_terminal=live or None)
        self._console = console
        self._is_live = console.is_terminal and live is not False
        self._bars = Bars(
            TextColumn("{task.description:<13}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[bill]}"),
            console=console,
            transient=True,
            disable=not self._is_live,
        )

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def of(self, name: str, total: int) -> Callable[[Result[Any]], None]:
        """A new run of `total` requests; the callable is told each result."""
        if not self._is_live:
            self._console.print(f"{name}: sending {total} requests", markup=False)
        task = self._bars.add_task(name, total=total, bill="")
        bill = Decimal(0)
        answered: Counter[str] = Counter()

        def told(result: Result[Any]) -> None:
            nonlocal bill
            bill = add_exactly((bill, result.known_cost_usd)) or bill
            answered[(result.tier if result.accepted else None) or "none"] += 1
            shares = "  ".join(f"{tier} {count}" for tier, count in answered.items())
            self._bars.update(task, advance=1, bill=f"${bill:.4f}  {shares}")

        return told


def show(report: Report) -> None:
    """Print the report on stdout."""
    console = Console(highlight=False, markup=False, emoji=False)
    console.width = min(max(console.width, MIN_WIDTH), MAX_WIDTH)
    with console.capture() as printed:
        label = LABEL.replace(", ", ",\n")  # one line of it just misses 80 columns
        console.print(Text(label, style="bold yellow"))
        console.print()
        console.print(_setting(report))
        for title, part in _parts(report):
            console.print()
            console.print(Text(title, style="bold"))
            console.print(Padding(part, (0, 0, 0, 2), expand=False))
    # Not by rich, which ends the process with a code of its own when the reader has gone away.
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in printed.get().splitlines()))


def _parts(report: Report) -> list[tuple[str, RenderableType]]:
    """Titles and what stands below them; the most telling last, where a terminal shows it."""
    return [
        *(_story(*pair) for pair in report.stories),
        (f"Who answered: {_percent(report.escalation_rate)} were escalated", _tiers(report)),
        ("Why answers were rejected", _rejections(report)),
        ("Right answers by kind of ticket", _kinds(report)),
        ("A path that cannot wait", _autocomplete(report)),
        ("The cascade against each model alone", _comparison(report)),
        ("Next", NEXT),
        ("When not to use a cascade", WHEN_NOT),
    ]


def _setting(report: Report) -> str:
    kinds = Counter(case.kind for case in report.cascade.cases)
    mix = ", ".join(f"{kinds[kind]} {kind}" for kind in KINDS)
    settings = report.settings
    return (
        f"Support tickets: {settings.requests} ({mix}; seed {settings.seed}), sent over HTTP on "
        "127.0.0.1 through the cascade and to each model alone. Thresholds were chosen on "
        f"other tickets (seed {HELD_OUT_SEED})."
    )


def _comparison(report: Report) -> Group:
    cascade, frontier = report.cascade, report.frontier
    pace = (
        f"Times are measured, and simulated time runs {report.settings.speed:g} x faster than "
        "the models claim."
    )
    headline = (
        f"{_percent(cascade.saved_against(frontier))} saved: "
        f"{_rounded(cascade.per_1000_usd, 2)} per 1,000 requests "
        f"instead of {_rounded(frontier.per_1000_usd, 2)},\n"
        f"with {_percent(cascade.score().share)} right instead of "
        f"{_percent(frontier.score().share)}."
    )
    return Group(_runs(report), pace, Text(headline, style="bold green"))


def _table(*headings: str) -> Table:
    """A table of figures under `headings`, with the names of the rows before them."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    return table


def _runs(report: Report) -> Table:
    table = _table("per 1,000", "right", "95 % interval", *PERCENTILES)
    for run in (report.cascade, *reversed(report.alone)):
        table.add_row(
            run.name if run is report.cascade else f"{run.name} alone",
            _rounded(run.per_1000_usd, 3),
            *_right(run.score()),
            *(_ms(run.latency_s(name)) for name in PERCENTILES),
            style="bold" if run is report.cascade else "",
        )
    return table


def _tiers(report: Report) -> Table:
    table = _table("asked", "accepted", "share", "right", "95 % interval", "exact bill")
    for tier in report.tiers:
        table.add_row(
            tier.tier,
            str(tier.asked),
            str(tier.accepted.of),
            _percent(tier.share),
            *_right(tier.accepted),
            usd(tier.cost_usd),
        )
    unanswered = report.unanswered
    share = _percent(unanswered / report.settings.requests)
    table.add_row("no tier", "", str(unanswered), share, "", "", "")
    table.add_row("together", "", "", "", "", "", usd(report.cascade.cost_usd), style="bold")
    return table


def _kinds(report: Report) -> Table:
    runs: list[Run] = [report.cascade, *report.alone]
    table = _table("tickets", "cascade", "95 % interval", *(run.name for run in report.alone))
    for kind in KINDS:
        cascade, *alone = (run.score(kind) for run in runs)
        if cascade.of:
            table.add_row(
                kind, str(cascade.of), *_right(cascade), *(_percent(one.share) for one in alone)
            )
    return table


def _rejections(report: Report) -> Table | str:
    if not report.rejections:
        return "none was"
    table = _table("answers")
    for reason, count in report.rejections[:MOST_REASONS]:
        table.add_row(reason, str(count))
    return table


def _autocomplete(report: Report) -> str:
    path = report.autocomplete
    stopped = path.count("budget")
    return (
        f"{AUTOCOMPLETE!r} asks small alone and has {_ms(path.budget_s)} for everything. Of "
        f"{len(path.results)} calls {path.count('accepted')} were accepted in time, "
        f"{path.count('exhausted')} rejected in time and {stopped} stopped at the deadline; the "
        f"longest took {_ms(path.longest_s)}. A stopped call was still made: its cost is on the "
        "bill as unknown, not as 0."
    )


def _story(case: Case, result: Result[Any]) -> tuple[str, str]:
    how = "accepted at once" if not result.escalations else "escalated"
    return f"One request's story: {case.kind}, {how}", f'"{_asked(case)}"\n{result.story()}'


def _asked(case: Case) -> str:
    """The line of a ticket in which the customer speaks."""
    message = case.prompt.partition("\nMessage:\n")[2]
    return message.splitlines()[0] if message else case.prompt.splitlines()[-1]


def _right(score: Score) -> tuple[str, str]:
    if not score.of:
        return "", ""
    low, high = (100 * end for end in score.interval)
    return _percent(score.share), f"{low:.1f} to {high:.1f} %"


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}".replace("%", " %")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _rounded(amount: Decimal | None, places: int) -> str:
    return "unknown" if amount is None else f"${amount:.{places}f}"
