"""What validators say for themselves, beside a policy that weighs their scores."""

from __future__ import annotations

from typing import Any

import pytest

from cascade import Answer, Context, at_least, weighted
from cascade.types import Verdict
from cascade.validation import Check, Validator
from cascade.weighing import gives_score, own_verdict

good = Check("good", lambda answer, context: True)
bad = Check("bad", lambda answer, context: Verdict.failed("broken"))
unsure = Check("unsure", lambda answer, context: Verdict.abstained("no_source"))
high = Check("high", lambda answer, context: 0.9, at=0.5)
low = Check("low", lambda answer, context: 0.3, at=0.5)
no_score = Check("no_score", lambda answer, context: None, at=0.5)
refused = Check("refused", lambda answer, context: False, at=0.5)
scores = Check("scores", lambda answer, context: None, scored=True)
bare = Check("bare", lambda answer, context: 0.3)


async def says_no(answer: Answer[Any], context: Context) -> bool:
    return False


async def scores_low(answer: Answer[Any], context: Context) -> float:
    return 0.1


paid_no = Check("paid_no", says_no, cost="paid")
paid_low = Check("paid_low", scores_low, cost="paid", at=0.5)


class Own(Validator):
    """A user's own kind of validator, of which only the verdict tells."""

    def __init__(self, verdict: Verdict) -> None:
        self.name, self.paid, self.inline, self.tiers = "own", False, True, None
        self.verdict = verdict

    def judge_inline(self, answer: Answer[Any], context: Context) -> Verdict:
        return self.verdict

    async def judge(self, answer: Answer[Any], context: Context | None = None) -> Verdict:
        return self.verdict

    def walk(self) -> Any:
        yield self

    def missing_thresholds(self) -> list[str]:
        return []

    def fitted(self, tier: str, thresholds: Any) -> Validator | None:
        return self


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("validator", "status", "reason"),
    [
        # Alone.
        (good, "passed", ""),
        (bad, "failed", "broken"),
        (unsure, "abstained", "no_source"),
        (high, "passed", ""),
        (low, "passed", ""),
        (no_score, "passed", ""),
        (scores, "passed", ""),
        (bare, "passed", ""),
        (refused, "failed", "failed"),  # it said so itself, whatever its threshold
        # Joined.
        (low & good, "passed", ""),
        (low & bad, "failed", "bad:broken"),
        (low & unsure, "abstained", "unsure:no_source"),
        (low | bad, "passed", ""),
        (bad | unsure, "abstained", "unsure:no_source"),
        (bad | refused, "failed", "bad:broken"),
        (low.optional(), "passed", ""),
        (bad.optional(), "failed", "broken"),
        (unsure.optional(), "passed", "unsure:no_source"),
        (~high, "passed", ""),
        (~good, "failed", "good:passed"),
        (~~low, "passed", ""),
        (~(high & bad), "passed", ""),
        (~(high | good), "failed", "high | good:passed"),
        (~(high | bad), "passed", ""),
        (at_least(2, low, good, bad), "passed", ""),
        (at_least(3, low, good, bad), "failed", "bad:broken"),
        ((low & good) & (bad | no_score), "passed", ""),
        (weighted({low: 1, bad: 9}, at=0.5), "passed", ""),  # its mean is a score
        (weighted({bad: 1, unsure: 1}, at=0.5), "passed", ""),
        # Asked only if the others pass.
        (low & paid_low, "passed", ""),
        (low & (paid_low | paid_low.named("other")), "passed", ""),
        (high & paid_no, "failed", "paid_no:failed"),
        (low & paid_no, "abstained", "paid_no:not_asked"),
        # A user's own kinds.
        (Own(Verdict("failed", 0.1, "below_threshold", threshold=0.5)), "passed", ""),
        (Own(Verdict.scored(0.1)), "passed", ""),
        (Own(Verdict.failed("broken")), "failed", "broken"),
        (Own(Verdict("failed", reason="broken", parts=(Verdict.passed(),))), "failed", "broken"),
    ],
)
async def test_a_verdict_without_thresholds(validator: Validator, status: str, reason: str) -> None:
    verdict = await validator.judge(Answer("text"))
    verdict.validator = validator.name
    own = own_verdict(validator, verdict)
    assert (own.status, own.validator) == (status, validator.name)
    if status != "passed":
        assert own.reason.endswith(reason)


@pytest.mark.parametrize(
    ("validator", "expected"),
    [
        (good, False),
        (bare, False),  # nobody says so before it judges
        (low, True),
        (scores, True),
        (weighted({good: 1}, at=0.5), True),
        (low & good, False),
    ],
)
def test_what_gives_a_score_of_its_own(validator: Validator, expected: bool) -> None:
    assert gives_score(validator) is expected


@pytest.mark.anyio
async def test_a_composition_that_crashed_stays_an_abstention() -> None:
    crashed = Verdict("abstained", reason="crashed:ValueError", validator="low & good")
    assert own_verdict(low & good, crashed) is crashed
