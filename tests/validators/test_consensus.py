"""agreement and cross_tier."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import pytest

from cascade import Cascade
from cascade.context import Context
from cascade.errors import ConfigError, RateLimitError
from cascade.tier import Tier
from cascade.types import Answer, Attempt, Charge, Price, Request, Usage
from cascade.validation import Check
from cascade.validators import agreement, cross_tier, verbalised

USAGE = Usage(input_tokens=10, output_tokens=5)


def scripted_call(*says: str | Exception) -> Callable[[Request], Awaitable[Answer[str]]]:
    """Says one after the other, or breaks."""
    script = iter(says)

    async def call(request: Request) -> Answer[str]:
        said = next(script)
        if isinstance(said, Exception):
            raise said
        return Answer(said, usage=USAGE)

    return call


def scripted(*says: str | Exception) -> Tier:
    return Tier("small", call=scripted_call(*says), price=Price(input=1, output=2))


async def ask(tier: Tier, question: str) -> Answer[str]:
    return await tier.chat(question)


def context(tier: Tier, charges: list[Charge] | None = None) -> Context:
    return Context(tier=tier, args=("question",), call=ask, charges=charges)


@pytest.mark.anyio
async def test_the_score_is_the_share_of_further_answers_that_agree() -> None:
    charges: list[Charge] = []
    tier = scripted("Paris", "paris.", "Lyon", "PARIS")
    found = await agreement(4).judge(Answer("Paris"), context(tier, charges))
    assert found.score == 0.75
    assert found.feedback == "Asked again, the model agreed 3 of 4 times."
    assert [(c.tier, c.purpose, c.usage) for c in charges] == [("small", "agreement", USAGE)] * 4


@pytest.mark.anyio
async def test_the_further_answers_are_asked_for_at_once() -> None:
    everyone, waiting = anyio.Event(), 0

    async def call(request: Request) -> str:
        nonlocal waiting
        waiting += 1
        if waiting == 3:
            everyone.set()
        await everyone.wait()  # never, if one waited for another
        return "a"

    found = await agreement(3).judge(Answer("a"), context(Tier("small", call=call)))
    assert found.score == 1.0


@pytest.mark.anyio
async def test_a_broken_call_counts_neither_way_and_is_billed() -> None:
    charges: list[Charge] = []
    broken = RateLimitError("slow down", usage=Usage(0, 0))
    tier = scripted("a", broken, "b", RuntimeError("no idea"))
    found = await agreement(4).judge(Answer("a"), context(tier, charges))
    assert found.score == 0.5
    assert len(charges) == 4
    assert [c.usage for c in charges].count(None) == 1  # the call of which nothing is known
    assert Usage(0, 0) in [c.usage for c in charges]


@pytest.mark.anyio
async def test_too_few_further_answers_abstain() -> None:
    charges: list[Charge] = []
    tier = scripted("a", ValueError(), ValueError())
    found = await agreement(3).at(0.1).judge(Answer("a"), context(tier, charges))
    assert (found.status, found.reason) == ("abstained", "too_few_samples")
    assert len(charges) == 3


@pytest.mark.anyio
async def test_cancelled_calls_are_billed_and_none_outlives_the_judge() -> None:
    charges: list[Charge] = []
    running = 0

    async def call(request: Request) -> str:
        nonlocal running
        running += 1
        if running == 3:
            scope.cancel()
        try:
            await anyio.sleep_forever()
        finally:
            running -= 1
        return "never"

    tier = Tier("small", call=call, price=Price(input=1, output=2))
    with anyio.CancelScope() as scope:
        await agreement(3).judge(Answer("a"), context(tier, charges))
    assert scope.cancelled_caught
    assert running == 0
    assert [(c.tier, c.purpose, c.usage) for c in charges] == [("small", "agreement", None)] * 3


@pytest.mark.anyio
async def test_an_answer_without_the_field_does_not_agree() -> None:
    tier = scripted('{"total": 12}', '{"sum": 12}', "no idea", '{"total": 12.0}')
    check = agreement(4, "numeric", field="$.total")
    assert check.name == "agreement_total"
    assert (await check.judge(Answer('{"total": "12"}'), context(tier))).score == 0.5


@pytest.mark.anyio
async def test_nothing_to_compare_asks_for_nothing() -> None:
    charges: list[Charge] = []
    found = await agreement(2, "numeric").judge(Answer("none"), context(scripted(), charges))
    assert (found.status, found.reason, charges) == ("abstained", "nothing_to_compare", [])


@pytest.mark.anyio
async def test_by_hand_there_is_nobody_to_ask() -> None:
    assert (await agreement(2).at(0.5).judge(Answer("a"))).reason == "cannot_sample"


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "3"])
def test_k_is_a_whole_number(k: Any) -> None:
    with pytest.raises(ConfigError, match="agreement: k"):
        agreement(k)


def test_agreement_is_paid_and_scored() -> None:
    check = agreement(3)
    assert isinstance(check, Check)
    assert (check.paid, check.scored, check.threshold) == (True, True, None)


def attempts(*given: tuple[str, Any]) -> Sequence[Attempt]:
    return [Attempt(t, answer=None if a is None else Answer(a)) for t, a in given]


@pytest.mark.anyio
async def test_cross_tier_is_the_share_of_earlier_tiers_that_said_the_same() -> None:
    earlier = attempts(("tiny", "Paris"), ("middle", "Lyon"), ("mute", None))
    judged = Answer("paris")
    history = [*earlier, Attempt("small", answer=judged)]
    found = await cross_tier().judge(judged, Context(tier=scripted(), attempts=history))
    assert found.score == 0.5


@pytest.mark.anyio
async def test_an_earlier_answer_of_the_same_tier_is_no_second_opinion() -> None:
    history = attempts(("small", "Paris"), ("small", "Paris"))
    found = await cross_tier().judge(Answer("Paris"), Context(tier=scripted(), attempts=history))
    assert (found.status, found.reason) == ("abstained", "no_earlier_answer")


@pytest.mark.anyio
async def test_the_last_answer_of_an_earlier_tier_counts() -> None:
    history = attempts(("tiny", "Lyon"), ("tiny", "Paris"), ("tiny", None))
    found = await cross_tier().judge(Answer("Paris"), Context(tier=scripted(), attempts=history))
    assert found.score == 1.0


@pytest.mark.anyio
async def test_an_earlier_answer_that_cannot_be_read_is_left_out() -> None:
    history = attempts(("tiny", "no json"), ("middle", '{"total": 3}'))
    check = cross_tier("json", field="total")
    assert check.name == "cross_tier_total"
    here = Context(tier=scripted(), attempts=history)
    assert (await check.judge(Answer('{"total": 3.0}'), here)).score == 1.0
    assert (await check.judge(Answer("no json"), here)).reason == "nothing_to_compare"
    first = Context(tier=scripted(), attempts=history[:1])
    assert (await check.judge(Answer('{"total": 3}'), first)).reason == "no_earlier_answer"


@pytest.mark.anyio
async def test_on_the_first_rung_there_is_nothing_earlier() -> None:
    found = await cross_tier().at(1.0).judge(Answer("a"))
    assert (found.status, found.reason) == ("abstained", "no_earlier_answer")
    assert not cross_tier().paid


@pytest.mark.anyio
async def test_in_a_cascade_every_call_is_on_the_bill_of_its_attempt() -> None:
    small = scripted("Lyon", "Paris", RuntimeError("broken"), "Nice")
    large = Tier("large", call=scripted_call("Paris"), price=Price(input=5, output=9))
    ladder = Cascade(tiers=[small, large], validators=[agreement(3).at(0.5).for_tiers("small")])
    result = await ladder.run("Which city?")
    first, second = result.attempts
    assert (first.outcome, first.reason) == ("rejected", "agreement:below_threshold")
    assert [c.purpose for c in first.charges] == ["answer", *["agreement"] * 3]
    assert sum(c.usage is None for c in first.charges) == 1
    assert (result.value, [c.purpose for c in second.charges]) == ("Paris", ["answer"])


@pytest.mark.anyio
async def test_in_a_cascade_the_second_tier_can_confirm_the_first() -> None:
    large = Tier("large", call=scripted_call("paris"))
    unsure = verbalised(pattern=r"sure: (\S+)").at(0.9)
    ladder = Cascade(tiers=[scripted("Paris."), large], validators=[unsure | cross_tier().at(1)])
    result = await ladder.run("Which city?")
    assert (result.accepted, result.value) == (True, "paris")
    assert [a.outcome for a in result.attempts] == ["rejected", "accepted"]
