"""`cascade ledger judge`: what came of answers, from a file into a ledger."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, cast

from sqlalchemy import func, select

from cascade.cli.codes import ExitCode
from cascade.cli.output import Common, as_json, write
from cascade.errors import ConfigError, did_you_mean
from cascade.ledger import Ledger
from cascade.ledger.errors import LedgerError
from cascade.ledger.feedback import Outcome, outcome_of
from cascade.ledger.tables import calls

__all__ = ["judge"]

_KEYS: Final = ("call_id", "correct", "score", "label", "by")
_AT_ONCE: Final = 500


def judge(source: str, folder: Path | None, file: Path, by: str, common: Common) -> int:
    """Record the outcomes in a file; none of them where a line is wrong.

    Args:
        by: who says so, where a line does not say it.

    Raises:
        ConfigError: the file cannot be read, or a line is no outcome.
        LedgerError: they could not be stored.
    """
    outcomes = list(_read(file, by))
    ids = sorted({outcome.call_id for outcome in outcomes})
    with Ledger.open_for_reading(source, folder) as reader:
        found = 0
        for start in range(0, len(ids), _AT_ONCE):
            some = calls.c.id.in_(ids[start : start + _AT_ONCE])
            ((number,),) = reader.rows(select(func.count()).where(some))
            found += number
    if not _stored(Ledger(source, folder=folder), outcomes):
        raise LedgerError(f"not all outcomes in {file} could be stored; record them again")
    facts = {"outcomes": len(outcomes), "calls": found, "unknown": len(ids) - found}
    told = f"{len(outcomes):,} outcomes recorded, of {found:,} calls"
    if facts["unknown"]:
        told += f", and of {facts['unknown']:,} that the ledger does not have (yet)"
    write(as_json(facts, indent=2) if common.json else told)
    return ExitCode.OK


def _stored(ledger: Ledger, outcomes: Sequence[Outcome]) -> bool:
    for number, outcome in enumerate(outcomes, 1):
        ledger.record_outcome(
            outcome.call_id,
            correct=outcome.correct,
            score=outcome.score,
            label=outcome.label,
            by=outcome.by,
        )
        if number % _AT_ONCE == 0:  # not more than waits in a ledger without loss
            ledger.flush()
    return ledger.close() and not ledger.lost


def _read(file: Path, by: str) -> Iterator[Outcome]:
    try:
        with file.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _outcome(line, by, f"{file}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--outcomes {file} cannot be read: {error}") from error


def _outcome(line: str, by: str, place: str) -> Outcome:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise ConfigError(f"{place} is not valid JSON") from None
    if not isinstance(row, dict):
        raise ConfigError(f"{place} is not a JSON object")
    given: dict[str, Any] = {"call_id": "", "by": by, **cast("dict[str, Any]", row)}
    for key in given:
        if key not in _KEYS:
            raise ConfigError(f"{place}: an outcome has no {key!r}; {did_you_mean(key, _KEYS)}")
    try:
        return outcome_of(
            given["call_id"],
            by=given["by"],
            at=time.time(),
            correct=given.get("correct"),
            score=given.get("score"),
            label=given.get("label"),
        )
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error
