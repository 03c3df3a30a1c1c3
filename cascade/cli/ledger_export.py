"""`cascade ledger export`: recorded runs from a ledger."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cascade.cli.codes import ExitCode
from cascade.cli.moments import moment_of
from cascade.cli.output import Common, as_json, say, write
from cascade.cli.recorded import listed
from cascade.errors import ConfigError
from cascade.evals.ledger_runs import TELLERS, LedgerRuns, runs_of
from cascade.ledger import Ledger

if TYPE_CHECKING:
    from cascade.cli.ledger import Exported

__all__ = ["export"]


def export(
    source: str,
    folder: Path | None,
    options: Exported,
    file: Path,
    strongest: Mapping[str | None, str],
    common: Common,
) -> int:
    """Write a ledger's recorded runs to a file, and tell what was left out.

    Args:
        strongest: by cascade the tier that audits ask, as the configuration file has it.
    """
    since = None if options.since is None else moment_of("--since", options.since, time.time())
    by = TELLERS if options.by is None else listed(options.by)
    with Ledger.open_for_reading(source, folder) as reader:
        calls = reader.calls(since=since, cascade=options.cascade, with_content=True)
        found = runs_of(
            calls, by=by, slice_by=options.slice_by, strongest=options.strongest or strongest
        )
    facts = {"rows": len(found.rows), "calls": found.calls, "left_out": dict(found.left_out)}
    if found.rows:
        _write(file, found)
    write(as_json(facts, indent=2) if common.json else _told(found, file))
    if not found.rows:
        say("cascade: no call has an outcome; tell the ledger of some with record_outcome")
        return ExitCode.NO_ANSWER
    return ExitCode.OK


def _write(file: Path, found: LedgerRuns) -> None:
    try:
        with file.open("w", encoding="utf-8") as into:
            into.writelines(f"{json.dumps(row)}\n" for row in found.rows)
    except OSError as error:
        raise ConfigError(f"--runs {file} cannot be written: {error.strerror}") from error


def _told(found: LedgerRuns, file: Path) -> str:
    """What was exported and what was not, for people."""
    lines = [f"{file}: {len(found.rows):,} rows of {found.calls:,} calls"] if found.rows else []
    counted = [f"  {count:,} {what}" for what, count in found.left_out.items()]
    if counted:
        lines += ["left out:", *counted]
    return "\n".join(lines) or "the ledger has no calls"
