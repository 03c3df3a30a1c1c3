"""How several verdicts become one: Kleene's three-valued logic, as pure functions.

A verdict that could not be had (abstained) is unknown, neither passed nor failed (S. C. Kleene,
Introduction to Metamathematics, 1952, section 64). Scores follow along: the lowest for "and", the
highest for "or", one minus it for "not"; parts without a score are left out of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cascade.types import UNSET, Status, Verdict

__all__ = ["all_of", "any_of", "count_of", "inverse_of", "mean_of", "optional_of"]


def all_of(verdicts: Sequence[Verdict]) -> Verdict:
    """All must pass. Failed beats abstained beats passed."""
    score = min(_scores(verdicts), default=None)
    statuses: tuple[Status, ...] = ("failed", "abstained")
    for status in statuses:
        if any(v.status == status for v in verdicts):
            return Verdict(status, score, _blame(verdicts, status))
    values = [v.value for v in verdicts if v.value is not UNSET]
    return Verdict("passed", score, value=values[-1] if values else UNSET)


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
    total = math.fsum(weights)
    pairs = list(zip(verdicts, weights, strict=True))
    known = math.fsum(w * v.score for v, w in pairs if v.score is not None) / total
    unknown = math.fsum(w for v, w in pairs if v.score is None) / total
    score = min(1.0, known) if unknown == 0 else None
    if known >= at:
        return Verdict("passed", score, threshold=at)
    if known + unknown < at:
        return Verdict("failed", score, "below_threshold", threshold=at)
    blame = next(f"{v.validator}:{v.reason}" for v in verdicts if v.score is None)
    return Verdict("abstained", score, blame, threshold=at)


def count_of(verdicts: Sequence[Verdict], least: int) -> Verdict:
    """At least so many must pass. Abstains while the abstentions could still tip the count."""
    scores = sorted(_scores(verdicts), reverse=True)
    score = scores[least - 1] if len(scores) >= least else None
    passed = sum(v.status == "passed" for v in verdicts)
    abstained = sum(v.status == "abstained" for v in verdicts)
    if passed >= least:
        return Verdict("passed", score)
    if passed + abstained < least:
        return Verdict("failed", score, _blame(verdicts, "failed"))
    return Verdict("abstained", score, _blame(verdicts, "abstained"))


def _scores(verdicts: Sequence[Verdict]) -> list[float]:
    return [v.score for v in verdicts if v.score is not None]


def _blame(verdicts: Sequence[Verdict], status: Status) -> str:
    """The reason code of the first verdict of that status."""
    return next(f"{v.validator}:{v.reason}" for v in verdicts if v.status == status)
