"""Event loops that come late, and the calls that are given up earlier for it."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import Answer, Cascade, Context, Path, Tier
from cascade.lateness import HALF_LIFE_S, LATER_STILL, Lateness, Stroke, lateness
from cascade.types import Request


def test_a_loop_that_is_late_gives_up_earlier() -> None:
    late = Lateness()
    assert late.margin_s(1.0, 10.0) == 0.0
    late.observe(0.08, 10.0)
    assert late.margin_s(1.0, 10.0) == pytest.approx(LATER_STILL * 0.08)
    late.observe(0.01, 10.0)  # the most of the last seconds counts, a little less each time
    assert 0.99 < late.margin_s(1.0, 10.0) / (LATER_STILL * 0.08) < 1
    assert late.margin_s(0.1, 10.0) == pytest.approx(0.05)  # never more than half of the budget
    full_s = late.margin_s(1.0, 10.0)
    assert late.margin_s(1.0, 10.0 + HALF_LIFE_S) == pytest.approx(full_s / 2)
    assert late.margin_s(1.0, 10.0 + 30 * HALF_LIFE_S) < 1e-6


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 100)), min_size=1), st.floats(0.001, 10))
def test_the_margin_leaves_half_of_every_budget(
    strikes: list[tuple[float, float]], budget_s: float
) -> None:
    late, now_s, most_s = Lateness(), 0.0, 0.0
    for late_s, after_s in strikes:
        now_s += after_s
        late.observe(late_s, now_s)
        most_s = max(most_s, late_s)
        margin_s = late.margin_s(budget_s, now_s)
        assert min(late_s, budget_s / 2) - 1e-12 <= margin_s
        assert margin_s <= min(LATER_STILL * most_s, budget_s / 2) + 1e-12


class _Limited:
    deadline = math.inf
    stroke: Stroke | None = None


@pytest.mark.anyio
async def test_calls_in_flight_are_given_up_earlier_when_the_loop_comes_late() -> None:
    late, now_s = Lateness(), anyio.current_time()
    calls = {budget_s: _Limited() for budget_s in (0.1, 1.0, 60.0)}
    scopes = {budget_s: anyio.CancelScope() for budget_s in calls}
    for budget_s, call in calls.items():
        late.enter(call, scopes[budget_s], budget_s, now_s)
        assert call.deadline == scopes[budget_s].deadline == now_s + budget_s
    late.leave(calls[60.0])
    late.leave(calls[60.0])  # one that is not under way may leave
    late.observe(0.001, now_s)  # not worth mention
    assert calls[1.0].deadline == now_s + 1
    late.observe(0.08, now_s)
    assert calls[0.1].deadline == scopes[0.1].deadline == pytest.approx(now_s + 0.05)
    assert calls[1.0].deadline == scopes[1.0].deadline == pytest.approx(now_s + 1 - 0.12)
    assert calls[60.0].deadline == now_s + 60
    before = calls[1.0].deadline
    late.observe(0.07, now_s + 0.2)  # less than it was: nothing is put off again
    assert calls[1.0].deadline == before
    late.observe(0.4, now_s + 0.7)  # half of the budget before its end, which is past
    assert calls[1.0].deadline == scopes[1.0].deadline == now_s + 0.7


@pytest.mark.anyio
async def test_a_deadline_that_was_struck_late_makes_the_next_one_earlier() -> None:
    async def block(request: Request) -> str:
        time.sleep(0.05)  # noqa: ASYNC251 - what holds up the event loop holds up its deadlines
        await anyio.sleep(1)
        return "never"

    made = Cascade(
        tiers=[Tier("slow", call=block)], paths={"p": Path(budget_s=0.01)}, on_exhausted="best"
    )
    assert lateness().margin_s(1.0, anyio.current_time()) == 0
    result = await made.run("?", path="p")
    assert result.reason == "budget"
    assert lateness().margin_s(1.0, anyio.current_time()) > 0


@pytest.mark.parametrize(
    ("struck_s", "wound_up_s", "busy_s", "late_s"),
    [
        (0.0, 1.0, 0.0, 0.0),  # a function's own cleanup, on a loop that has nothing to do
        (0.0, 1.0, 0.9, 1.0),  # on one that was busy all the time
        (0.0, 1.0, 0.4, 1.0),  # and so was the machine
        (0.0, 1.0, 0.1, 0.3),
        (0.2, 1.0, 0.0, 0.2),  # the stroke itself came late
        (0.2, 0.0, 0.0, 0.2),
    ],
)
@pytest.mark.anyio
async def test_what_a_function_does_to_clean_up_is_no_lateness_of_the_loop(
    struck_s: float, wound_up_s: float, busy_s: float, late_s: float
) -> None:
    now_s, busy = [10.0], [5.0]
    late = Lateness(lambda: now_s[0], lambda: busy[0])
    call = _Limited()

    async def work() -> None:
        now_s[0] += 1 + struck_s
        await anyio.lowlevel.checkpoint()
        now_s[0] += wound_up_s
        busy[0] += busy_s

    late.enter(call, anyio.CancelScope(), 1.0, now_s[0])
    await late.watched(call, work())
    late.ended(call)
    assert late.margin_s(100.0, now_s[0]) == pytest.approx(LATER_STILL * late_s)


@pytest.mark.anyio
async def test_a_slow_cleanup_costs_other_calls_nothing_of_their_budgets() -> None:
    async def tidy(request: Request) -> str:
        try:
            return await _never(request)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.3)

    made = Cascade(
        tiers=[Tier("tidy", call=tidy)], paths={"p": Path(budget_s=0.01)}, on_exhausted="best"
    )
    assert (await made.run("?", path="p")).reason == "budget"
    assert lateness().margin_s(1.0, anyio.current_time()) < 0.15  # 0.45 if it counted


@pytest.mark.anyio
async def test_what_a_watched_call_awaits_reaches_it() -> None:
    """Values, errors and cancellation go through, and `aclose` as well."""
    late = Lateness()

    async def work(what: str) -> str:
        try:
            await anyio.sleep(0 if what == "value" else 60)
        finally:
            ended.append(what)
        return what

    ended: list[str] = []
    assert await late.watched(_Limited(), work("value")) == "value"
    with anyio.move_on_after(0.01) as scope:
        await late.watched(_Limited(), work("cancelled"))
    assert scope.cancelled_caught
    with pytest.raises(ZeroDivisionError):
        await late.watched(_Limited(), _divide())
    left = _awaiting(late.watched(_Limited(), work("closed")))
    left.send(None)
    left.close()
    assert ended == ["value", "cancelled", "closed"]


async def _awaiting(work: Awaitable[Any]) -> None:
    await work


async def _divide() -> float:
    await anyio.lowlevel.checkpoint()
    return 1 / 0


@pytest.mark.anyio
async def test_a_call_that_has_ended_is_not_kept() -> None:
    made = Cascade(
        tiers=[Tier("quick", call=_quick), Tier("slow", call=_never)],
        validators=[_is_yes],
        paths={"p": Path(budget_s=0.05)},
        on_exhausted="best",
    )
    for question in ("yes", "no"):
        await made.run(question, path="p")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await made.run("no", path="p")
    assert not lateness()._in_flight


async def _quick(request: Request) -> str:
    return str(request.messages[0]["content"])


async def _never(request: Request) -> str:
    await anyio.sleep(60)
    return "never"


def _is_yes(answer: Answer[str], context: Context) -> bool:
    return answer.text == "yes"
