"""`cascade tail`: calls as they are stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.text import Text

from cascade.cli.call_view import call_row, one_line
from cascade.cli.codes import ExitCode
from cascade.cli.output import Common, as_json, configure_logs, say
from cascade.cli.reading import open_ledger, print_lines
from cascade.ledger.errors import NoLedgerError
from cascade.ledger.stored import StoredCall

if TYPE_CHECKING:
    from cascade.ledger.read import Reader

__all__ = ["follow", "tail"]

_COMMON = Common()
_EVERY_S: Final = 0.5


def tail(
    *,
    ledger: str | None = None,
    config: Annotated[Path, Parameter(name=["--config", "-c"])] = Path("cascade.toml"),
    cascade: str | None = None,
    number: Annotated[int, Parameter(name=["--number", "-n"], validator=Number(gte=0))] = 20,
    once: Annotated[bool, Parameter(negative="")] = False,
    common: Common = _COMMON,
) -> int:
    """Show calls as they are stored, a line each, until Ctrl-C.

    ```
    cascade tail
    cascade tail --cascade support -n 100
    cascade tail --once --json | jq .reason
    ```

    A line has the time (UTC), the cascade and its path, the tiers that were asked and why their
    answers were not accepted, the latency, the cost, and the end of the id. Where there is no
    ledger yet, it waits for the first call; with --once that is a mistake.

    Parameters
    ----------
    ledger
        Its address: sqlite:FILE or postgresql://... Left out: what the configuration file says.
    config
        The configuration file that names it.
    cascade
        Only calls of that cascade. Left out: all.
    number
        How many of the latest calls to begin with.
    once
        Show those and end.
    """
    configure_logs(common.log_level)
    with _opened(ledger, config, once=once) as reader:
        pause = None if once else _pause
        for calls in follow(reader, cascade=cascade, number=number, pause=pause):
            _show(calls, json=common.json)
    return ExitCode.OK


def _opened(ledger: str | None, config: Path, *, once: bool) -> Reader:
    """The ledger, as soon as there is one."""
    is_told = False
    while True:
        try:
            return open_ledger(ledger, config)
        except NoLedgerError as error:
            if once:
                raise
            if not is_told:
                say(f"cascade: waiting for the first call in {error.ledger}")
            is_told = True
        _pause()


def follow(
    reader: Reader, *, cascade: str | None, number: int, pause: Callable[[], None] | None
) -> Iterator[list[StoredCall]]:
    """The latest calls, and then, again and again, those stored since.

    Args:
        number: how many of the latest.
        pause: waits a while before the ledger is read again. None: it is read once.
    """
    seen = reader.last_seq()
    yield _latest(reader, cascade, number, seen)
    while pause is not None:
        pause()
        new = list(reader.calls(after=seen, cascade=cascade))
        seen = max(seen, *(call.seq for call in new)) if new else seen
        if new:
            yield new


def _latest(reader: Reader, cascade: str | None, number: int, seen: int) -> list[StoredCall]:
    from sqlalchemy import select

    from cascade.ledger.read import where
    from cascade.ledger.tables import calls

    wanted = select(calls.c.seq).where(*where(cascade=cascade), calls.c.seq <= seen)
    latest = reader.rows(wanted.order_by(calls.c.seq.desc()).limit(number))
    if not latest:
        return []
    first = min(seq for (seq,) in latest)
    return list(reader.calls(after=first - 1, cascade=cascade, limit=number))


def _pause() -> None:
    time.sleep(_EVERY_S)


def _show(calls: Iterable[StoredCall], *, json: bool) -> None:
    if json:
        print_lines(Text(as_json(call_row(call))) for call in calls)
    else:
        print_lines(map(one_line, calls))
