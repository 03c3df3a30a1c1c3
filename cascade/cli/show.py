"""`cascade show`: the story of one call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cascade.cli.call_view import call_row, story
from cascade.cli.codes import ExitCode
from cascade.cli.output import Common, as_json, configure_logs, write
from cascade.cli.reading import open_ledger, print_lines
from cascade.errors import ConfigError

if TYPE_CHECKING:
    from cascade.ledger.read import Reader
    from cascade.ledger.stored import StoredCall

__all__ = ["show"]

_COMMON = Common()


def show(
    id: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *,
    ledger: str | None = None,
    config: Annotated[Path, Parameter(name=["--config", "-c"])] = Path("cascade.toml"),
    common: Common = _COMMON,
) -> int:
    """Tell the story of one call.

    Its signals and rule, each attempt with its verdicts, times, tokens and money, the calls inside
    of it, and what was said of it later. The text of answers only where the ledger stores it.

    ```
    cascade show
    cascade show 9f3c1a7d20-1a
    cascade show 9f3c --ledger sqlite:other.db
    cascade show 9f3c --json
    ```

    Parameters
    ----------
    id
        The call's id (`Result.id`), or a part of it that no other has. Left out: the latest call.
    ledger
        Its address: sqlite:FILE or postgresql://... Left out: what the configuration file says.
    config
        The configuration file that names it.
    """
    configure_logs(common.log_level)
    if id == "":
        raise ConfigError("the id is empty; `cascade tail` shows those of the latest calls")
    with open_ledger(ledger, config) as reader:
        call = _latest(reader) if id is None else _named(reader, id)
        inner = _inside(reader, call.id)
    if common.json:
        write(as_json({**call_row(call), "inner": inner}, indent=2))
    else:
        print_lines(story(call, inner))
    return ExitCode.OK


def _latest(reader: Reader) -> StoredCall:
    """The call stored last. Raises ConfigError when there is none."""
    if not (newest := reader.newest(1, with_content=True)):
        raise ConfigError(f"the ledger {reader.name} holds no calls yet")
    return newest[0]


def _named(reader: Reader, part: str) -> StoredCall:
    """The one call whose id is this, or else begins, ends or at all has a part like this.

    Raises:
        ConfigError: there is none, or there are several.
    """
    from sqlalchemy import select

    from cascade.ledger.tables import calls

    column = calls.c.id
    for alike in (
        column == part,
        column.startswith(part, autoescape=True),
        column.endswith(part, autoescape=True),
        column.contains(part, autoescape=True),
    ):
        found = reader.rows(select(column).where(alike).limit(2))
        if len(found) > 1:
            raise ConfigError(f"several calls in {reader.name} have {part!r} in their ids")
        if found and (call := reader.call(found[0][0])) is not None:
            return call
    raise ConfigError(
        f"the ledger {reader.name} holds no call {part!r}; `cascade tail` shows the ids of the "
        "latest calls"
    )


def _inside(reader: Reader, id: str) -> list[str]:
    """The ids of the calls that were made inside of a call."""
    from sqlalchemy import select

    from cascade.ledger.tables import calls

    return [one for (one,) in reader.rows(select(calls.c.id).where(calls.c.parent == id))]
