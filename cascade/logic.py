"""How several verdicts become one: Kleene's three-valued logic, as pure functions.

A verdict that could not be had (abstained) is unknown, neither passed nor failed (S. C. Kleene,
Introduction to Metamathematics, 1952, section 64). Scores follow along: the lowest for "and", the
highest for "or", one minus it for "not"; parts without a score are left out of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from cascade.types import UNSET, Status, Verdict

__all__ = ["all_of", "any_of", "count_of", "inverse_of", "mean_of", "optional_of"]


def all_of(verdicts: Sequence[Verdict]) -> Verdict:
    """All must pass. Failed beats abstained beats passed."""
    score = min(_scores(verdicts), default=None)
    statuses: tuple[Status, ...] = ("failed", "abstained")
    for status in statuses:
        if any(v.status == status for v in verdicts):
            return Verdict(status, score, _blame(verdicts, status))
    return Verdict("passed", score, value=_last_value(verdicts))


def any_of(verdicts: Sequence[Verdict]) -> Verdict:
    """One must pass. Passed beats abstained beats failed."""
    score = max(_scores(verdicts), default=None)
    passed = [v for v in verdicts if v.status == "passed"]
    if passed:
        values = [v.value for v in passed if v.value is not UNSET]
        return Verdict("passed", score, value=values[0] if values else UNSET)
    unknown = any(v.status == "abstained" for v in verdicts)
    status: Status = "abstained" if unknown else "failed"
    return Verdict(status, score, _blame(verdicts, status))


def inverse_of(verdict: Verdict) -> Verdict:
    """Passed and failed change places; an abstention stays one."""
    score = None if verdict.score is None else 1 - verdict.score
    if verdict.status == "abstained":
        return Verdict("abstained", score, f"{verdict.validator}:{verdict.reason}")
    if verdict.status == "failed":
        return Verdict("passed", score)
    return Verdict("failed", score, f"{verdict.validator}:passed")


def optional_of(verdict: Verdict) -> Verdict:
    """An abstention counts as passed, because the user said so."""
    status: Status = "failed" if verdict.status == "failed" else "passed"
    reason = f"{verdict.validator}:{verdict.reason}" if verdict.status != "passed" else ""
    return Verdict(status, verdict.score, reason, value=verdict.value)


def mean_of(verdicts: Sequence[Verdict], weights: Sequence[float], at: float) -> Verdict:
    """The weighted mean of the scores against a threshold.

    Where scores are unknown the mean lies in an interval, and all of it must lie on one side of
    the threshold for a verdict.
    """
    counts = [_count_of(v) for v in verdicts]

    def mean(unknown: float) -> float:
        # One sum for both ends of the interval, so that both are rounded alike.
        pairs = zip(counts, weights, strict=True)
        total = math.fsum(w * (unknown if count is None else count) for count, w in pairs)
        return min(1.0, total / math.fsum(weights))

    least, most = mean(0), mean(1)
    score = None if None in counts else least
    if least >= at:
        return Verdict("passed", score, value=_last_value(verdicts), threshold=at)
    if most < at:
        return Verdict("failed", score, "below_threshold", threshold=at)
    blamed = verdicts[counts.index(None)]
    return Verdict("abstained", score, f"{blamed.validator}:{blamed.reason}", threshold=at)


def count_of(verdicts: Sequence[Verdict], least: int) -> Verdict:
    """At least so many must pass. Abstains while the abstentions could still tip the count."""
    scores = sorted(_scores(verdicts), reverse=True)
    score = scores[least - 1] if len(scores) >= least else None
    passed = sum(v.status == "passed" for v in verdicts)
    abstained = sum(v.status == "abstained" for v in verdicts)
    if passed >= least:
        return Verdict("passed", score, value=_last_value(verdicts))
    if passed + abstained < least:
        return Verdict("failed", score, _blame(verdicts, "failed"))
    return Verdict("abstained", score, _blame(verdicts, "abstained"))


def _count_of(verdict: Verdict) -> float | None:
    """What a verdict counts in a mean. None: unknown."""
    if verdict.status == "abstained":
        # The score of an undecided composition may still move with its undecided parts.
        known = all(_count_of(part) is not None for part in verdict.parts)
        return verdict.score if known else None
    if verdict.score is None:
        return float(verdict.status == "passed")
    return verdict.score


def _last_value(verdicts: Sequence[Verdict]) -> Any:
    """What the last of those that passed has parsed. UNSET: none parses."""
    values = (v.value for v in reversed(verdicts) if v.status == "passed")
    return next((value for value in values if value is not UNSET), UNSET)


def _scores(verdicts: Sequence[Verdict]) -> list[float]:
    return [v.score for v in verdicts if v.score is not None]


def _blame(verdicts: Sequence[Verdict], status: Status) -> str:
    """The reason code of the first verdict of that status."""
    return next(f"{v.validator}:{v.reason}" for v in verdicts if v.status == status)
