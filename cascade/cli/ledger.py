"""`cascade ledger`: what a ledger holds, and its upkeep."""

from __future__ import annotations

from dataclasses import dataclass
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


@Parameter(name="*", group="With export")
@dataclass(frozen=True, slots=True)
class Exported:
    """The options of `cascade ledger export`."""

    runs: Path | None = None
    """The file that the recorded runs go to."""
    since: str | None = None
    """Only calls that started since: how long ago (90m, 12h, 7d, 2w), or a date or time in UTC."""
    cascade: str | None = None
    """Only calls of that cascade. Left out: all."""
    slice_by: str | None = None
    """What names a call's slice: path, metadata.NAME, or a signal such as task."""
    by: str | None = None
    """Whose outcomes count, the first before the others. Left out: audit,grader,user."""
    strongest: str | None = None
    """The tier that audits ask. Left out: the last of the cascade in the configuration file."""


@Parameter(name="*", group="With judge")
@dataclass(frozen=True, slots=True)
class Judged:
    """The options of `cascade ledger judge`."""

    outcomes: Path | None = None
    """A JSON object a line: call_id; correct, score or label; and by, who says so."""
    teller: str = "user"
    """Who says so, where a line does not."""


_DEFAULTS = Common()
_EXPORTED = Exported()
_JUDGED = Judged()


def ledger(
    action: Literal["info", "upgrade", "prune", "export", "judge"] = "info",
    *,
    ledger: str | None = None,
    config: Annotated[Path, Parameter(name=["--config", "-c"])] = Path("cascade.toml"),
    days: float | None = None,
    exported: Exported = _EXPORTED,
    judged: Judged = _JUDGED,
    common: Common = _DEFAULTS,
) -> int:
    """Tell what a ledger holds, and keep it: upgrade, prune, export runs, record outcomes.

    ```
    cascade ledger
    cascade ledger upgrade
    cascade ledger prune --days 90
    cascade ledger info --ledger sqlite:other.db --json
    cascade ledger export --runs runs.jsonl --since 30d --slice-by task
    cascade ledger judge --outcomes outcomes.jsonl
    ```

    A SQLite ledger is upgraded by itself when it is next written; one in PostgreSQL waits for
    `cascade ledger upgrade`, for processes of an older release may still use it.

    `export` writes the calls that were judged later as recorded runs, for `cascade tune`, `replay`
    and `gate`. It ends with 3 when there are none.

    `judge` records what came of answers: `{"call_id": "...", "correct": true}` a line.

    Parameters
    ----------
    action
        `info` counts its calls, `upgrade` changes its tables to those of this release, `prune`
        deletes calls, `export` writes recorded runs, `judge` records outcomes.
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
    if (action == "export") != (exported.runs is not None):
        raise ConfigError("--runs goes with export, as in `cascade ledger export --runs x.jsonl`")
    if exported.runs is None and exported != _EXPORTED:
        raise ConfigError(f"{action} takes none of export's options; leave them out")
    if (action == "judge") != (judged.outcomes is not None):
        raise ConfigError(
            "--outcomes goes with judge, as in `cascade ledger judge --outcomes outcomes.jsonl`"
        )
    if judged.outcomes is None and judged != _JUDGED:
        raise ConfigError(f"{action} takes none of judge's options; leave them out")
    source, folder = (ledger, None) if ledger is not None else source_of(config)
    if exported.runs is not None:
        from cascade.cli.ledger_export import export

        strongest = _last_tiers(config) if ledger is None else {}
        return export(source, folder, exported, exported.runs, strongest, common)
    if judged.outcomes is not None:
        from cascade.cli.ledger_judge import judge

        return judge(source, folder, judged.outcomes, judged.teller, common)
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


def _last_tiers(config: Path) -> dict[str | None, str]:
    """By cascade the tier at the top of its ladder."""
    return {name: table.tiers[-1] for name, table in load(config).tables.cascades.items()}


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
        f"{datetime.fromtimestamp(facts[name], UTC):%Y-%m-%d %H:%M:%S}"
        for name in ("first", "last")
    )
    return f"{facts['ledger']}: {facts['calls']:,} calls, from {first} to {last} UTC"
