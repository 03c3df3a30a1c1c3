from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade import ConfigError, Limits, LoadShedError, Usage
from cascade.limits import Gate
from cascade.types import NO_USAGE

T = TypeVar("T")


def on_a_clock_that_jumps(main: Callable[[], Awaitable[T]]) -> T:
    result: T = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return result


def gate(**options: Any) -> Gate:
    return Gate("t", Limits(**options))


async def hold(of: Gate, took_s: float = 0.0, tokens: int = 0, usage: Usage | None = None) -> float:
    """Be admitted, take a while, and leave; the time of the admission."""
    ticket = await of.admit(math.inf, tokens)
    at = anyio.current_time()
    try:
        await anyio.sleep(took_s)
    except BaseException:
        ticket.close(None)
        raise
    ticket.close(usage)
    return at


def admissions(of: Gate, count: int, **options: Any) -> list[float]:
    """When each of `count` requests was admitted that came at once, in order of arrival."""

    async def main() -> list[float]:
        started, at = anyio.current_time(), [math.nan] * count

        async def one(number: int) -> None:
            at[number] = await hold(of, **options) - started

        async with anyio.create_task_group() as tasks:
            for number in range(count):
                tasks.start_soon(one, number)
                await trio.testing.wait_all_tasks_blocked()
        return at

    return on_a_clock_that_jumps(main)


def test_no_more_are_under_way_at_once_than_allowed() -> None:
    at = admissions(gate(concurrency=2), 6, took_s=1.0)
    assert at == pytest.approx([0, 0, 1, 1, 2, 2])


def test_a_minutes_worth_of_requests_may_go_at_once_and_then_they_come_steadily() -> None:
    at = admissions(gate(requests_per_min=3), 6)
    assert at == pytest.approx([0, 0, 0, 20, 40, 60])


def test_tokens_are_taken_before_and_corrected_after() -> None:
    unknown = admissions(gate(tokens_per_min=60), 3, tokens=40)
    assert unknown == pytest.approx([0, 20, 60])
    less = admissions(gate(tokens_per_min=60), 3, tokens=40, usage=Usage(5, 5))
    assert less == pytest.approx([0, 0, 0])
    more = admissions(gate(tokens_per_min=60), 2, tokens=40, usage=Usage(60, 60))
    assert more == pytest.approx([0, 100])


def test_a_request_larger_than_a_minutes_worth_goes_alone() -> None:
    at = admissions(gate(tokens_per_min=60), 2, tokens=1000)
    assert at == pytest.approx([0, 60])


def test_the_queue_is_first_come_first_served() -> None:
    at = admissions(gate(concurrency=1, requests_per_min=4), 12, took_s=0.1)
    assert at == sorted(at)


@settings(max_examples=30)
@given(
    st.integers(1, 4),
    st.integers(1, 40),
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 4), st.booleans()), max_size=25),
)
def test_the_limits_hold_whatever_comes_and_is_cancelled(
    concurrency: int, per_min: int, calls: list[tuple[float, float, bool]]
) -> None:
    guarded = gate(concurrency=concurrency, requests_per_min=per_min)
    admitted: list[float] = []
    under_way = 0

    async def one(took_s: float, patience_s: float) -> None:
        nonlocal under_way
        with anyio.move_on_after(patience_s):
            ticket = await guarded.admit(math.inf)
            admitted.append(anyio.current_time())
            under_way += 1
            assert under_way <= concurrency
            try:
                await anyio.sleep(took_s)
            finally:
                under_way -= 1
                ticket.close(None)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for pause_s, took_s, is_impatient in calls:
                await anyio.sleep(pause_s)
                tasks.start_soon(one, took_s, 0.5 if is_impatient else math.inf)
        with anyio.fail_after(61):  # whoever left has not taken the place of the others along
            (await guarded.admit(math.inf)).close(None)

    on_a_clock_that_jumps(main)
    for first, start in enumerate(admitted):
        within = [at for at in admitted[first:] if at <= start + 30]
        assert len(within) <= per_min * 1.5 + 1e-6 + 1


def test_what_cannot_be_in_time_is_shed_at_once_with_the_wait() -> None:
    async def main() -> tuple[float, LoadShedError]:
        guarded, started = gate(requests_per_min=2), anyio.current_time()
        await hold(guarded)
        await hold(guarded)
        with pytest.raises(LoadShedError) as shed:
            await guarded.admit(started + 29)
        assert shed.value.usage == NO_USAGE
        (await guarded.admit(started + 31)).close(None)
        return anyio.current_time() - started, shed.value

    took_s, error = on_a_clock_that_jumps(main)
    assert took_s == pytest.approx(30)
    assert error.retry_after_s == pytest.approx(30)
    assert str(error) == (
        "tier 't' was not asked, by its own limits: the deadline is in 29 s; the wait is about 30 s"
    )


def test_the_wait_for_a_place_is_estimated_by_how_long_requests_take() -> None:
    async def main() -> None:
        guarded = gate(concurrency=1)
        await hold(guarded, took_s=4.0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold, guarded, 4.0)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(LoadShedError, match=r"the wait is about 4 s"):
                await guarded.admit(anyio.current_time() + 3.9)
            (await guarded.admit(anyio.current_time() + 4.1)).close(None)

    on_a_clock_that_jumps(main)


def test_what_waits_already_counts_in_the_estimate() -> None:
    async def main() -> None:
        guarded = gate(tokens_per_min=60)
        await hold(guarded, tokens=60)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold, guarded, 0.0, 30)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(LoadShedError, match=r"the wait is about 50 s"):
                await guarded.admit(anyio.current_time() + 45, 20)

    on_a_clock_that_jumps(main)


@pytest.mark.anyio
async def test_a_full_queue_sheds() -> None:
    guarded = gate(concurrency=1, max_queue=1)
    ticket = await guarded.admit(math.inf)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hold, guarded)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(LoadShedError, match=r"its queue is full \(1 waiting\)"):
            await guarded.admit(math.inf)
        ticket.close(None)
    unqueued = gate(concurrency=1, max_queue=0)
    (await unqueued.admit(math.inf)).close(None)
    ticket = await unqueued.admit(math.inf)
    with pytest.raises(LoadShedError, match=r"its queue is full \(0 waiting\)"):
        await unqueued.admit(math.inf)
    ticket.close(None)


@pytest.mark.anyio
async def test_a_cancelled_one_leaves_the_queue_to_the_others() -> None:
    guarded, order = gate(concurrency=1), list[str]()
    ticket = await guarded.admit(math.inf)

    async def one(name: str, scope: anyio.CancelScope) -> None:
        with scope:
            await hold(guarded)
            order.append(name)

    scopes = {name: anyio.CancelScope() for name in "abc"}
    async with anyio.create_task_group() as tasks:
        for name, scope in scopes.items():
            tasks.start_soon(one, name, scope)
            await anyio.wait_all_tasks_blocked()
        scopes["a"].cancel()  # the first in the queue
        await anyio.wait_all_tasks_blocked()
        ticket.close(None)
    assert order == ["b", "c"]


@pytest.mark.anyio
async def test_a_place_that_is_granted_and_cancelled_at_once_is_not_lost() -> None:
    guarded = gate(concurrency=1)
    ticket = await guarded.admit(math.inf)
    scope = anyio.CancelScope()

    async def impatient() -> None:
        with scope:
            await hold(guarded)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(impatient)
        await anyio.wait_all_tasks_blocked()
        ticket.close(None)  # wakes it
        scope.cancel()  # before it runs
    with anyio.fail_after(5):
        (await guarded.admit(math.inf)).close(None)


def test_each_event_loop_has_a_state_of_its_own() -> None:
    guarded = gate(concurrency=1)

    async def take_and_keep() -> None:
        await guarded.admit(math.inf)

    for backend in ("asyncio", "trio", "asyncio"):
        anyio.run(take_and_keep, backend=backend)


def test_tokens_are_estimated_only_where_they_are_limited() -> None:
    assert gate(tokens_per_min=1).counts_tokens
    assert not gate(concurrency=1).counts_tokens


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"concurrency": 0}, "concurrency=0 is not a whole number of 1 or more"),
        ({"requests_per_min": 1.5}, "requests_per_min=1.5"),
        ({"tokens_per_min": -1}, "tokens_per_min=-1"),
        ({"max_queue": -1}, "max_queue=-1 is not a whole number of 0 or more"),
        ({"rpm": 5}, "no option 'rpm'"),
    ],
)
def test_options_out_of_their_range_are_refused(options: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Limits(**options)


def test_limits_show_what_is_limited() -> None:
    assert repr(Limits(concurrency=3, max_queue=0)) == "Limits(concurrency=3, max_queue=0)"


def test_an_answer_counts_from_when_its_request_is_sent() -> None:
    """A hundred tokens a minute: what may be written is reckoned with before it is."""

    async def main() -> list[float]:
        guarded, started, at = gate(tokens_per_min=100), anyio.current_time(), list[float]()

        async def one(written: int | None) -> None:
            ticket = await guarded.admit(math.inf, 10, written)
            at.append(anyio.current_time() - started)
            await anyio.sleep(1)
            ticket.close(Usage(10, 40))

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(one, 40)
        return at

    assert on_a_clock_that_jumps(main) == pytest.approx([0, 0, 30, 60])


def test_where_nobody_says_how_much_may_be_written_answers_of_late_do() -> None:
    async def main() -> float:
        guarded = gate(tokens_per_min=100_000)
        for _ in range(50):
            (await guarded.admit(math.inf, 10, None)).close(Usage(10, 1000))
        started = anyio.current_time()
        for _ in range(100):  # about half of them is left for this minute
            await guarded.admit(math.inf, 10, None)
        return anyio.current_time() - started

    assert on_a_clock_that_jumps(main) == pytest.approx(30, rel=0.1)


def test_what_was_not_sent_uses_nothing() -> None:
    async def main() -> float:
        guarded, started = gate(requests_per_min=1, tokens_per_min=10), anyio.current_time()
        for _ in range(9):
            (await guarded.admit(math.inf, 10)).give_back()
        (await guarded.admit(math.inf, 10)).close(None)
        return anyio.current_time() - started

    assert on_a_clock_that_jumps(main) == 0
