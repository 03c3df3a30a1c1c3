"""What users say of a call's answer after the fact."""

from __future__ import annotations

import math
from typing import NamedTuple

from cascade.errors import ConfigError

__all__ = ["Outcome", "outcome_of"]


class Outcome(NamedTuple):
    """A later verdict on one call.

    Attributes:
        call_id: the call's `Result.id`.
        by: who says so, such as "user" or "grader"; of one teller the last word counts.
        at: when it was told, in Unix time.
        correct: whether the answer was right. None: not said.
        score: 0 (useless) to 1 (perfect). None: not said.
        label: a word for it, such as "refunded". None: not said.
    """

    call_id: str
    by: str
    at: float
    correct: bool | None
    score: float | None
    label: str | None


def outcome_of(
    request_id: str,
    *,
    by: str,
    at: float,
    correct: bool | None,
    score: float | None,
    label: str | None,
) -> Outcome:
    """A checked outcome. Raises ConfigError when it says nothing, or a value will not do."""
    if not isinstance(request_id, str) or not request_id:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"an outcome is for the call {request_id!r}; give the id of a Result")
    if correct is None and score is None and label is None:
        raise ConfigError("an outcome says nothing; give it correct, score or label")
    if correct is not None and not isinstance(correct, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"an outcome has correct={correct!r}; give True, False or None")
    if score is not None and not (_is_number(score) and 0 <= score <= 1):
        raise ConfigError(f"an outcome has score={score!r}; give a number from 0 to 1")
    if not isinstance(by, str) or not isinstance(label, str | None):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError("an outcome's by and label are text")
    return Outcome(request_id, by, at, correct, None if score is None else float(score), label)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
