"""How late an event loop strikes deadlines, and how much earlier calls are given up for it."""

from __future__ import annotations

import math
import time
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from anyio import CancelScope, current_time
from anyio.lowlevel import RunVar, current_token

__all__ = ["Lateness", "Limited", "Stroke", "lateness"]

T = TypeVar("T")

HALF_LIFE_S: Final = 5.0
FORGOTTEN_A_STRIKE: Final = 0.005
"""How much less a loop's lateness counts after each strike that was more punctual."""

LATER_STILL: Final = 1.5
"""The margin for what a loop was late by: where load grows, it will be later still."""

MOST_OF_BUDGET: Final = 0.5
"""The share of a budget that is given up at most for an event loop that is late."""

CLEARLY_MORE: Final = 1.2
WORTH_MENTION_S: Final = 0.002
"""How much later than before a strike has to be for calls in flight to be given up earlier."""

STARVED: Final = 3.0
"""How much longer than its processor time a busy event loop may take, as others run too."""


class Stroke(NamedTuple):
    """When a call went on for the first time after its deadline.

    Attributes:
        at: on the event loop's clock.
        busy_s: the processor time of the event loop's thread then.
    """

    at: float
    busy_s: float


class Limited(Protocol):
    """A call under a budget.

    Attributes:
        deadline: when it is given up, on the event loop's clock.
        stroke: None: it has not gone on after its deadline.
    """

    deadline: float
    stroke: Stroke | None


class _Limit(NamedTuple):
    scope: CancelScope
    ends_at: float
    budget_s: float


class Lateness:
    """How late an event loop strikes deadlines.

    A loop with more to do than it has time for comes late to all of it, to deadlines too. A call
    on it is given up earlier, by somewhat more than the loop was late lately, to end in time.

    Args:
        clock: the loop's own.
        busy: the processor time that its thread has used, in seconds.
    """

    __slots__ = ("_busy", "_in_flight", "_late_s", "_seen_s", "clock")

    def __init__(
        self,
        clock: Callable[[], float] = current_time,
        busy: Callable[[], float] = time.thread_time,
    ) -> None:
        self.clock = clock
        self._busy = busy
        self._late_s = 0.0
        self._seen_s = 0.0
        self._in_flight: dict[Limited, _Limit] = {}

    def enter(self, call: Limited, scope: CancelScope, budget_s: float, now_s: float) -> None:
        """A call begins: its deadline and its scope's are set, and may be moved until it leaves."""
        ends_at = now_s + budget_s
        call.deadline = scope.deadline = ends_at - self.margin_s(budget_s, now_s)
        self._in_flight[call] = _Limit(scope, ends_at, budget_s)

    def leave(self, call: Limited) -> None:
        """A call has ended. One that had no budget may leave too."""
        self._in_flight.pop(call, None)

    @types.coroutine
    def watched(self, call: Limited, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """What `work` returns. Its call's stroke is noted on the way."""
        given: Any = None
        thrown: BaseException | None = None
        try:
            while True:
                signal: Any = work.send(given) if thrown is None else work.throw(thrown)
                thrown = None
                try:
                    given = yield signal
                except BaseException as error:  # goes on into the work, as by `yield from`
                    thrown = error
                if call.stroke is None and self.clock() >= call.deadline:
                    call.stroke = Stroke(self.clock(), self._busy())
        except StopIteration as end:
            result: T = end.value
            return result

    def ended(self, call: Limited) -> None:
        """A call was ended by its deadline: learn how late that came, and took.

        Of the time that it took to wind up counts what the loop was busy. What a function does on
        its own to clean up, while the loop has nothing to do, makes no other call late.
        """
        now_s = self.clock()
        if call.stroke is None:
            self.observe(now_s - call.deadline, now_s)
            return
        busy_s = STARVED * (self._busy() - call.stroke.busy_s)
        self.observe(call.stroke.at - call.deadline + min(now_s - call.stroke.at, busy_s), now_s)

    def observe(self, late_s: float, now_s: float) -> None:
        """A deadline was struck so late: the most of the last seconds counts.

        Where that is clearly more than before, calls in flight are given up earlier as well.
        """
        lately_s = self._lately_s(now_s)
        self._late_s, self._seen_s = max(late_s, (1 - FORGOTTEN_A_STRIKE) * lately_s), now_s
        if late_s < max(lately_s * CLEARLY_MORE, WORTH_MENTION_S):
            return
        for call, limit in self._in_flight.items():
            # Not before now: it would count as struck later than it was.
            deadline = max(limit.ends_at - self.margin_s(limit.budget_s, now_s), now_s)
            if deadline < call.deadline:
                call.deadline = limit.scope.deadline = deadline

    def margin_s(self, budget_s: float, now_s: float) -> float:
        """How much before the end of a budget to give up, in seconds."""
        if not self._late_s:
            return 0.0
        return min(LATER_STILL * self._lately_s(now_s), MOST_OF_BUDGET * budget_s)

    def _lately_s(self, now_s: float) -> float:
        return self._late_s * math.exp2((self._seen_s - now_s) / HALF_LIFE_S)


_lateness: RunVar[Lateness] = RunVar("cascade_lateness")


def lateness() -> Lateness:
    """That of the event loop this runs in."""
    try:
        return _lateness.get()
    except LookupError:
        # `anyio.current_time` looks for the loop each time; asyncio's loops, its native tokens,
        # have a clock.
        found = Lateness(getattr(current_token().native_token, "time", current_time))
        _lateness.set(found)
        return found
