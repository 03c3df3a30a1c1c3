"""The ladder with hedges: the next rung starts beside one that may not answer in time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from anyio import CancelScope, Event, create_task_group, move_on_after

from cascade.attempt import Run
from cascade.budget import FITS_AT, fits, hedge_after_s
from cascade.decision import ACCEPT, EXHAUSTED, OUT_OF_MONEY, OUT_OF_TIME, Decision
from cascade.metering import Handover

__all__ = ["Ask", "race"]

Ask = Callable[[Run, int, Handover | None], Awaitable[tuple[Decision, Handover | None]]]
"""Asks one rung of a run, by its place: what to do next, and what there is to hand over."""


class _Race:
    """The rungs in flight, and what has come of those that ended.

    Attributes:
        in_flight: how many have been started and have not ended.
        decision: what the rung that ended last came to. None: none has ended.
        handover: the rejected answer to hand to the next rung. None: there is none.
        is_accepted: whether an answer was accepted.
        is_out_of_money: whether a spend cap kept a rung from being asked: no other is started.
        error: a mistake of the program that ends the call. None: there was none, or an answer was
            accepted before it.
    """

    def __init__(self, run: Run, ask: Ask) -> None:
        self._run = run
        self._ask = ask
        self._changed = Event()
        self._scopes: list[CancelScope] = []
        self.in_flight = 0
        self.decision: Decision | None = None
        self.handover: Handover | None = None
        self.is_accepted = False
        self.is_out_of_money = False
        self.error: Exception | None = None

    async def ask(self, place: int) -> None:
        """Ask one rung and keep what comes of it."""
        handover = self.handover if self._run.plan.feedback else None
        try:
            with CancelScope() as scope:
                self._scopes.append(scope)
                if self.is_over:  # while this task was being started
                    return
                self.decision, self.handover = await self._ask(self._run, place, handover)
                self.is_accepted |= self.decision is ACCEPT
                self.is_out_of_money |= self.decision is OUT_OF_MONEY
        except Exception as error:  # kept, because a task group would wrap it
            if not self.is_over:
                self.error = error
        finally:
            self.in_flight -= 1
            self._changed.set()

    def call_off(self) -> None:
        """Cancel what is in flight.

        Each rung in its own scope: a task that its group cancels leaves a cycle of frames behind,
        and under load the garbage collector's stops make deadlines strike late.
        """
        for scope in self._scopes:
            scope.cancel()

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Until it is over, or nothing is in flight any more.

        Returns:
            False when so many seconds have passed before.
        """
        with move_on_after(timeout_s) as scope:
            while self.in_flight and not self.is_over:
                await self._changed.wait()
                self._changed = Event()
        return not scope.cancelled_caught

    @property
    def is_over(self) -> bool:
        """Whether the other rungs are not needed any more."""
        return self.is_accepted or self.error is not None


async def race(run: Run, first: int, ask: Ask) -> Decision:
    """Climb from the place `first`, each next rung started early where the plan says so.

    The first accepted answer wins; of several at once, the cheapest. What is in flight then is
    cancelled, billed, and on record as skipped(hedge). When it returns or raises, one attempt is
    on record as accepted if the decision is to accept, and else none: the race may be cut short
    after an acceptance, while the other rungs are called off.
    """
    decision: Decision | None = None
    try:
        decision = _outcome(run, await _raced(run, first, _Race(run, ask)))
        return decision
    finally:
        _keep_one_accepted(run, decision)


async def _raced(run: Run, first: int, state: _Race) -> _Race:
    """Start one rung after the other, until the race is over and nothing is in flight."""
    place: int | None = first
    async with create_task_group() as group:
        while place is not None:
            state.in_flight += 1
            group.start_soon(state.ask, place)
            if place + 1 == len(run.plan.rungs):
                break
            patience_s = _patience_s(run, place + 1)
            is_due = not await state.wait(patience_s) and run.plan.hedge == "deadline"
            if state.is_over or state.is_out_of_money:
                break
            place = _next_place(run, place + 1, is_due=is_due and bool(patience_s))
            if place is not None and await run.is_too_dear(place):
                state.is_out_of_money = True
                break
        await state.wait()
        state.call_off()
    if place is None:
        state.decision = OUT_OF_TIME
    return state


def _outcome(run: Run, state: _Race) -> Decision:
    """What the race came to, now that nothing is in flight any more."""
    if state.error is not None:
        raise state.error
    time_left_s = run.time_left_s()
    if state.is_accepted:
        # Calling the others off takes time too, and the deadline stands around all of it.
        return ACCEPT if time_left_s is None or time_left_s > 0 else OUT_OF_TIME
    if state.is_out_of_money:
        return OUT_OF_MONEY
    return OUT_OF_TIME if state.decision is OUT_OF_TIME else EXHAUSTED


def _next_place(run: Run, place: int, *, is_due: bool) -> int | None:
    """The rung to start next. None: none can be expected to finish in time.

    Args:
        is_due: it is the last moment for the rung at `place`: its timer has struck. Timers strike
            late, if by microseconds, so that it fits no more. It is started all the same, unless
            it was so late that the half of what it takes does not fit.
    """
    if is_due:
        takes_s = run.plan.rungs[place].latency.quantile_s(FITS_AT, run.plan.clock())
        if takes_s is not None and fits(takes_s / 2, run.time_left_s()):
            return place
    return run.next_place(place)


def _patience_s(run: Run, following: int) -> float | None:
    """How long the rungs in flight have before the next one starts. None: as long as it takes."""
    latency, time_left_s = run.plan.rungs[following].latency, run.time_left_s()
    takes_s: float | None = None
    if time_left_s is not None:
        takes_s = latency.hedge_takes_s(time_left_s, run.plan.clock())
    return hedge_after_s(run.plan.hedge, takes_s, time_left_s)


def _keep_one_accepted(run: Run, decision: Decision | None) -> None:
    """Put the attempts that lost the race on record as what they are."""
    accepted = [attempt for attempt in run.attempts if attempt.outcome == "accepted"]
    if decision is ACCEPT:
        # In the order in which they were started, which is that of the ladder.
        for attempt in (*run.unfinished(), *accepted[1:]):
            attempt.outcome, attempt.reason = "skipped", "hedge"
    else:
        for attempt in accepted:  # as every attempt reads that was cut short
            attempt.outcome, attempt.reason = "timed_out", "budget"
