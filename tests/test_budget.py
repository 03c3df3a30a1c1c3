"""Latencies learnt and forgotten, and what they decide: skipping, stopping, hedging."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from cascade import (
    Answer,
    Cascade,
    ConfigError,
    Context,
    DeadlineExceeded,
    Path,
    Price,
    Tier,
    Usage,
)
from cascade.budget import (
    ENOUGH,
    FITS_AT,
    HALF_LIFE_S,
    PROBE_EVERY_S,
    LatencySketch,
    fits,
    hedge_after_s,
)
from cascade.types import Result

# The sketch.

latencies = st.floats(1e-5, 1e4)


@given(st.lists(latencies, min_size=int(ENOUGH), max_size=200), st.floats(0.01, 1.0))
def test_a_quantile_is_within_five_percent_of_an_observed_one(seen: list[float], q: float) -> None:
    sketch = LatencySketch()
    for latency in seen:
        sketch.observe(latency, 0.0)
    exact = sorted(seen)[math.ceil(q * len(seen) - 1e-9) - 1]
    assert sketch.quantile_s(q, 0.0) == pytest.approx(exact, rel=0.0501)


def test_the_seed_speaks_until_enough_was_seen() -> None:
    sketch = LatencySketch(0.3)
    for _ in range(int(ENOUGH) - 1):
        sketch.observe(9.0, 0.0)
    assert sketch.quantile_s(0.5, 0.0) == 0.3
    sketch.observe(9.0, 0.0)
    assert sketch.quantile_s(0.5, 0.0) == pytest.approx(9.0, rel=0.05)
    assert LatencySketch().quantile_s(0.5, 0.0) is None


def test_yesterday_does_not_rule_today() -> None:
    sketch = LatencySketch()
    for _ in range(1000):
        sketch.observe(9.0, 0.0)
    later = 12 * HALF_LIFE_S
    for _ in range(30):
        sketch.observe(0.1, later)
    assert sketch.quantile_s(0.9, later) == pytest.approx(0.1, rel=0.05)
    assert sketch.seen(later) == pytest.approx(30 + 1000 / 2**12)
    assert sketch.quantile_s(0.9, later + 100 * HALF_LIFE_S) is None  # all forgotten


@given(st.lists(st.tuples(latencies, st.floats(0, 1e9)), max_size=50))
def test_weights_stay_finite_whatever_the_clock_does(seen: list[tuple[float, float]]) -> None:
    sketch = LatencySketch(1.0)
    now = 0.0
    for latency, passed in seen:
        now += passed
        sketch.observe(latency, now)
        quantile = sketch.quantile_s(0.5, now)
        assert quantile is not None
        assert math.isfinite(quantile)
        assert math.isfinite(sketch.seen(now))


def test_a_call_cut_short_tells_only_that_a_tier_is_slow() -> None:
    sketch = LatencySketch()
    for _ in range(40):
        sketch.observe(1.0, 0.0)
    for _ in range(40):
        sketch.observe_at_least(0.01, 0.0)
    assert sketch.quantile_s(0.1, 0.0) == pytest.approx(1.0, rel=0.05)
    for _ in range(60):
        sketch.observe_at_least(5.0, 0.0)
    assert sketch.quantile_s(0.9, 0.0) == pytest.approx(7.5, rel=0.05)  # half as long again


@pytest.mark.parametrize(
    ("expected_s", "time_left_s", "fit"),
    [(1.0, None, True), (None, 0.1, True), (1.0, 1.0, True), (1.1, 1.0, False), (1.0, -1.0, False)],
)
def test_fits(expected_s: float | None, time_left_s: float | None, fit: bool) -> None:
    assert fits(expected_s, time_left_s) is fit


@pytest.mark.parametrize(
    ("hedge", "next_takes_s", "time_left_s", "after_s"),
    [
        ("never", 1.0, 2.0, None),
        ("deadline", 0.5, 2.0, 1.5),
        ("deadline", 3.0, 2.0, 0.0),
        ("deadline", None, 2.0, None),
        ("deadline", 1.0, None, None),
        (0.2, None, None, 0.2),
        (0.2, 1.0, 2.0, 0.2),
    ],
)
def test_hedge_after(
    hedge: Any, next_takes_s: float | None, time_left_s: float | None, after_s: float | None
) -> None:
    assert hedge_after_s(hedge, next_takes_s, time_left_s) == after_s


def learnt(calls: dict[float, int]) -> LatencySketch:
    """A sketch that has seen so many calls of each latency."""
    sketch = LatencySketch()
    for latency_s, times in calls.items():
        for _ in range(times):
            sketch.observe(latency_s, 0.0)
    return sketch


@pytest.mark.parametrize(
    ("calls", "time_left_s", "takes_s"),
    [
        ({0.2: 96, 0.6: 4}, 1.0, 0.2),  # as it is with no more than 5 % of them
        ({0.2: 80, 0.6: 20}, 1.0, 0.6),
        ({0.2: 80, 0.6: 10, 5.0: 10}, 1.0, 0.6),  # what stalls is late in any case
        ({0.2: 80, 0.6: 10, 5.0: 10}, 9.0, 5.0),
        ({0.2: 80, 0.6: 10, 5.0: 10}, 0.5, 0.2),
    ],
)
def test_a_hedge_is_started_for_the_calls_that_can_be_in_time(
    calls: dict[float, int], time_left_s: float, takes_s: float
) -> None:
    takes = learnt(calls).hedge_takes_s(time_left_s, 0.0)
    assert takes == pytest.approx(takes_s * 1.1, rel=0.05)  # started somewhat early


def test_a_hedge_goes_by_the_seed_until_enough_was_seen() -> None:
    assert LatencySketch().hedge_takes_s(1.0, 0.0) is None
    assert LatencySketch(0.4).hedge_takes_s(1.0, 0.0) == 0.4


# The engine, on trio's clock, which jumps from event to event.

FREE = Price.free()


def taking(seconds: float, text: str = "good") -> Callable[..., Awaitable[Any]]:
    async def call(request: Any) -> Answer[str]:
        await trio.sleep(seconds)
        return Answer(text, usage=Usage(1, 1))

    return call


def is_good(answer: Answer[Any], context: Context) -> bool:
    return answer.text == "good"


def ladder(*tiers: tuple[float, str], seeds: tuple[float | None, ...] = ()) -> list[Tier]:
    names = "abc"
    return [
        Tier(
            names[i],
            call=taking(seconds, text),
            price=FREE,
            latency_s=seeds[i] if seeds else seconds,
        )
        for i, (seconds, text) in enumerate(tiers)
    ]


def run(path: Path, tiers: list[Tier], **options: Any) -> tuple[Result[Any], float]:
    """The result of one call, and the virtual seconds it took."""

    async def call() -> tuple[Result[Any], float]:
        cascade = Cascade(
            tiers=tiers,
            validators=[is_good],
            paths={"p": path},
            on_exhausted="best",
            clock=trio.current_time,
        )
        started = trio.current_time()
        result = await cascade.run("?", path="p", **options)
        return result, trio.current_time() - started

    return trio.run(call, clock=trio.testing.MockClock(autojump_threshold=0))


def story(result: Result[Any]) -> list[tuple[str, str, str]]:
    return [(a.tier, a.outcome, a.reason) for a in result.attempts]


def test_a_rung_that_cannot_finish_is_skipped_while_a_later_one_can() -> None:
    result, took = run(Path(budget_s=1.0), ladder((5.0, "good"), (0.5, "good")))
    assert story(result) == [("a", "skipped", "budget"), ("b", "accepted", "")]
    assert took == 0.5


def test_escalation_stops_when_nothing_further_fits() -> None:
    result, took = run(Path(budget_s=1.0), ladder((0.4, "bad"), (0.9, "good")))
    assert story(result) == [("a", "rejected", "is_good:failed"), ("b", "skipped", "budget")]
    assert (result.reason, result.value, took) == ("budget", "bad", 0.4)


def test_escalation_leaps_over_a_rung_that_does_not_fit() -> None:
    result, took = run(Path(budget_s=1.0), ladder((0.4, "bad"), (0.9, "good"), (0.5, "good")))
    assert [s[1] for s in story(result)] == ["rejected", "skipped", "accepted"]
    assert took == pytest.approx(0.9)


def test_when_no_ladder_fits_the_quickest_tier_is_asked_alone() -> None:
    tiers = ladder((0.6, "good"), (0.3, "good"), seeds=(5.0, 1.9))
    result, took = run(Path(budget_s=1.0), tiers)
    assert story(result) == [("b", "accepted", "")]
    assert took == pytest.approx(0.3)


def test_a_tier_that_stalls_now_and_then_is_no_reason_to_hedge_at_once() -> None:
    cascade = Cascade(
        tiers=ladder((0.3, "good"), (0.5, "good")),
        validators=[is_good],
        paths={"p": Path(budget_s=1.0, hedge="deadline")},
        clock=trio.current_time,
    )
    for latency_s in [0.4] * 90 + [5.0] * 10:
        cascade.plan("p").rungs[1].latency.observe(latency_s, 0.0)

    async def call() -> Result[Any]:
        return await cascade.run("?", path="p")

    result = trio.run(call, clock=trio.testing.MockClock(autojump_threshold=0))
    assert story(result) == [("a", "accepted", "")]


def test_when_no_ladder_fits_the_paths_fast_tier_goes_before_the_quickest() -> None:
    tiers = ladder((0.6, "good"), (0.3, "good"), seeds=(5.0, 3.0))
    result, _ = run(Path(budget_s=1.0, fast="a"), tiers)
    assert result.tier == "a"


def test_what_is_hopeless_is_not_asked() -> None:
    tiers = ladder((6.0, "good"), (2.5, "good"), seeds=(5.0, 2.1))
    result, took = run(Path(budget_s=1.0), tiers)
    assert story(result) == [("a", "skipped", "budget"), ("b", "skipped", "budget")]
    assert (result.reason, took) == ("budget", 0.0)
    assert result.cost_usd == 0


def test_what_was_seen_to_be_hopeless_is_not_asked_either() -> None:
    async def calls() -> list[float]:
        cascade = Cascade(
            tiers=[Tier("a", call=taking(0.8), price=FREE)],
            paths={"p": Path(budget_s=0.5, on_exhausted="best")},
            clock=trio.current_time,
        )
        return [(await cascade.run("?", path="p")).latency_s for _ in range(40)]

    took = trio.run(calls, clock=trio.testing.MockClock(autojump_threshold=0))
    assert took[: int(ENOUGH)] == pytest.approx([0.5] * int(ENOUGH))
    # Now and then one more is asked, as what was seen fades.
    assert took[int(ENOUGH) :].count(0.0) >= 18


def test_a_tier_quicker_than_was_thought_is_found_by_probes_in_a_row() -> None:
    async def calls() -> list[tuple[float, str | None]]:
        cascade = Cascade(
            tiers=[Tier("a", call=taking(0.1), price=FREE, latency_s=9.0)],
            paths={"p": Path(budget_s=0.5, on_exhausted="best")},
            clock=trio.current_time,
        )
        answered: list[tuple[float, str | None]] = []
        while trio.current_time() < 2 * PROBE_EVERY_S:
            answered.append((trio.current_time(), (await cascade.run("?", path="p")).tier))
            await trio.sleep(1.0)
        return answered

    answered = trio.run(calls, clock=trio.testing.MockClock(autojump_threshold=0))
    first = next(at for at, tier in answered if tier == "a")
    assert first <= PROBE_EVERY_S + 1.0
    # One after the other, and from the twentieth on it is known to fit.
    assert all(tier == "a" for at, tier in answered if at >= first)


@pytest.mark.parametrize("quickest_s", [0.9, 1.1])
def test_one_in_twenty_is_a_chance(quickest_s: float) -> None:
    sketch = LatencySketch(0.1)
    for i in range(100):
        sketch.observe(quickest_s if i < 6 else 3.0, 0.0)
    assert sketch.has_a_chance(1.0, 0.0) is (quickest_s < 1)


def test_nobody_knows_of_a_tier_that_was_never_seen() -> None:
    assert LatencySketch().has_a_chance(0.001, 0.0)
    assert LatencySketch(0.2).has_a_chance(0.1, 0.0)
    assert not LatencySketch(0.2).has_a_chance(0.09, 0.0)


def test_every_twentieth_hopeless_call_is_sent_all_the_same() -> None:
    sketch = LatencySketch(0.2)
    assert [i for i in range(60) if sketch.has_a_chance(0.01, 0.0)] == [19, 39, 59]


def test_a_bad_spell_is_over_when_a_few_probes_came_back() -> None:
    sketch = LatencySketch(0.1)
    for _ in range(100):
        sketch.observe(3.0, 0.0)
    sent = 0
    for _ in range(200):
        if sketch.may_probe(0.0) or sketch.has_a_chance(0.2, 0.0):
            sketch.observe(0.1, 0.0)
            sent += 1
    assert sent > 100
    assert sketch.has_a_chance(0.2, 0.0)


def rounds_to_recover(at_once: int) -> int:
    """After a thousand calls in a bad spell: how often so many at once ask until it fits again."""
    sketch = LatencySketch(0.1)
    for _ in range(1000):
        sketch.observe_at_least(2.0, 0.0)
    for number in range(2000):
        now_s = PROBE_EVERY_S + number * 0.1
        if fits(sketch.quantile_s(FITS_AT, now_s), 1.0):
            return number
        sent = sum(sketch.may_probe(now_s) for _ in range(at_once))
        for _ in range(sent):
            sketch.observe(0.1, now_s + 0.1)
    return 2000


def test_a_long_bad_spell_is_over_within_seconds() -> None:
    # 1, 2, 4 ... probes in each tenth of a second, up to what is asked, and so a thousand soon.
    assert rounds_to_recover(100) < 25


def test_a_probe_that_is_cut_short_ends_the_probing() -> None:
    sketch = LatencySketch(0.1)
    for _ in range(1000):
        sketch.observe_at_least(2.0, 0.0)
    now_s = PROBE_EVERY_S
    assert [sketch.may_probe(now_s) for _ in range(3)] == [True, False, False]
    sketch.observe(0.1, now_s)
    assert [sketch.may_probe(now_s) for _ in range(3)] == [True, True, False]
    sketch.observe(0.1, now_s)
    sketch.observe_at_least(1.0, now_s)  # less than the median is now: still it came to nothing
    assert not any(sketch.may_probe(now_s + 1) for _ in range(3))
    assert sketch.may_probe(now_s + 1 + PROBE_EVERY_S)


def test_probing_ends_after_a_while() -> None:
    sketch = LatencySketch(9.0)
    assert not sketch.may_probe(0.0)
    assert sketch.may_probe(PROBE_EVERY_S)
    sketch.observe(0.1, PROBE_EVERY_S)
    sketch.observe(0.1, 2 * PROBE_EVERY_S)
    assert not sketch.may_probe(2 * PROBE_EVERY_S + 1)


def test_a_tier_that_got_slow_is_learnt_and_skipped() -> None:
    async def calls() -> list[str | None]:
        cascade = Cascade(
            tiers=ladder((0.8, "good"), (0.1, "good"), seeds=(None, None)),
            validators=[is_good],
            paths={"p": Path(budget_s=0.5, on_exhausted="best")},
            clock=trio.current_time,
        )
        return [(await cascade.run("?", path="p")).tier for _ in range(40)]

    answered = trio.run(calls, clock=trio.testing.MockClock(autojump_threshold=0))
    assert answered[0] is None  # it was not known, and the deadline struck
    assert answered[-1] == "b"


def test_a_tier_that_was_skipped_is_tried_again_after_a_while() -> None:
    async def calls() -> list[str | None]:
        slow = [True]

        async def recovers(request: Any) -> Answer[str]:
            await trio.sleep(0.8 if slow[0] else 0.1)
            return Answer("good", usage=Usage(1, 1))

        cascade = Cascade(
            tiers=[Tier("a", call=recovers, price=FREE), Tier("b", call=taking(0.1), price=FREE)],
            validators=[is_good],
            paths={"p": Path(budget_s=0.5, on_exhausted="best")},
            clock=trio.current_time,
        )
        for _ in range(30):
            await cascade.run("?", path="p")
        slow[0] = False
        answered = [(await cascade.run("?", path="p")).tier]
        for _ in range(40):
            await trio.sleep(PROBE_EVERY_S)
            answered.append((await cascade.run("?", path="p")).tier)
        return answered

    answered = trio.run(calls, clock=trio.testing.MockClock(autojump_threshold=0))
    assert answered[:2] == ["b", "a"]  # skipped, then tried again
    assert answered[-1] == "a"


def test_a_caller_may_shorten_the_budget_but_not_lengthen_it() -> None:
    tiers = ladder((5.0, "good"), seeds=(None,))
    for given_s, took_s in ((0.2, 0.2), (9.0, 1.0)):
        result, took = run(Path(budget_s=1.0), tiers, budget_s=given_s)
        assert (result.reason, result.budget_s) == ("budget", took_s)
        assert took == pytest.approx(took_s)
    result, took = run(Path(), tiers, budget_s=0.3)
    assert took == pytest.approx(0.3)


def test_a_function_within_a_shorter_budget() -> None:
    async def calls() -> list[float]:
        @Cascade(tiers=[Tier("a")], paths={"p": Path(budget_s=1.0)}, clock=trio.current_time)
        async def slow(tier: Tier) -> str:
            await trio.sleep(1000)
            return ""

        took: list[float] = []
        for call in (
            slow.within(0.2),
            slow.on("p"),
            slow.on("p").within(0.5),
            slow.within(3).on("p"),
        ):
            started = trio.current_time()
            with pytest.raises(DeadlineExceeded):
                await call()
            took.append(trio.current_time() - started)
        assert slow.within(0.5) == slow.within(0.5)
        assert slow.within(0.5) != slow
        with pytest.raises(ConfigError, match="within=0 is not a time"):
            slow.within(0)
        return took

    took = trio.run(calls, clock=trio.testing.MockClock(autojump_threshold=0))
    assert took == pytest.approx([0.2, 1.0, 0.5, 1.0])


# Hedging.


def test_a_hedge_starts_as_late_as_it_can_still_make_it() -> None:
    tiers = ladder((3.0, "bad"), (0.4, "good"), seeds=(0.8, 0.5))
    result, took = run(Path(budget_s=2.0, hedge="deadline"), tiers)
    assert story(result) == [("a", "skipped", "hedge"), ("b", "accepted", "")]
    assert took == pytest.approx(1.9)  # started at 1.5, half a second before the deadline


def test_the_cheap_answer_is_kept_when_it_validates_first() -> None:
    tiers = ladder((1.0, "good"), (5.0, "good"))
    result, took = run(Path(hedge=0.5), tiers)
    assert story(result) == [("a", "accepted", ""), ("b", "skipped", "hedge")]
    assert took == pytest.approx(1.0)
    assert [len(a.charges) for a in result.attempts] == [1, 1]  # the called-off one is billed too


def test_a_cheap_answer_in_time_is_never_hedged() -> None:
    result, _ = run(Path(hedge=0.5), ladder((0.4, "good"), (5.0, "good")))
    assert story(result) == [("a", "accepted", "")]


def test_after_a_rejection_the_hedge_in_flight_is_the_escalation() -> None:
    result, took = run(Path(hedge=0.5), ladder((1.0, "bad"), (1.0, "good")))
    assert story(result) == [("a", "rejected", "is_good:failed"), ("b", "accepted", "")]
    assert took == pytest.approx(1.5)


def test_a_rejection_before_the_hedge_escalates_at_once() -> None:
    result, took = run(Path(hedge=5.0), ladder((1.0, "bad"), (1.0, "good")))
    assert result.tier == "b"
    assert took == pytest.approx(2.0)


def test_all_rungs_in_flight_and_all_rejected() -> None:
    tiers = ladder((3.0, "bad"), (3.0, "bad"), (3.0, "bad"))
    result, took = run(Path(hedge=0.5), tiers)
    assert (result.accepted, result.reason) == (False, "exhausted")
    assert [a.outcome for a in result.attempts] == ["rejected"] * 3
    assert took == pytest.approx(4.0)


def test_the_deadline_ends_every_hedge() -> None:
    tiers = ladder((30.0, "good"), (30.0, "good"), seeds=(None, None))
    result, took = run(Path(budget_s=1.0, hedge=0.1), tiers)
    assert [a.outcome for a in result.attempts] == ["timed_out", "timed_out"]
    assert result.reason == "budget"
    assert took == pytest.approx(1.0)


def test_a_mistake_of_the_program_ends_a_race_as_itself() -> None:
    async def call(request: Any) -> Any:
        raise ConfigError("mine")

    tiers = [Tier("a", call=taking(5.0)), Tier("b", call=call)]
    with pytest.raises(ConfigError, match="mine"):
        run(Path(hedge=0.1), tiers)


@given(
    takes=st.lists(
        st.tuples(st.floats(0.01, 3.0), st.sampled_from(["good", "bad"])), min_size=2, max_size=3
    ),
    hedge=st.one_of(st.just("deadline"), st.floats(0.01, 2.0)),
    budget_s=st.floats(0.1, 4.0),
)
def test_hedging_never_outlives_the_budget_nor_loses_an_answer(
    takes: list[tuple[float, str]], hedge: Any, budget_s: float
) -> None:
    """It accepts whatever the plain ladder accepts in time, and never later than the budget."""
    seeds = (None,) * len(takes)
    plain, _ = run(Path(budget_s=budget_s), ladder(*takes, seeds=seeds))
    hedged, took = run(Path(budget_s=budget_s, hedge=hedge), ladder(*takes, seeds=seeds))
    assert took <= budget_s + 1e-9
    assert hedged.accepted or not plain.accepted
    assert len({a.tier for a in hedged.attempts}) == len(hedged.attempts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hedge": "sometimes"}, "hedge='sometimes'; write"),
        ({"hedge": 0}, "hedge=0 is not a time"),
        ({"hedge": "deadline"}, "needs a deadline; give the path a budget_s"),
        ({"hedge": 0.5, "direct": "a"}, "hedge has no effect on a direct path"),
        ({"fast": "a"}, "fast='a', which has no effect without budget_s"),
        ({"fast": "z", "budget_s": 1}, "fast='z' is not on its ladder"),
    ],
)
def test_options_that_cannot_work_say_so(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Cascade(tiers=[Tier("a"), Tier("b")], paths={"p": Path(**options)})
