"""`cascade ledger`: what a ledger holds, and its upkeep."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from cascade.cli.codes import ExitCode
from cascade.cli.output import Common, as_json, configure_logs, write
from cascade.config import ConfigFileError, load
from cascade.config.mistakes import Mistakes
from cascade.config.recording import ledger_source
from cascade.errors import ConfigError
from cascade.ledger import Ledger, upgrade

__all__ = ["ledger", "source_of"]

_DEFAULTS = Common()


def ledger(
    action: Literal["info", "upgrade", "prune"] = "info",
    *,
    ledger: str | None = None,
    config: Annotated[Path, Parameter(name=["--config", "-c"])] = Path("cascade.toml"),
    days: float | None = None,
    common: Common = _DEFAULTS,
) -> int:
    """Tell what a ledger holds, bring its tables up to date, or delete what is old.

    ```
    cascade ledger
    cascade ledger upgrade
    cascade ledger prune --days 90
    cascade ledger info --ledger sqlite:other.db --json
    ```

    A SQLite ledger is upgraded by itself when it is next written; one in PostgreSQL waits for
    `cascade ledger upgrade`, for processes of an older release may still use it.

    Parameters
    ----------
    action
        `info` counts its calls, `upgrade` changes its tables to those of this release, `prune`
        deletes calls.
    ledger
        Its address: sqlite:FILE or postgresql://... Left out: what the configuration file says.
    config
        The configuration file that names it.
    days
        With prune: delete calls that started longer ago than so many days.
    """
    configure_logs(common.log_level)
    if (days is not None) != (action == "prune"):
        raise ConfigError("--days goes with prune, as in `cascade ledger prune --days 90`")
    source, folder = (ledger, None) if ledger is not None else source_of(config)
    if action == "upgrade":
        before, now = upgrade(source, folder)
        was = "as before" if before == now else f"it was {before}" if before else "it is new"
        facts: dict[str, Any] = {"version_before": before, "version": now}
        text = f"the ledger's tables are of version {now}; {was}"
    elif action == "prune":
        deleted = Ledger(source, retention_days=days, folder=folder).prune()
        facts, text = {"deleted": deleted}, f"{deleted:,} calls deleted"
    else:
        facts = _facts(source, folder)
        text = _told(facts)
    write(as_json(facts, indent=2) if common.json else text)
    return ExitCode.OK


def source_of(config: Path) -> tuple[str, Path]:
    """The address of the ledger that a configuration file names, and where its path starts.

    Raises:
        ConfigError: the file cannot be read, or names no ledger.
    """
    tables = load(config).tables
    mistakes = Mistakes(str(config))
    source = ledger_source(tables.ledger, mistakes) if tables.ledger is not None else None
    if mistakes.met:
        raise ConfigFileError(str(config), mistakes.found)
    if source is None:
        raise ConfigError(
            f'{config} names no ledger; write [ledger] with url = "sqlite:ledger.db" into it, or '
            "give --ledger"
        )
    return source, config.parent


def _facts(source: str, folder: Path | None) -> dict[str, Any]:
    from sqlalchemy import func, select

    from cascade.ledger.tables import calls

    counted = select(func.count(), func.min(calls.c.started_at), func.max(calls.c.started_at))
    with Ledger.open_for_reading(source, folder) as reader:
        ((number, first, last),) = reader.rows(counted.select_from(calls))
        return {"ledger": reader.name, "calls": number, "first": first, "last": last}


def _told(facts: dict[str, Any]) -> str:
    if not facts["calls"]:
        return f"{facts['ledger']}: no calls yet"
    first, last = (
        datetime.fromtimestamp(facts[name], UTC).isoformat(" ", "seconds")
        for name in ("first", "last")
    )
    return f"{facts['ledger']}: {facts['calls']:,} calls, from {first} to {last}"
