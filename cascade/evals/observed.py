"""What one attempt shows to a policy: signals, whether hard validators passed, the answer.

As a policy sees it live (`cascade.policing.observation`), so that one tuned on recorded runs finds
the same when it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cascade.types import Verdict
from cascade.validation import Validator
from cascade.weighing import own_verdict

__all__ = ["hard_passed", "signals_of", "versions_of"]


def signals_of(verdicts: Iterable[Verdict]) -> dict[str, float]:
    """The score of every validator that gave one, by its name, parts of composed ones included.

    Of two with the same name it is the first's.
    """
    signals: dict[str, float] = {}
    for verdict in _walk(verdicts):
        if verdict.score is not None:
            signals.setdefault(verdict.validator, verdict.score)
    return signals


def _walk(verdicts: Iterable[Verdict]) -> Iterator[Verdict]:
    for verdict in verdicts:
        yield verdict
        yield from _walk(verdict.parts)


def versions_of(validators: Iterable[Validator]) -> dict[str, str]:
    """The versions of the validators that have one, by name, parts of composed ones included."""
    walked = (part for one in validators for part in one.walk())
    return {one.name: one.version for one in walked if one.version}


def hard_passed(validators: Iterable[Validator], verdicts: Iterable[Verdict]) -> bool:
    """Whether no validator rejected the answer for another reason than a score and its threshold.

    Args:
        validators: as they judged.
        verdicts: theirs, in the same order.
    """
    pairs = zip(validators, verdicts, strict=True)
    return all(own_verdict(one, verdict).status == "passed" for one, verdict in pairs)
