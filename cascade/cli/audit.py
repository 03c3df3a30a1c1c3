"""`cascade audit`: what the audits in a ledger say of the answers that were accepted."""

from __future__ import annotations

import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

from cyclopts import Parameter
from cyclopts.validators import Number

from cascade.auditing import AUDITED_BY, check_packages
from cascade.cli.codes import ExitCode
from cascade.cli.ledger import source_of
from cascade.cli.moments import moment_of
from cascade.cli.output import Common, as_json, configure_logs, say, write
from cascade.ledger import Ledger

if TYPE_CHECKING:
    from cascade.evals.audit import AuditBook, AuditEstimate

__all__ = ["audit"]

_COMMON = Common()
_FACTS: Final = re.compile(r"share=(\S+) best=(\S+)")

Between = Annotated[float, Parameter(validator=Number(gt=0, lt=1))]


def audit(
    *,
    ledger: str | None = None,
    config: Annotated[Path, Parameter(name=["--config", "-c"])] = Path("cascade.toml"),
    since: str = "30d",
    cascade: str | None = None,
    within: Between = 0.05,
    confidence: Between = 0.95,
    common: Common = _COMMON,
) -> int:
    """Tell from audits how good accepted answers are, and whether they drift.

    An audit asks the strongest tier too for a share of the accepted answers of cheaper ones. The
    intervals hold at all times at once, so this may be run every hour. "It moved" in place of one:
    no single value fits all audits; look at a shorter time with --since.

    Ends with 0 when all is well, 1 when the accepted answers of some path and tier became worse
    than allowed, and 3 when nothing was audited.

    ```
    cascade audit
    cascade audit --cascade support --within 0.02 --since 7d
    ```

    Parameters
    ----------
    ledger
        Its address: sqlite:FILE or postgresql://... Left out: what the configuration file says.
    config
        The configuration file that names it.
    since
        Only calls that started since: how long ago (90m, 12h, 7d, 2w), a date or time in UTC, or
        `all`.
    cascade
        Only calls of that cascade. Left out: all.
    within
        How much worse than the strongest tier's the accepted answers may be, in score.
    confidence
        The chance that no alarm is ever false, and that no interval is ever wrong.
    """
    configure_logs(common.log_level)
    start = moment_of("--since", since, time.time())
    source, folder = (ledger, None) if ledger is not None else source_of(config)
    check_packages()
    estimates = sorted(
        _book(_audits(source, folder, start, cascade), within, confidence),
        key=lambda one: (one.path or "", one.tier),
    )
    if common.json:
        rows = [{**asdict(one), "has_moved": one.has_moved} for one in estimates]
        write(as_json(rows, indent=2))
    elif estimates:
        _show(estimates)
    if not estimates:
        say("cascade: no audits there; Cascade(audit=Audit(share=...), ...) makes them")
        return ExitCode.NO_ANSWER
    drifted = [one for one in estimates if one.has_drifted]
    for one in drifted:
        say(f"cascade: {_name(one)} drifted: worse than the strongest tier by more than {within:g}")
    return ExitCode.NOT_ACCEPTED if drifted else ExitCode.OK


class _Audit(NamedTuple):
    path: str | None
    tier: str
    score: float
    best: float
    share: float


def _audits(
    source: str, folder: Path | None, since: float | None, cascade: str | None
) -> list[_Audit]:
    """In the order in which they were made."""
    with Ledger.open_for_reading(source, folder) as reader:  # which says when SQLAlchemy is missing
        from sqlalchemy import select

        from cascade.ledger.tables import calls, outcomes

        asked = (
            select(calls.c.path, calls.c.tier, outcomes.c.score, outcomes.c.label)
            .join(calls, calls.c.id == outcomes.c.call_id)
            .where(outcomes.c.by == AUDITED_BY)
            .order_by(outcomes.c.at)
        )
        if since is not None:
            asked = asked.where(calls.c.started_at >= since)
        if cascade is not None:
            asked = asked.where(calls.c.cascade == cascade)
        rows = reader.rows(asked)
    found = [(row, _FACTS.fullmatch(row.label or "")) for row in rows]
    return [
        _Audit(row.path, row.tier, row.score, float(facts[2]), float(facts[1]))
        for row, facts in found
        if facts is not None
    ]


def _book(audits: list[_Audit], within: float, confidence: float) -> AuditBook:
    from cascade.evals.audit import AuditBook

    least: dict[tuple[str | None, str], float] = {}  # shares may have changed over time
    for one in audits:
        page = one.path, one.tier
        least[page] = min(one.share, least.get(page, 1.0))
    book = AuditBook(
        within=within, confidence=confidence, least_share=lambda path, tier: least[path, tier]
    )
    for one in audits:
        book.add(*one)
    return book


def _show(estimates: list[AuditEstimate]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from cascade.evals.audit import interval_told

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("path", "tier", "audits", "quality", "", "regret", "", "drift"):
        table.add_column(
            title, justify="right" if title in ("audits", "quality", "regret") else "left"
        )
    for one in estimates:
        cells = (
            one.path or "-",
            one.tier,
            f"{one.count:,}",
            f"{one.quality:.1%}",
            interval_told(one.quality_low, one.quality_high),
            f"{one.regret:.1%}",
            interval_told(one.regret_low, one.regret_high),
            "DRIFT" if one.has_drifted else "",
        )
        table.add_row(*(Text(cell) for cell in cells))
    console = Console(highlight=False, markup=False, emoji=False)
    with console.capture() as printed:
        console.print(table)
    for line in printed.get().splitlines():
        write(line.rstrip())


def _name(one: AuditEstimate) -> str:
    return f"tier {one.tier!r}" + (f" on path {one.path!r}" if one.path else "")
