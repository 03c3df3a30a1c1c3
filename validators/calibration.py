"""Turning a validator's score into the probability that the answer is right."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, TypeAlias, cast

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.types import Answer, Verdict
from cascade.validation import Check, Judges, Validator, as_validator, version_of

__all__ = ["calibrated"]

Curve: TypeAlias = Callable[[float], float]
Mapped: TypeAlias = Curve | Sequence[Sequence[float]] | Mapping[str, Sequence[float]]

_TRIED_POINTS: Final = 100
_CLOSEST: Final = 1e-6


def calibrated(validator: Validator | Judges | str, mapping: Mapped) -> Validator:
    """A validator whose score is another one's, mapped to a probability of being right.

    Scores of different validators and tiers then mean the same, and `.at(0.9)` is a promise that
    a held-out set can check. Free, paid and bound to tiers as the other one is.

    Args:
        validator: one that gives a score, without a threshold of its own; or the name of one.
        mapping: fitted on answers known to be right or wrong, and never decreasing:

            - points `[[score, probability], ...]`, by rising score, joined by straight lines and
              level beyond the ends; such are the results of isotonic regression (Zadrozny and
              Elkan, Transforming Classifier Scores into Accurate Multiclass Probability
              Estimates, 2002).
            - `{"platt": [a, b]}`: 1 / (1 + exp(-(a * logit(score) + b))) with a above 0, scores
              held within 1e-6 of 0 and 1 (Platt, Probabilistic Outputs for Support Vector
              Machines, 1999, on the log-odds of a score that is a probability already).
            - a function from 0..1 to 0..1.

    Named "calibrated_" and the other's name. The other's own verdict is in `parts`, and it
    abstains for the other's reason.

    Reasons: the other's; no_score (it gave a verdict without a score); bad_calibration (the
    function broke its word).

    Raises:
        ConfigError: the mapping is none, decreases or leaves 0..1; or the validator has a
            threshold, which would have no effect, or parts for certain tiers.
    """
    inner = _checked_inner(as_validator(validator))
    curve = _curve(mapping)

    def judges(answer: Answer[Any], context: Context) -> Verdict:
        return _mapped(inner.judge_inline(answer, context), curve)

    async def judges_async(answer: Answer[Any], context: Context) -> Verdict:
        return _mapped(await inner.judge(answer, context), curve)

    check = Check(
        f"calibrated_{inner.name}",
        judges if inner.inline else judges_async,
        cost="paid" if inner.paid else "free",
        scored=True,
        version=_version(inner, mapping),
    )
    return check if inner.tiers is None else check.for_tiers(*inner.tiers)


def _version(inner: Validator, mapping: Mapped) -> str:
    """Of what the scores depend on: the curve, as far as it is told in numbers, and the other's."""
    parts: list[object] = [(part.name, part.version) for part in inner.walk() if part.version]
    if not callable(mapping):
        parts.append(mapping)
    return version_of(*parts) if parts else ""


def _checked_inner(inner: Validator) -> Validator:
    if isinstance(inner, Check) and inner.threshold is not None:
        raise ConfigError(
            f"calibrated: the threshold of {inner.name!r} has no effect; leave it out there and "
            "write calibrated(...).at(...)"
        )
    if any(part.tiers is not None for part in inner.walk() if part is not inner):
        raise ConfigError(
            f"calibrated: a part of {inner.name!r} is for certain tiers; write "
            "calibrated(...).for_tiers(...) instead, since each set of parts has its own curve"
        )
    return inner


def _mapped(verdict: Verdict, curve: Curve) -> Verdict:
    if verdict.score is None:
        reason = verdict.reason if verdict.status == "abstained" else "no_score"
        mapped = Verdict.abstained(reason, feedback=verdict.feedback)
    else:
        probability = curve(verdict.score)
        if 0 <= probability <= 1:
            feedback = verdict.feedback
            mapped = Verdict.scored(probability, feedback=feedback, value=verdict.value)
        else:
            mapped = Verdict.abstained("bad_calibration")
    mapped.parts = (verdict,)
    return mapped


def _curve(mapping: Any) -> Curve:
    if callable(mapping):
        return _tried(cast("Curve", mapping))
    if isinstance(mapping, Mapping):
        return _platt(cast("Mapping[str, Any]", mapping))
    return _lines(mapping)


def _tried(function: Curve) -> Curve:
    """The function, after a try over its whole range."""
    try:
        values = [float(function(i / _TRIED_POINTS)) for i in range(_TRIED_POINTS + 1)]
    except Exception as error:
        raise ConfigError(
            f"calibrated: the mapping raised {type(error).__name__}; it has to take any score "
            "from 0 to 1"
        ) from error
    _check_probabilities(values)
    return function


def _check_probabilities(values: Sequence[float]) -> None:
    if not all(0 <= value <= 1 for value in values):
        raise ConfigError("calibrated: the mapping leaves the range 0 to 1 of a probability")
    if any(before > after for before, after in pairwise(values)):
        raise ConfigError(
            "calibrated: the mapping decreases; a better score has to mean no less a probability"
        )


def _platt(mapping: Mapping[str, Any]) -> Curve:
    numbers = _numbers(mapping["platt"]) if set(mapping) == {"platt"} else None
    if numbers is None or len(numbers) != 2 or numbers[0] <= 0:
        raise ConfigError(
            'calibrated: the mapping is not {"platt": [a, b]} with numbers, of which a is above 0'
        )
    a, b = numbers

    def platt(score: float) -> float:
        score = min(max(score, _CLOSEST), 1 - _CLOSEST)
        odds = a * math.log(score / (1 - score)) + b
        raised = math.exp(-abs(odds))  # of the negative, so that neither tail overflows
        return (1 if odds >= 0 else raised) / (1 + raised)

    return platt


def _lines(mapping: Any) -> Curve:
    points = _points(mapping)
    if points is None or len(points) < 2:
        raise ConfigError(
            "calibrated: the mapping is neither a function, nor "
            '{"platt": [a, b]}, nor two or more points [score, probability]'
        )
    scores, probabilities = [p[0] for p in points], [p[1] for p in points]
    rising = all(a < b for a, b in pairwise(scores))
    if not (rising and scores[0] >= 0 and scores[-1] <= 1):
        raise ConfigError("calibrated: the points' scores do not rise one by one from 0 to 1")
    _check_probabilities(probabilities)

    def lines(score: float) -> float:
        right = bisect_right(scores, score)
        if right == 0 or right == len(scores):
            return probabilities[min(right, len(scores) - 1)]
        x, y = scores[right - 1], probabilities[right - 1]
        share = (score - x) / (scores[right] - x)
        return y + (probabilities[right] - y) * share

    return lines


def _points(mapping: Any) -> list[list[float]] | None:
    if not isinstance(mapping, list | tuple):
        return None
    points = [_numbers(point) for point in cast("Sequence[Any]", mapping)]
    found = [point for point in points if point is not None and len(point) == 2]
    return found if len(found) == len(points) else None


def _numbers(given: Any) -> list[float] | None:
    """A list of finite numbers. None: it is none."""
    if not isinstance(given, list | tuple):
        return None
    numbers: list[float] = []
    for number in cast("Sequence[Any]", given):
        if isinstance(number, bool) or not isinstance(number, int | float):
            return None
        numbers.append(float(number))
    return numbers if all(map(math.isfinite, numbers)) else None
