"""`cascade report`: cost, escalation, quality, latency and faults, from a ledger."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cascade.cli.codes import ExitCode
from cascade.cli.moments import moment_of
from cascade.cli.output import Common, as_json, configure_logs, say, write
from cascade.cli.reading import open_ledger
from cascade.errors import ConfigError
from cascade.report.figures import Figures

__all__ = ["report"]

_COMMON = Common()


def report(
    *,
    ledger: str | None = None,
    config: Annotated[Path, Parameter(name=["--config", "-c"])] = Path("cascade.toml"),
    since: str = "7d",
    until: str | None = None,
    cascade: str | None = None,
    frontier: str | None = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    common: Common = _COMMON,
) -> int:
    """Report cost, escalation, quality, latency and faults, from a ledger.

    Shows the figures in the terminal; with --output, writes them as one HTML file that needs no
    network, with their trends over time.

    ```
    cascade report
    cascade report --since 24h --cascade support
    cascade report -o report.html --since 2026-05-25 --until 2026-06-01
    cascade report --ledger sqlite:other.db --since all --json
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
    until
        Only calls that started before. Left out: up to now.
    cascade
        Only calls of that cascade. Left out: all.
    frontier
        The tier whose cost everything is compared with. Left out: in each cascade the dearest.
    output
        An HTML file to write.
    """
    configure_logs(common.log_level)
    now = time.time()
    start = moment_of("--since", since, now)
    end = None if until is None else moment_of("--until", until, now)
    if start is not None and end is not None and start >= end:
        raise ConfigError(f"--since {since} is not before --until {until}")
    with open_ledger(ledger, config) as reader:  # which says it when SQLAlchemy is missing
        from cascade.report.gathering import figures_of

        figures = figures_of(reader, since=start, until=end, cascade=cascade, frontier=frontier)
    if output is not None:
        _write_page(output, figures)
    if common.json:
        write(as_json(dataclasses.asdict(figures), indent=2))
    elif output is None:
        from cascade.report.terminal import show

        show(figures)
    if not figures.totals.requests:
        say("cascade: the ledger holds no such calls; look further back, as in `--since all`")
    return ExitCode.OK


def _write_page(output: Path, figures: Figures) -> None:
    from cascade.report.page import page

    output.write_text(page(figures), encoding="utf-8")
    say(f"{output}: {figures.totals.requests:,} requests")
