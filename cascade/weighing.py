"""What validators say for themselves, where a policy weighs their scores in place of thresholds.

A policy has learnt what a score is worth. Beside it thresholds decide nothing: an answer is
rejected only by what would reject it however its scores stood to them. Calls and recorded runs go
by the same function, so that a policy meets live what it was tuned on.
"""

from __future__ import annotations

from cascade.composition import NOT_ASKED, Composite, Inverse, Weighted
from cascade.types import Verdict
from cascade.validation import Check, Validator

__all__ = ["gives_score", "own_verdict"]


def gives_score(validator: Validator) -> bool:
    """Whether it holds a score of its own against a threshold, or would, if it had one."""
    if isinstance(validator, Check):
        return validator.threshold is not None or bool(validator.scored)
    return isinstance(validator, Weighted)


def own_verdict(validator: Validator, verdict: Verdict) -> Verdict:
    """A validator's verdict as if every score in it were as good as its threshold asks.

    It is not passed only where the answer would be rejected whatever the scores are. A score that
    is missing counts as any other; a weighted mean is a score, whatever it is the mean of. What
    says failed by itself, or abstains without a score to give, stays as it is.

    Args:
        validator: as it judged, with the parts that it has on that tier.
        verdict: what it said.
    """
    return _supposed(validator, verdict, met=True)


def _supposed(validator: Validator, verdict: Verdict, *, met: bool) -> Verdict:
    """The verdict, had every score met its threshold, or had none."""
    if _hangs_on_score(validator, verdict):
        supposed = Verdict("passed") if met else Verdict("failed", reason="below_threshold")
        supposed.score, supposed.validator = verdict.score, verdict.validator
        return supposed
    if not isinstance(validator, Composite):
        return verdict
    said = verdict.parts
    if verdict.reason == NOT_ASKED:  # neither were its parts
        said = (verdict,) * len(validator.parts)
    if len(said) != len(validator.parts):
        return verdict
    met = met is not isinstance(validator, Inverse)  # what is inverted is best at its worst
    pairs = zip(validator.parts, said, strict=True)
    supposed = validator.combine([_supposed(part, one, met=met) for part, one in pairs])
    supposed.validator = verdict.validator
    return supposed


def _hangs_on_score(validator: Validator, verdict: Verdict) -> bool:
    # Of a user's own kind of Validator only the verdict tells.
    by_verdict = verdict.threshold is not None or verdict.reason == "no_threshold"
    if not (by_verdict or gives_score(validator)):
        return False
    return verdict.status != "failed" or verdict.reason == "below_threshold"
