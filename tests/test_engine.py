"""The loop against a plain model of what it should do, and what the model does not cover."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import anyio
import pytest
import trio
import trio.testing
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from cascade import (
    Answer,
    Attempt,
    Cascade,
    CascadeExhausted,
    ConfigError,
    Context,
    DeadlineExceeded,
    Path,
    Price,
    ProviderError,
    ProviderTimeoutError,
    Request,
    Result,
    Tier,
    Usage,
    Verdict,
)
from cascade.engine import _best, failure
from cascade.testing import HANG, Scripted
from cascade.validation import Check, Judges

PRICE, ONE = Price(input=1, output=1), Usage(1, 0)

# The model: random ladders, scripts, validators and paths.


@dataclass
class Judge:
    """A validator: what it says of the answers "0", "1", "2", and how."""

    says: list[Any]
    kind: str
    at: float | None
    tiers: frozenset[str] | None

    def verdict(self, text: str) -> tuple[str, float | None, str]:
        said = self.says[int(text)]
        if said is True:
            return "passed", 1.0, ""
        if said is False:
            return "failed", 0.0, "failed"
        if said is None:
            return "abstained", None, "undecided"
        if said == "crash":
            return "abstained", None, "crashed:ZeroDivisionError"
        if self.at is None:
            return "abstained", said, "no_threshold"
        return ("passed", said, "") if said >= self.at else ("failed", said, "below_threshold")


@dataclass
class Spec:
    """One random call."""

    scripts: list[list[str]]
    judges: list[Judge]
    first: int
    last: int
    budget_s: float | None
    reasks: int
    feedback: bool


TIMEOUT_S = 1.0  # of every tier; budgets are never a multiple of it, so that no two times tie

judges = st.builds(
    Judge,
    st.lists(st.sampled_from([True, False, None, "crash", 0.3, 0.8]), min_size=3, max_size=3),
    st.sampled_from(["inline", "async", "paid"]),
    st.sampled_from([None, 0.5]),
    st.none() | st.frozensets(st.sampled_from("abc"), min_size=1),
)
steps = st.sampled_from(["0", "1", "2", "error", "hang"])


@st.composite
def specs(draw: Any) -> Spec:
    scripts = draw(st.lists(st.lists(steps, min_size=1, max_size=3), min_size=3, max_size=3))
    first = draw(st.integers(0, 2))
    return Spec(
        scripts,
        draw(st.lists(judges, min_size=1, max_size=4)),
        first,
        draw(st.integers(first, 2)),
        draw(st.sampled_from([None, 0.5, 1.5, 2.5, 100.0])),
        draw(st.integers(0, 2)),
        draw(st.booleans()),
    )


Row = tuple[str, int, str, str, int, int, float | None]
"""Of one attempt: tier, ask, outcome, reason, verdicts, charges, score."""


def expected(spec: Spec) -> tuple[bool, str, str | None, list[Row], list[int]]:
    """Accepted, reason, text, attempts, and how many messages each request held."""
    rows: list[Row] = []
    answers: list[tuple[float, str]] = []
    sizes: list[int] = []
    now, rejected = 0.0, False
    names = "abc"[spec.first : spec.last + 1]
    for place, name in enumerate(names):
        script = spec.scripts[spec.first + place]
        rejected = rejected and spec.feedback
        for ask in range(spec.reasks + 1):
            sizes.append(3 if rejected else 1)
            step = script[min(ask, len(script) - 1)]
            if step == "hang" and spec.budget_s is not None and now + TIMEOUT_S > spec.budget_s:
                rows.append((name, ask, "timed_out", "budget", 0, 1, None))
                left = names[place + 1 :]
                rows += [(other, 0, "skipped", "budget", 0, 0, None) for other in left]
                return False, "budget", _best_of(answers), rows, sizes
            if step == "hang":
                now += TIMEOUT_S
                rows.append((name, ask, "timed_out", "tier_timeout", 0, 1, None))
                break
            if step == "error":
                rows.append((name, ask, "failed", "ProviderError", 0, 1, None))
                break
            verdicts, asked = _judged(spec, name, step)
            statuses = [status for status, _, _ in verdicts]
            known = [score for _, score, _ in verdicts if score is not None]
            score = min(known, default=None)
            facts = (len(verdicts), 1 + asked, score)
            if all(status == "passed" for status in statuses):
                rows.append((name, ask, "accepted", "", *facts))
                return True, "accepted", step, rows, sizes
            worst = "failed" if "failed" in statuses else "abstained"
            rows.append((name, ask, "rejected", verdicts[statuses.index(worst)][2], *facts))
            answers.append((-1.0 if score is None else score, step))
            rejected = True
    return False, "exhausted", _best_of(answers), rows, sizes


def _judged(spec: Spec, tier: str, text: str) -> tuple[list[Any], int]:
    """The verdicts, and how many paid validators were asked."""
    said: list[Any] = []
    for paid in (False, True):
        if paid and any(status != "passed" for status, _, _ in said):
            return said, 0
        for place, judge in enumerate(spec.judges):
            if (judge.kind == "paid") == paid and (judge.tiers is None or tier in judge.tiers):
                status, score, reason = judge.verdict(text)
                said.append((status, score, f"v{place}:{reason}"))
    return said, sum(j.kind == "paid" and (j.tiers is None or tier in j.tiers) for j in spec.judges)


def _best_of(answers: list[tuple[float, str]]) -> str | None:
    best = max((score for score, _ in answers), default=None)
    return next((text for score, text in reversed(answers) if score == best), None)


# The same call, by the engine


def real_validator(place: int, judge: Judge) -> Check:
    helper = Tier("judge", call=Scripted(Answer("x", usage=ONE)), price=PRICE)

    def judges(answer: Answer[Any], context: Context) -> Any:
        said = judge.says[int(str(answer.text))]
        return 1 / 0 if said == "crash" else said

    async def later(answer: Answer[Any], context: Context) -> Any:
        if judge.kind == "paid":
            await context.ask_tier(helper, Request("?"), purpose="judge")
        else:
            await checkpoint()
        return judges(answer, context)

    check = Check(
        f"v{place}",
        judges if judge.kind == "inline" else later,
        at=judge.at,
        cost="paid" if judge.kind == "paid" else "free",
    )
    return check if judge.tiers is None else check.for_tiers(*judge.tiers)


def real_cascade(spec: Spec, sizes: list[int]) -> Cascade:
    def plays(script: list[str]) -> Callable[[Request], Any]:
        known = {"error": ProviderError("down"), "hang": HANG}
        scripted = Scripted(*(known.get(step, Answer(step, usage=ONE)) for step in script))

        async def call(request: Request) -> Any:
            sizes.append(len(request.messages))
            return await scripted(request)

        return call

    return Cascade(
        tiers=[
            Tier(name, call=plays(script), price=PRICE, timeout_s=TIMEOUT_S)
            for name, script in zip("abc", spec.scripts, strict=True)
        ],
        validators=[real_validator(place, judge) for place, judge in enumerate(spec.judges)],
        paths={"p": Path(budget_s=spec.budget_s, first="abc"[spec.first], last="abc"[spec.last])},
        reasks=spec.reasks,
        feedback=spec.feedback,
        on_exhausted="best",
    )


def row(attempt: Attempt) -> Row:
    return (
        attempt.tier,
        attempt.ask,
        attempt.outcome,
        attempt.reason,
        len(attempt.verdicts),
        len(attempt.charges),
        attempt.score,
    )


def check(spec: Spec, result: Result[Any], sizes: list[int]) -> None:
    accepted, reason, text, rows, expected_sizes = expected(spec)
    assert [row(attempt) for attempt in result.attempts] == rows
    assert (result.accepted, result.reason, result.value) == (accepted, reason, text)
    assert sizes == expected_sizes
    charges = [charge for attempt in result.attempts for charge in attempt.charges]
    known = sum(charge.usage is not None for charge in charges)
    assert result.known_cost_usd == known * Decimal("0.000001")
    assert (result.cost_usd is None) == (known < len(charges))
    assert result.escalations == len({r[0] for r in rows if r[2] != "skipped"}) - 1


@given(specs())
def test_the_engine_does_what_the_model_says_in_virtual_time(spec: Spec) -> None:
    sizes: list[int] = []

    async def run() -> Result[Any]:
        return await real_cascade(spec, sizes).run("?", path="p")

    clock = trio.testing.MockClock(autojump_threshold=0)
    check(spec, trio.run(run, clock=clock), sizes)


@given(specs())
def test_the_engine_does_what_the_model_says_on_asyncio(spec: Spec) -> None:
    spec.budget_s = None
    spec.scripts = [["error" if s == "hang" else s for s in script] for script in spec.scripts]
    sizes: list[int] = []

    async def run() -> Result[Any]:
        return await real_cascade(spec, sizes).run("?", path="p")

    check(spec, anyio.run(run), sizes)


# The best of those that were rejected


@given(st.lists(st.tuples(st.booleans(), st.none() | st.sampled_from([0.0, 0.1, 0.5, 1.0]))))
def test_the_best_attempt_has_the_highest_score_and_is_the_later_of_equals(
    given_: list[tuple[bool, float | None]],
) -> None:
    attempts = [
        Attempt(
            str(place),
            answer=Answer("x") if answered else None,
            verdicts=[] if score is None else [Verdict.failed(score=score)],
        )
        for place, (answered, score) in enumerate(given_)
    ]
    ranked = sorted(
        (-1.0 if score is None else score, place)
        for place, (answered, score) in enumerate(given_)
        if answered
    )
    best = _best(attempts)
    assert (best and best.tier) == (str(ranked[-1][1]) if ranked else None)


# Facts of single calls


def tier(name: str, *steps: Any, **options: Any) -> Tier:
    return Tier(name, call=Scripted(*steps), price=PRICE, **options)


def good(answer: Answer[Any], context: Context) -> bool:
    return answer.text == "good"


def climbs(*tiers: Tier, validators: Sequence[Judges] = (good,), **options: Any) -> Cascade:
    return Cascade(tiers=tiers, validators=validators, **options)


@pytest.mark.anyio
async def test_a_result_tells_the_whole_story() -> None:
    ticks = iter(range(100))
    made = climbs(
        tier("a", "bad"),
        tier("b", Answer("good", usage=ONE)),
        name="c",
        paths={"p": Path()},
        clock=lambda: next(ticks),
    )
    result = await made.run("?", path="p")
    assert (result.value, result.accepted, result.tier, result.reason) == (
        "good",
        True,
        "b",
        "accepted",
    )
    assert (result.path, result.cascade) == ("p", "c")
    # Each look at the clock is a second: the start; and of each attempt its start, its answer, the
    # start and end of its one verdict, its end.
    assert [(a.call_s, a.latency_s) for a in result.attempts] == [(1, 4), (1, 4)]
    assert [a.started_s for a in result.attempts] == [1, 6]
    assert [v.latency_s for a in result.attempts for v in a.verdicts] == [1, 1]
    assert result.latency_s == 11
    assert result.answer is result.attempts[1].answer


@pytest.mark.anyio
async def test_the_parsed_object_is_the_accepted_value() -> None:
    def parses(answer: Answer[Any], context: Context) -> Verdict:
        return Verdict.passed(value={"n": int(str(answer.text))})

    result = await climbs(tier("a", "7"), validators=[parses]).run("?")
    assert result.value == {"n": 7}
    assert result.answer is not None
    assert result.answer.value == "7"


@pytest.mark.anyio
async def test_a_parsed_none_is_a_value() -> None:
    def parses(answer: Answer[Any], context: Context) -> Verdict:
        return Verdict.passed(value=None)

    assert (await climbs(tier("a", "null"), validators=[parses]).run("?")).value is None


@pytest.mark.anyio
async def test_all_free_validators_run_and_paid_ones_only_after_them() -> None:
    ran: list[str] = []

    def spy(name: str, says: bool, cost: Any = "free") -> Check:
        def judges(answer: Answer[Any], context: Context) -> bool:
            ran.append(name)
            return says

        return Check(name, judges, cost=cost)

    paid = spy("paid", True, "paid")
    await climbs(
        tier("a", "x"), validators=[paid, spy("1", False), spy("2", True)], on_exhausted="best"
    ).run("?")
    assert ran == ["1", "2"]  # the second tells the next tier what else is wrong
    ran.clear()
    result = await climbs(tier("a", "x"), validators=[paid, spy("1", True)]).run("?")
    assert ran == ["1", "paid"]
    assert [v.validator for v in result.attempts[0].verdicts] == ["1", "paid"]


@pytest.mark.anyio
async def test_the_transports_own_timeout_is_a_timeout() -> None:
    result = await climbs(tier("a", ProviderTimeoutError("late")), tier("b", "good")).run("?")
    first = result.attempts[0]
    assert (first.outcome, first.reason) == ("timed_out", "ProviderTimeoutError")
    assert isinstance(first.error, ProviderTimeoutError)


@pytest.mark.anyio
async def test_a_tiers_time_covers_its_validators() -> None:
    async def hangs(answer: Answer[Any], context: Context) -> bool:
        await anyio.sleep_forever()
        return True

    slow = Check("hangs", hangs).for_tiers("a")
    made = climbs(tier("a", "good", timeout_s=0.01), tier("b", "good"), validators=[slow])
    first, second = (await made.run("?")).attempts
    assert (first.outcome, first.reason, first.answer) == (
        "timed_out",
        "tier_timeout",
        Answer("good"),
    )
    assert first.call_s is not None
    assert second.outcome == "accepted"


@pytest.mark.anyio
async def test_a_mistake_in_the_program_is_no_tier_that_broke() -> None:
    with pytest.raises(ConfigError, match="tier 'a' has no model to chat with"):
        await climbs(Tier("a"), tier("b", "good")).run("?")


@pytest.mark.anyio
async def test_a_group_of_errors_is_one_attempt_that_failed() -> None:
    broken = ExceptionGroup("two", [ValueError(), KeyError()])
    result = await climbs(tier("a", broken), tier("b", "good")).run("?")
    assert result.attempts[0].reason == "ExceptionGroup"


def told(script: Scripted) -> list[list[str]]:
    """What was said after the question, for each request."""
    return [[m["content"] for m in request.messages[1:]] for request in script.requests]


def wants(answer: Answer[Any], context: Context) -> Verdict:
    text = str(answer.text)
    return Verdict.passed() if text == "good" else Verdict.failed(feedback=f"not {text}")


@pytest.mark.anyio
async def test_feedback_goes_up_the_ladder_past_a_tier_that_broke() -> None:
    scripts = [Scripted("one"), Scripted(ProviderError("x")), Scripted("three"), Scripted("good")]
    tiers = [Tier(str(place), call=script) for place, script in enumerate(scripts)]
    assert (await climbs(*tiers, validators=[wants], feedback=True).run("?")).accepted
    assert told(scripts[0]) == [[]]
    for script, said in ((scripts[1], "one"), (scripts[2], "one"), (scripts[3], "three")):
        ((answer, complaint),) = told(script)
        assert answer == said
        assert f"not {said}" in complaint


@pytest.mark.anyio
async def test_reasks_end_with_the_tier_unless_feedback_goes_on() -> None:
    for feedback in (False, True):
        small, large = Scripted("one", "two", "never"), Scripted("good")
        made = climbs(
            Tier("s", call=small),
            Tier("l", call=large),
            validators=[wants],
            reasks=1,
            feedback=feedback,
        )
        result = await made.run("?")
        assert [(a.tier, a.ask) for a in result.attempts] == [("s", 0), ("s", 1), ("l", 0)]
        assert result.escalations == 1
        assert [said[:1] for said in told(small)] == [[], ["one"]]
        assert [said[:1] for said in told(large)] == [["two"] if feedback else []]


@pytest.mark.anyio
async def test_without_feedback_every_tier_is_asked_the_same() -> None:
    scripts = [Scripted("bad"), Scripted("good")]
    await climbs(*(Tier(str(p), call=s) for p, s in enumerate(scripts))).run("?")
    assert told(scripts[1]) == [[]]


@pytest.mark.anyio
async def test_calls_of_one_cascade_run_beside_each_other() -> None:
    """State belongs to the call: two that interleave do not see each other's attempts."""
    both_in = [anyio.Event(), anyio.Event()]

    @climbs(Tier("a"), Tier("b"))
    async def ask(tier: Tier, place: int) -> str:
        both_in[place].set()
        await both_in[1 - place].wait()
        return "good" if (tier.name == "b") == bool(place) else "bad"

    results: dict[int, Result[str]] = {}

    async def run(place: int) -> None:
        results[place] = await ask.run(place)

    async with anyio.create_task_group() as group:
        group.start_soon(run, 0)
        group.start_soon(run, 1)
    assert [[a.tier for a in results[p].attempts] for p in (0, 1)] == [["a"], ["a", "b"]]


# The error for a result that was not accepted


DID = "a rejected (v:no); b failed (ServerError)"


@pytest.mark.parametrize(
    ("cascade", "path", "reason", "kind", "says"),
    [
        (None, None, "exhausted", CascadeExhausted, "the cascade accepted no answer"),
        (
            "c",
            "p",
            "budget",
            DeadlineExceeded,
            "cascade 'c' on path 'p' accepted no answer within its budget of 0.3 s",
        ),
    ],
)
def test_a_failure_names_what_every_tier_did(
    cascade: Any, path: Any, reason: str, kind: Any, says: str
) -> None:
    broken = ProviderError("down")
    attempts = (
        Attempt("a", outcome="rejected", reason="v:no"),
        Attempt("b", outcome="failed", reason="ServerError", error=broken),
    )
    result: Result[Any] = Result(
        None, False, None, reason, attempts, 0.1, path, cascade, budget_s=0.3
    )
    error = failure(result)
    assert type(error) is kind
    assert str(error) == f"{says}: {DID}"
    assert error.__cause__ is broken
    assert error.result is result
