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
    """Record the outcomes in a file, all of them or, where a line is wrong, none.

    Args:
        by: who says so, where a line does not say it.

    Raises:
        ConfigError: the file cannot be read, or a line is no outcome.
        LedgerError: they could not be stored.
    """
    outcomes = list(_read(file, by))
    with Ledger.open_for_reading(source, folder) as reader:
        found = 0
        for ids in _batches(sorted({outcome.call_id for outcome in outcomes})):
            ((number,),) = reader.rows(select(func.count()).where(calls.c.id.in_(ids)))
            found += number
    if not _stored(Ledger(source, folder=folder), outcomes):
        raise LedgerError(f"not all outcomes in {file} could be stored; record them again")
    facts = {"outcomes": len(outcomes), "calls": found}
    unknown = len({outcome.call_id for outcome in outcomes}) - found
    told = f"{len(outcomes):,} outcomes recorded, of {found:,} calls"
    if unknown:
        told += f"; {unknown:,} more are not in the ledger (yet)"
    write(as_json({**facts, "unknown": unknown}, indent=2) if common.json else told)
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


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE))


def _read(file: Path, by: str) -> Iterator[Outcome]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--outcomes {file} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _outcome(line, by)
            except ConfigError as error:
                raise ConfigError(f"{file}, line {number}: {error}") from error


def _outcome(line: str, by: str) -> Outcome:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError("it is not valid JSON") from error
    if not isinstance(row, dict):
        raise ConfigError("it is not a JSON object")
    given = cast("dict[str, Any]", row)
    for key in given:
        if key not in _KEYS:
            raise ConfigError(f"an outcome has no {key!r}; {did_you_mean(key, _KEYS)}")
    return outcome_of(
        given.get("call_id", ""),
        by=given.get("by", by),
        at=time.time(),
        correct=given.get("correct"),
        score=given.get("score"),
        label=given.get("label"),
    )
