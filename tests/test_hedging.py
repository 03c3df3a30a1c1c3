"""Races of rungs: whoever ends when, one attempt at most reads accepted, and the bill is whole.

All in virtual time, on both event loops, so that things can be made to happen at one instant.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

import anyio
import pytest
import trio.testing
from hypothesis import example, given
from hypothesis import strategies as st

from cascade import Answer, Cap, Cascade, Path, Price, Request, Spend, Tier, Usage
from cascade.attempt import Run
from cascade.decision import ACCEPT, Decision
from cascade.errors import ConfigError, DeadlineExceeded, ServerError
from cascade.hedging import _Race
from cascade.metering import Handover, send
from cascade.types import Result, add_exactly

T = TypeVar("T")
LOOPS = ["asyncio", "trio"]


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that does not wait for its timers: its clock jumps to the next of them.

    Args:
        late_s: how much too far it jumps, as real timers strike late.
    """

    def __init__(self, late_s: float = 0.0) -> None:
        super().__init__(_Jumps(self))
        self.now_s = 0.0
        self.late_s = late_s

    def time(self) -> float:
        return self.now_s


class _Jumps(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "nothing is left that could ever wake the loop"
        self._loop.now_s += timeout + self._loop.late_s if timeout > 0 else 0.0
        return super().select(0)


def in_virtual_time(loop: str, main: Callable[[], Awaitable[T]]) -> T:
    """What `main` returns, with clocks that jump over every wait."""
    if loop == "trio":
        return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return anyio.run(main, backend_options={"loop_factory": VirtualLoop})


class Script(NamedTuple):
    """How a tier behaves: what it says after how long, and how long it takes to be called off.

    `expected_s` is what the cascade is told to reckon with.
    """

    takes_s: float
    says: str = "good"
    cleanup_s: float = 0.0
    expected_s: float | None = None


def scripted(script: Script) -> Callable[[Any], Awaitable[Any]]:
    async def call(request: Any) -> Any:
        try:
            await anyio.sleep(script.takes_s)
        finally:
            if script.cleanup_s:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(script.cleanup_s)
        if script.says == "broken":
            raise ServerError("broken", status=500)
        if script.says == "mistake":
            raise ConfigError("mine")
        return Answer(script.says, usage=Usage(10, 1))

    return call


def is_good(answer: Answer[Any], context: Any) -> bool:
    return answer.text == "good"


def hedged(scripts: Sequence[Script], path: Path, **options: Any) -> Cascade:
    tiers = [
        Tier(
            f"t{n}",
            call=scripted(script),
            price=Price(input=n + 1, output=n + 1),
            latency_s=script.expected_s,
            retries=0,
        )
        for n, script in enumerate(scripts)
    ]
    return Cascade(
        tiers=tiers,
        validators=[is_good],
        paths={"p": path},
        on_exhausted="best",
        clock=anyio.current_time,
        **options,
    )


def race(
    loop: str, scripts: Sequence[Script], path: Path, **options: Any
) -> tuple[Result[Any], float]:
    """The result of one call, and the seconds it took."""

    async def main() -> tuple[Result[Any], float]:
        cascade = hedged(scripts, path, **options)
        started = anyio.current_time()
        result = await cascade.run("a question", path="p")
        return result, anyio.current_time() - started

    return in_virtual_time(loop, main)


def story(result: Result[Any]) -> list[tuple[str, str, str]]:
    return [(a.tier, a.outcome, a.reason) for a in result.attempts]


@pytest.mark.parametrize("loop", LOOPS)
def test_of_two_accepted_at_one_instant_the_cheaper_counts(loop: str) -> None:
    result, took_s = race(loop, [Script(1.0), Script(0.5)], Path(hedge=0.5))
    assert story(result) == [("t0", "accepted", ""), ("t1", "skipped", "hedge")]
    assert (result.tier, took_s) == ("t0", 1.0)
    assert result.attempts[1].answer is not None  # it did answer, and is on the bill
    assert result.cost_usd == Decimal("0.000033")  # 11 tokens at 1, and 11 at 2 USD per million


@pytest.mark.parametrize("loop", LOOPS)
def test_one_that_is_accepted_while_it_is_called_off_does_not_count_twice(loop: str) -> None:
    async def stubborn(request: Any) -> Any:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(2.0)
        return Answer("good", usage=Usage(10, 1))

    async def main() -> Result[Any]:
        cascade = Cascade(
            tiers=[Tier("slow", call=scripted(Script(9.0))), Tier("x", call=stubborn),
                   Tier("quick", call=scripted(Script(0.5)))],
            validators=[is_good],
            paths={"p": Path(hedge=0.25)},
            clock=anyio.current_time,
        )  # fmt: skip
        return await cascade.run("a question", path="p")

    result = in_virtual_time(loop, main)
    assert [a.outcome for a in result.attempts].count("accepted") == 1
    assert result.attempts[0].outcome == "skipped"
    assert result.tier == next(a.tier for a in result.attempts if a.outcome == "accepted")


@pytest.mark.parametrize("loop", LOOPS)
def test_an_acceptance_that_the_deadline_overtakes_is_none(loop: str) -> None:
    """Accepted at 0.9 s, but the other rung takes until 1.9 s to be called off."""
    scripts = [Script(5.0, cleanup_s=1.0), Script(0.4)]
    result, _ = race(loop, scripts, Path(budget_s=1.0, hedge=0.5))
    assert (result.accepted, result.reason) == (False, "budget")
    assert story(result) == [("t0", "timed_out", "budget"), ("t1", "timed_out", "budget")]
    assert result.value == "good"  # the best there is, marked as not accepted


@pytest.mark.parametrize("late_s", [1e-6, 1e-3, 0.1])
def test_a_hedge_whose_timer_strikes_late_is_started_all_the_same(late_s: float) -> None:
    """Its latency is what it was said to be, so that at the stroke it fits no more."""
    scripts = [Script(9.0), Script(0.2, expected_s=0.5), Script(0.1, expected_s=0.1)]

    async def main() -> Result[Any]:
        return await hedged(scripts, Path(budget_s=1.0, hedge="deadline")).run("?", path="p")

    options = {"loop_factory": lambda: VirtualLoop(late_s)}
    result = anyio.run(main, backend_options=options)
    assert story(result) == [("t0", "skipped", "hedge"), ("t1", "accepted", "")]
    assert result.attempts[1].started_s == pytest.approx(0.5 + late_s)


def test_a_hedge_whose_timer_strikes_much_too_late_is_not_started() -> None:
    scripts = [Script(9.0), Script(0.2, expected_s=0.5), Script(0.1, expected_s=0.1)]

    async def main() -> Result[Any]:
        return await hedged(scripts, Path(budget_s=1.0, hedge="deadline")).run("?", path="p")

    result = anyio.run(main, backend_options={"loop_factory": lambda: VirtualLoop(0.3)})
    assert story(result)[1] == ("t1", "skipped", "budget")
    assert result.attempts[2].started_s == pytest.approx(0.8)  # which still fits


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("hedge", ["never", 0.5])
def test_a_refusal_for_money_is_told_though_another_rung_ends_later(loop: str, hedge: Any) -> None:
    spend = Spend(caps=[Cap("0.01", per="day")])
    scripts = [Script(1.0, says="bad"), Script(0.1)]
    cascade = hedged(scripts, Path(hedge=hedge), spend=spend)
    request = Request("a question", max_tokens=4_000)  # $0.008 on the second rung with its input

    async def main() -> Result[Any]:
        await spend.reserve(Decimal("0.005"))
        return await cascade.run(request, path="p")

    result = in_virtual_time(loop, main)
    assert (result.accepted, result.reason) == (False, "spend")
    assert story(result) == [("t0", "rejected", "is_good:failed"), ("t1", "skipped", "spend")]


@pytest.mark.parametrize("loop", LOOPS)
def test_an_acceptance_in_time_is_returned_though_calling_off_takes_a_while(loop: str) -> None:
    scripts = [Script(5.0, cleanup_s=0.05), Script(0.4)]
    result, took_s = race(loop, scripts, Path(budget_s=1.0, hedge=0.5))
    assert story(result) == [("t0", "skipped", "hedge"), ("t1", "accepted", "")]
    assert took_s == pytest.approx(0.95)


@pytest.mark.parametrize("loop", LOOPS)
def test_the_error_names_no_accepted_attempt(loop: str) -> None:
    async def main() -> None:
        scripts = [Script(5.0, cleanup_s=1.0), Script(0.4)]
        tiers = hedged(scripts, Path()).tiers
        path = Path(budget_s=1.0, hedge=0.5)
        cascade = Cascade(tiers=tiers, paths={"p": path}, clock=anyio.current_time)
        with pytest.raises(DeadlineExceeded, match="t1 timed_out"):
            await cascade.run("a question", path="p")

    in_virtual_time(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_mistake_of_a_rung_that_was_called_off_is_not_the_calls(loop: str) -> None:
    """The mistake shows when the answer of the other rung is accepted already."""

    async def mistaken(request: Any) -> Any:
        try:
            await anyio.sleep(5.0)
        finally:
            raise ConfigError("mine")

    async def main() -> Result[Any]:
        cascade = Cascade(
            tiers=[Tier("a", call=mistaken), Tier("b", call=scripted(Script(0.5)))],
            paths={"p": Path(hedge=0.1)},
            clock=anyio.current_time,
        )
        return await cascade.run("a question", path="p")

    result = in_virtual_time(loop, main)
    assert (result.accepted, result.tier) == (True, "b")


@pytest.mark.parametrize("loop", LOOPS)
def test_a_call_that_is_cancelled_after_an_acceptance_is_recorded_without_one(loop: str) -> None:
    class Kept:
        def __init__(self) -> None:
            self.results: list[Result[Any]] = []

        def record(self, result: Result[Any]) -> None:
            self.results.append(result)

    kept = Kept()

    async def main() -> None:
        scripts = [Script(5.0, cleanup_s=1.0), Script(0.4)]
        cascade = hedged(scripts, Path(hedge=0.5), observers=[kept])
        with anyio.move_on_after(1.5):  # accepted at 0.9 s, over at 1.9 s
            await cascade.run("a question", path="p")

    in_virtual_time(loop, main)
    (result,) = kept.results
    assert (result.accepted, result.reason) == (False, "cancelled")
    assert "accepted" not in [attempt.outcome for attempt in result.attempts]


# Instants that coincide are the interesting ones, so that times are drawn from a few.
TIMES = st.sampled_from([0.1, 0.2, 0.25, 0.5, 0.75, 1.0, 1.5, 3.0])
SCRIPTS = st.builds(
    Script,
    takes_s=TIMES,
    says=st.sampled_from(["good", "good", "bad", "broken", "mistake"]),
    cleanup_s=st.sampled_from([0.0, 0.0, 0.1, 0.5]),
    expected_s=st.one_of(st.none(), TIMES),
)


@pytest.mark.parametrize("loop", LOOPS)
@example(scripts=[Script(1.0), Script(0.5)], hedge=0.5, budget_s=3.0, reasks=0)
@example(scripts=[Script(3.0, cleanup_s=0.5), Script(0.25)], hedge=0.5, budget_s=1.0, reasks=0)
@given(
    scripts=st.lists(SCRIPTS, min_size=2, max_size=4),
    hedge=st.one_of(st.just("deadline"), TIMES),
    budget_s=TIMES,
    reasks=st.integers(0, 1),
)
def test_the_law_of_races(
    loop: str, scripts: list[Script], hedge: Any, budget_s: float, reasks: int
) -> None:
    """One accepted attempt exactly when the result is, all of it billed, and no later than due."""
    path = Path(budget_s=budget_s, hedge=hedge)
    try:
        result, took_s = race(loop, scripts, path, reasks=reasks)
    except ConfigError:
        assert "mistake" in [script.says for script in scripts]
        return
    accepted = [attempt for attempt in result.attempts if attempt.outcome == "accepted"]
    assert [attempt.tier for attempt in accepted] == ([result.tier] if result.accepted else [])
    assert result.accepted == (result.reason == "accepted")
    charges = [charge for attempt in result.attempts for charge in attempt.charges]
    assert result.cost_usd == add_exactly(charge.cost_usd for charge in charges)
    assert len(charges) == sum(a.outcome != "skipped" or a.reason == "hedge"
                               for a in result.attempts)  # fmt: skip
    cleanup_s = max(script.cleanup_s for script in scripts)  # shielded: nothing can hurry it
    assert took_s <= budget_s + cleanup_s + 1e-9
    if result.accepted:
        assert took_s < budget_s


@pytest.mark.anyio
async def test_a_rung_that_starts_when_the_race_is_over_asks_nobody() -> None:
    """It may have been started in the very moment in which another was accepted."""
    asked: list[int] = []

    async def ask(
        run: Run, place: int, handover: Handover | None
    ) -> tuple[Decision, Handover | None]:
        asked.append(place)
        return ACCEPT, None

    plan = Cascade(tiers=[Tier("small"), Tier("large")]).plan()
    racing = _Race(Run(plan, send, (), {}), ask)
    racing.in_flight = 2
    await racing.ask(0)
    assert racing.is_over
    await racing.ask(1)
    assert (asked, racing.in_flight) == ([0], 0)
