"""Audits: what is asked again, what it says of quality, and what an alarm does."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from cascade import (
    Answer,
    Cap,
    Cascade,
    CascadeExhausted,
    ConfigError,
    Context,
    Path,
    Price,
    ProviderError,
    Spend,
    Tier,
    Usage,
    cascade,
)
from cascade.auditing import Audit, Auditor
from cascade.ledger import MemoryLedger
from cascade.policy import Policy
from cascade.telemetry import Prometheus
from cascade.testing import HANG, Scripted
from cascade.types import Request
from cascade.validation import Check
from cascade.validators import judge
from tests.test_policing import by_other, policy

PRICE = Price(input=1, output=1)


class Model:
    """Answers the number it is asked, wrong where `wrong` says so."""

    def __init__(self, wrong: Any = lambda number: False) -> None:
        self.asked: list[int] = []
        self.wrong = wrong

    async def __call__(self, request: Request) -> Answer[str]:
        number = int(request.messages[0]["content"])
        self.asked.append(number)
        said = -1 if self.wrong(number) else number
        return Answer(str(said), usage=Usage(10, 10))


def audited(small: Any, large: Any, audit: Audit, **options: Any) -> Cascade:
    return Cascade(
        tiers=[Tier("small", call=small, price=PRICE), Tier("large", call=large, price=PRICE)],
        audit=audit,
        **options,
    )


def auditor_of(made: Cascade) -> Auditor:
    assert made.auditor is not None
    return made.auditor


@pytest.mark.anyio
async def test_accepted_cheap_answers_are_asked_of_the_strongest_tier() -> None:
    small, large, ledger = Model(lambda n: n % 4 == 0), Model(), MemoryLedger()
    made = audited(small, large, Audit(share=1.0, labels=ledger), observers=[ledger])
    results = [await made.run(str(number)) for number in range(8)]
    assert large.asked == []  # nothing on the request path
    await auditor_of(made).catch_up()
    assert large.asked == list(range(8))
    assert [(o.call_id, o.correct, o.by) for o in ledger.outcomes] == [
        (result.id, number % 4 != 0, "audit") for number, result in enumerate(results)
    ]
    [estimate] = auditor_of(made).estimates()
    assert (estimate.path, estimate.tier, estimate.count) == (None, "small", 8)
    assert estimate.quality == pytest.approx(0.75)
    assert estimate.regret == pytest.approx(0.25)
    assert estimate.quality_low <= 0.75 <= estimate.quality_high
    assert len(ledger.results) == 8  # an audit is no call of its own


@pytest.mark.anyio
async def test_what_the_strongest_tier_answered_is_not_audited_nor_what_nobody_accepted() -> None:
    def from_large(answer: Answer[Any], context: Context) -> bool:
        return context.tier is not None and context.tier.name == "large"

    made = audited(Model(), large := Model(), Audit(share=1.0), validators=[from_large])
    await made.run("1")
    await auditor_of(made).catch_up()
    assert large.asked == [1]
    nobody = audited(Model(), Model(), Audit(share=1.0), validators=[lambda a, c: False])
    with pytest.raises(CascadeExhausted):
        await nobody.run("1")
    await auditor_of(nobody).catch_up()
    assert auditor_of(nobody).audited == 0


@pytest.mark.anyio
async def test_the_share_is_by_path_and_seeded() -> None:
    async def asked(seed: int) -> list[int]:
        large = Model()
        audit = Audit(share={"live": 0.25}, seed=seed)
        made = audited(Model(), large, audit, paths={"live": Path(), "quiet": Path()})
        for number in range(200):
            await made.run(str(number), path="live")
            await made.run(str(number + 1000), path="quiet")
        await auditor_of(made).catch_up()
        return large.asked

    one, same, other = await asked(1), await asked(1), await asked(2)
    assert one == same != other
    assert 30 < len(one) < 70
    assert max(one) < 1000


@pytest.mark.anyio
async def test_audits_work_beside_calls_inside_of_the_lifespan() -> None:
    compared = anyio.Event()

    class Labels:
        def record_outcome(self, request_id: str, **facts: Any) -> None:
            compared.set()

    made = audited(Model(), Model(), Audit(share=1.0, labels=Labels()))
    async with made.lifespan():
        await made.run("1")
        await compared.wait()
    assert auditor_of(made).audited == 1


@pytest.mark.anyio
async def test_leaving_the_lifespan_ends_what_hangs_and_errors_come_out_alone() -> None:
    asked = anyio.Event()

    async def hangs(request: Request) -> None:
        asked.set()
        await anyio.sleep_forever()

    made = audited(Model(), hangs, Audit(share=1.0))

    async def serve() -> None:
        async with made.lifespan():
            await made.run("1")
            await asked.wait()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await serve()
    assert auditor_of(made).audited == 0
    assert auditor_of(made).unknown_costs == 1  # the call was made, and is on the bill


@pytest.mark.anyio
async def test_audits_have_caps_and_a_bill_of_their_own() -> None:
    spend = Spend(caps=[Cap("0.0001", per="process")], output_tokens=10)
    made = audited(Model(), large := Model(), Audit(share=1.0, spend=spend))
    results = [await made.run(str(number)) for number in range(10)]
    auditor = auditor_of(made)
    await auditor.catch_up()
    assert 0 < len(large.asked) < 10
    assert auditor.audited == len(large.asked)
    assert auditor.failed == 10 - len(large.asked)
    assert auditor.cost_usd == Decimal("0.00002") * len(large.asked)
    assert {result.cost_usd for result in results} == {Decimal("0.00002")}


@pytest.mark.anyio
async def test_an_audit_that_breaks_or_is_too_slow_is_counted_and_harms_nothing() -> None:
    broken = audited(Model(), Scripted(ProviderError("x")), Audit(share=1.0))
    stuck = audited(Model(), Scripted(HANG), Audit(share=1.0, timeout_s=0.01))

    def no_grade(mine: Any, best: Any) -> float:
        raise RuntimeError("secret")

    ungraded = audited(Model(), Model(), Audit(share=1.0, grade=no_grade))
    too_much = audited(Model(), Model(), Audit(share=1.0, grade=lambda mine, best: 2.0))
    for made in (broken, stuck, ungraded, too_much):
        await made.run("1")
        await auditor_of(made).catch_up()
        assert (auditor_of(made).audited, auditor_of(made).failed) == (0, 1)


@pytest.mark.anyio
async def test_a_full_queue_leaves_out_and_counts() -> None:
    made = audited(Model(), Model(), Audit(share=1.0, queue=3))
    for number in range(5):
        await made.run(str(number))
    assert auditor_of(made).left_out == 2


@pytest.mark.anyio
async def test_a_function_grades_by_both_values_and_a_validator_scores_both_answers() -> None:
    async def near(mine: Any, best: Any) -> float:
        return 1.0 if abs(int(mine) - int(best)) < 5 else 0.0

    graded = audited(Model(lambda n: True), Model(), Audit(share=1.0, grade=near))
    for number in (1, 2, 100):
        await graded.run(str(number))
    await auditor_of(graded).catch_up()
    assert auditor_of(graded).estimates()[0].quality == pytest.approx(2 / 3)

    def positive(answer: Answer[Any], context: Context) -> float:
        assert context.request is not None
        return 1.0 if int(str(answer.text)) >= 0 else 0.25

    check = Check("positive", positive)
    scored = audited(Model(lambda n: True), Model(), Audit(share=1.0, grade=check))
    await scored.run("1")
    await auditor_of(scored).catch_up()
    [estimate] = auditor_of(scored).estimates()
    assert (estimate.quality, estimate.regret) == (0.25, 0.75)


@pytest.mark.anyio
async def test_a_wrapped_function_is_audited_with_its_arguments() -> None:
    tiers = [Tier("small", model="x"), Tier("large", model="y")]
    asked: list[tuple[str, int]] = []

    @cascade(tiers=tiers, audit=Audit(share=1.0))
    async def ask(tier: Tier, number: int) -> int:
        asked.append((tier.name, number))
        return number

    await ask(7)
    await auditor_of(ask.cascade).catch_up()
    assert asked == [("small", 7), ("large", 7)]
    assert auditor_of(ask.cascade).estimates()[0].quality == 1.0


async def drifting(
    audit: Audit, calls: int = 300, **options: Any
) -> tuple[Cascade, list[str | None]]:
    """A small model that goes wrong half-way; the tiers that answered."""
    made = audited(Model(lambda n: n >= calls // 2), Model(), audit, **options)
    answered: list[str | None] = []
    for number in range(calls):
        answered.append((await made.run(str(number), path="p")).tier)
        await auditor_of(made).catch_up()
    return made, answered


@pytest.mark.anyio
async def test_an_injected_drift_rings_the_alarm(caplog: pytest.LogCaptureFixture) -> None:
    made, answered = await drifting(Audit(share=1.0), paths={"p": Path()})
    assert auditor_of(made).estimates()[0].has_drifted
    drift = [record for record in caplog.records if record.getMessage().startswith("audit_drift")]
    assert len(drift) == 1
    assert set(answered) == {"small"}


@pytest.mark.anyio
async def test_a_path_that_is_rarely_audited_delays_no_alarm_of_another() -> None:
    paths = {"p": Path(), "rare": Path()}
    alone, answered = await drifting(Audit(share={"p": 1.0}, on_drift="bypass"), paths=paths)
    audit = Audit(share={"p": 1.0, "rare": 0.001}, on_drift="bypass")
    beside, answered_beside = await drifting(audit, paths=paths)
    assert "large" in answered
    assert answered == answered_beside
    assert auditor_of(alone).estimates() == auditor_of(beside).estimates()
    for made in (alone, beside):
        auditor_of(made).reset()
        await made.run("1", path="p")
        await auditor_of(made).catch_up()
    assert auditor_of(alone).estimates() == auditor_of(beside).estimates() != []


@pytest.mark.anyio
async def test_a_bypass_asks_only_the_strongest_tier_until_it_is_reset() -> None:
    audit = Audit(share=1.0, on_drift="bypass")
    made, answered = await drifting(audit, paths={"p": Path(), "other": Path()})
    assert answered[149] == "small"
    assert answered[-1] == "large"
    assert (await made.run("1", path="other")).tier == "small"
    auditor_of(made).reset()
    assert (await made.run("1", path="p")).tier == "small"
    assert auditor_of(made).estimates() == []


@pytest.mark.anyio
async def test_a_fallback_puts_the_last_certified_policy_in_force() -> None:
    steps = {"a": "0.8", "b": "0.9", "c": "1"}
    certified = policy(start={"": "c"})
    made = Cascade(
        tiers=[Tier(name, call=Scripted(text), price=PRICE) for name, text in steps.items()],
        validators=[Check("sure", lambda answer, context: float(str(answer.text)))],
        policy=policy(),
        audit=Audit(share=1.0, on_drift="fallback", fallback=certified),
    )
    results = []
    for _ in range(200):
        results.append(await made.run("?"))
        await auditor_of(made).catch_up()
    assert (results[0].tier, results[-1].tier) == ("a", "c")
    assert results[-1].policy == certified.sha256()[:12]


@pytest.mark.anyio
async def test_a_fallback_may_weigh_other_scores_than_the_policy_before_it() -> None:
    def score(place: int) -> Any:
        return lambda answer, context: float(str(answer.text).split()[place])

    steps = {"a": "0.8 0.8 wrong", "b": "1 1 right", "c": "1 1 right"}
    made = Cascade(
        tiers=[Tier(name, call=Scripted(text), price=PRICE) for name, text in steps.items()],
        validators=[Check("sure", score(0), at=0.95), Check("other", score(1), at=0.95)],
        policy=policy(),
        audit=Audit(share=1.0, on_drift="fallback", fallback=by_other),
    )
    results = []
    for _ in range(200):
        results.append(await made.run("?"))
        await auditor_of(made).catch_up()
    assert results[-1].policy == by_other.sha256()[:12]
    assert {result.tier for result in results} == {"a"}
    assert auditor_of(made).failed == 0


@pytest.mark.parametrize(
    ("in_force", "fallback", "message"),
    [
        (None, policy(), "this cascade has none"),
        (policy(), policy(tiers=("a", "x")), "tier 'x', which is not in this cascade"),
    ],
)
def test_a_fallback_that_could_not_take_over_is_refused(
    in_force: Policy | None, fallback: Policy, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Cascade(
            tiers=[Tier(name, call=Scripted("1"), price=PRICE) for name in "abc"],
            validators=[Check("sure", lambda answer, context: 1.0).at(0.5)],
            policy=in_force,
            audit=Audit(share=1.0, on_drift="fallback", fallback=fallback),
        )


@given(st.lists(st.booleans(), min_size=1, max_size=60))
@settings(max_examples=25)
def test_all_answers_audited_make_the_exact_quality(right: list[bool]) -> None:
    async def run() -> float:
        made = audited(Model(lambda n: not right[n]), Model(), Audit(share=1.0))
        for number in range(len(right)):
            await made.run(str(number))
        await auditor_of(made).catch_up()
        return auditor_of(made).estimates()[0].quality

    assert anyio.run(run) == pytest.approx(sum(right) / len(right))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0}, "share is 0; give a part of the calls"),
        ({"share": {"p": 2}}, "share of path 'p' is 2"),
        ({"share": 0.1, "within": 0}, "within=0 allows nothing"),
        ({"share": 0.1, "on_drift": "panic"}, "on_drift='panic'"),
        ({"share": 0.1, "on_drift": "fallback"}, "go together"),
        ({"share": 0.1, "labels": 1}, "labels is a int"),
        ({"share": 0.1, "queue": 0}, "queue=0"),
        ({"share": 0.1, "timeout_s": 0}, "timeout_s=0"),
    ],
)
def test_options_that_cannot_work_say_so(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Audit(**options)


def test_an_audit_needs_a_stronger_tier_and_known_paths() -> None:
    with pytest.raises(ConfigError, match="no effect with one tier"):
        Cascade(tiers=[Tier("a", call=Model())], audit=Audit(share=1.0))
    with pytest.raises(ConfigError, match="names the path 'liev'; did you mean 'live'"):
        audited(Model(), Model(), Audit(share={"liev": 0.1}), paths={"live": Path()})


@pytest.mark.anyio
async def test_a_judge_that_grades_is_on_the_audits_bill_and_under_its_caps() -> None:
    asked: list[str] = []

    async def judging(request: Request) -> Answer[str]:
        asked.append(str(request.messages[-1]["content"]))
        return Answer('{"feedback": "fine", "score": 10}', usage=Usage(10, 10))

    def limited(usd: str) -> Cascade:
        grade = judge(Tier("judge", call=judging, price=PRICE), "It is a number.")
        spend = Spend(caps=[Cap(usd, per="process")], output_tokens=10)
        return audited(Model(), Model(), Audit(share=1.0, grade=grade, spend=spend))

    made = limited("1")
    result = await made.run("1")
    await auditor_of(made).catch_up()
    assert len(asked) == 2  # both answers are judged
    assert auditor_of(made).cost_usd == 3 * Decimal("0.00002")
    assert result.cost_usd == Decimal("0.00002")  # none of it is the call's
    tight = limited("0.00005")  # enough for the strongest tier, and not for the judge after it
    await tight.run("1")
    await auditor_of(tight).catch_up()
    assert (auditor_of(tight).audited, auditor_of(tight).failed, len(asked)) == (0, 1, 2)


@pytest.mark.anyio
async def test_what_a_grading_function_asks_of_a_tier_is_on_the_audits_bill_too() -> None:
    helper = Tier("helper", call=Model(), price=PRICE)

    async def grade(mine: Any, best: Any) -> bool:
        return (await helper.send(Request("7"))).text == "7"

    made = audited(Model(), Model(), Audit(share=1.0, grade=grade))
    await made.run("1")
    await auditor_of(made).catch_up()
    assert auditor_of(made).audited == 1
    assert auditor_of(made).cost_usd == 2 * Decimal("0.00002")


@pytest.mark.anyio
async def test_an_estimate_is_a_line_and_says_when_no_one_value_fits() -> None:
    made, _ = await drifting(Audit(share=1.0), paths={"p": Path()})
    [estimate] = auditor_of(made).estimates()
    assert estimate.has_moved
    assert "quality" in str(estimate)
    assert "(it moved)" in str(estimate)
    assert str(estimate).endswith("; it drifted")


@pytest.mark.anyio
async def test_drift_is_a_metric() -> None:
    metrics = Prometheus(registry := CollectorRegistry())
    made, _ = await drifting(
        Audit(share=1.0), name="support", paths={"p": Path()}, observers=[metrics]
    )
    labels = {"cascade": "support", "path": "p", "tier": "small"}
    assert registry.get_sample_value("cascade_audit_drift", labels) == 1
    regret = registry.get_sample_value("cascade_audit_regret", labels)
    assert regret == auditor_of(made).estimates()[0].regret
