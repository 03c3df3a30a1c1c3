"""Limits of a tier: how much may be under way at once, and how much may be sent per minute.

What has to wait stands in one queue, first come first served. What could not leave the queue before
its deadline is not put into it: it is shed at once.
"""

from __future__ import annotations

import math
from collections import deque
from threading import Lock
from typing import Final
from weakref import WeakKeyDictionary, WeakSet

from anyio import CancelScope, Event, current_time
from anyio.lowlevel import RunVar

from cascade.errors import LoadShedError
from cascade.options import check_count, named_options
from cascade.types import NO_USAGE, Usage

__all__ = ["Gate", "Limits", "Ticket"]


class Limits:
    """What a tier may be asked for. None, everywhere: no limit.

    The limits hold for each event loop of the process. Requests and tokens per minute are token
    buckets, as the providers keep them: a minute's worth may go at once, then it refills steadily.

    Args:
        concurrency: requests under way at once.
        requests_per_min: requests sent per minute, retries included.
        tokens_per_min: input and output tokens per minute: estimated when a request is sent (for
            the answer `max_tokens`, else what answers had lately), corrected by what the provider
            bills. A request larger than that goes alone, once a whole minute's worth is there.
        max_queue: requests waiting at once; one more is shed.

    Raises:
        ConfigError: an option is no whole number of 1 or more (`max_queue`: 0 or more).
    """

    __slots__ = ("concurrency", "max_queue", "requests_per_min", "tokens_per_min")

    @named_options
    def __init__(
        self,
        *,
        concurrency: int | None = None,
        requests_per_min: int | None = None,
        tokens_per_min: int | None = None,
        max_queue: int | None = None,
    ) -> None:
        self.concurrency = concurrency
        self.requests_per_min = requests_per_min
        self.tokens_per_min = tokens_per_min
        self.max_queue = max_queue
        for name in self.__slots__:
            value: int | None = getattr(self, name)
            if value is not None:
                check_count(name, value, least=0 if name == "max_queue" else 1)

    def __repr__(self) -> str:
        given = ((name, getattr(self, name)) for name in self.__slots__)
        return f"Limits({', '.join(f'{n}={v}' for n, v in given if v is not None)})"


class Gate:
    """Holds one tier to its limits.

    Args:
        tier: the tier's name, for messages.
        limits: the options.
    """

    __slots__ = ("__weakref__", "_limits", "_lock", "_open_lines", "_tier")

    def __init__(self, tier: str, limits: Limits) -> None:
        self._tier = tier
        self._limits = limits
        self._open_lines: WeakSet[_Line] = WeakSet()  # those of all event loops
        self._lock = Lock()

    @property
    def counts_tokens(self) -> bool:
        """Whether `admit` has a use for an estimate of the tokens."""
        return self._limits.tokens_per_min is not None

    @property
    def waiting(self) -> int:
        """How many requests wait now, in all event loops. For any thread."""
        with self._lock:
            return sum(line.waiting for line in self._open_lines)

    async def admit(self, deadline: float, read: int = 0, written: int | None = 0) -> Ticket:
        """Wait for leave to send a request; the ticket is to be closed.

        Args:
            deadline: on the event loop's clock.
            read: about how many tokens it has.
            written: how many its answer may have. None: nobody said; as many as answers had lately.

        Raises:
            LoadShedError: it would not get leave before `deadline`, or the queue is full.
        """
        return await self._line().admit(deadline, read, written)

    def _line(self) -> _Line:
        # One for each event loop: what waits in one cannot be woken from another.
        try:
            lines = _lines.get()
        except LookupError:
            lines = WeakKeyDictionary[Gate, _Line]()
            _lines.set(lines)
        line = lines.get(self)
        if line is None:
            line = lines[self] = _Line(self._tier, self._limits)
            with self._lock:
                self._open_lines.add(line)
        return line


class Ticket:
    """Leave to send one request. `close` it with what the request turned out to use."""

    __slots__ = ("_admitted_at", "_line", "_tokens")

    def __init__(self, line: _Line, tokens: int, now: float) -> None:
        self._line = line
        self._tokens = tokens
        self._admitted_at = now

    def close(self, usage: Usage | None) -> None:
        """The request has ended. With an unknown usage (None) the estimate stands."""
        billed = self._tokens if usage is None else usage.input_tokens + usage.output_tokens
        self._line.leave(billed - self._tokens, current_time() - self._admitted_at, usage)

    def give_back(self) -> None:
        """The request was not sent."""
        self._line.leave(-self._tokens, 0.0, NO_USAGE, requests_more=-1)


class _Line:
    """The state of a gate in one event loop: what is under way, what waits, what is left."""

    __slots__ = (
        "__weakref__",
        "_call_s",
        "_limits",
        "_requests",
        "_tier",
        "_tokens",
        "_under_way",
        "_waiting",
        "_waiting_tokens",
        "_written",
    )

    def __init__(self, tier: str, limits: Limits) -> None:
        now = current_time()
        self._tier = tier
        self._limits = limits
        self._under_way = 0
        self._waiting: deque[_Waiter] = deque()
        self._waiting_tokens = 0
        self._requests = _Bucket(limits.requests_per_min, now)
        self._tokens = _Bucket(limits.tokens_per_min, now)
        self._call_s: float | None = None  # how long a request has taken lately
        self._written = 0.0  # how many tokens an answer has had lately

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def admit(self, deadline: float, read: int, written: int | None) -> Ticket:
        now = current_time()
        tokens = read + (round(self._written) if written is None else written)
        tokens = min(tokens, self._limits.tokens_per_min or tokens)  # else it would never fit
        if self._waiting or self._free_at(tokens, now) > now:
            self._shed_if_hopeless(tokens, now, deadline)
            now = await self._wait(tokens)
        self._under_way += 1
        self._requests.take(1, now)
        self._tokens.take(tokens, now)
        return Ticket(self, tokens, now)

    def leave(
        self, tokens_more: int, took_s: float, usage: Usage | None, requests_more: int = 0
    ) -> None:
        self._under_way -= 1
        now = current_time()
        self._requests.take(requests_more, now)
        self._tokens.take(tokens_more, now)
        if usage is not NO_USAGE:  # a refusal does not tell how long an answer takes
            before = took_s if self._call_s is None else self._call_s
            self._call_s = before + _NEWEST_WEIGHS * (took_s - before)
            if usage is not None:
                self._written += _NEWEST_WEIGHS * (usage.output_tokens - self._written)
        self._wake_first()

    async def _wait(self, tokens: int) -> float:
        """Wait for one's turn; the time it came. What is cancelled leaves the queue."""
        me = _Waiter()
        self._waiting.append(me)
        self._waiting_tokens += tokens
        try:
            while True:
                now = current_time()
                free_at = self._free_at(tokens, now) if self._waiting[0] is me else math.inf
                if free_at <= now:
                    return now
                me.woken = Event()
                with CancelScope(deadline=free_at):
                    await me.woken.wait()
        finally:
            self._waiting.remove(me)
            self._waiting_tokens -= tokens
            self._wake_first()

    def _wake_first(self) -> None:
        if self._waiting:
            self._waiting[0].woken.set()

    def _free_at(self, tokens: int, now: float) -> float:
        """When the first in the queue may go. inf: when another request has ended."""
        concurrency = self._limits.concurrency
        if concurrency is not None and self._under_way >= concurrency:
            return math.inf
        return now + max(self._requests.wait_s(1, now), self._tokens.wait_s(tokens, now))

    def _shed_if_hopeless(self, tokens: int, now: float, deadline: float) -> None:
        waiting = len(self._waiting)
        wait_s = self._estimated_wait_s(tokens, now)
        in_about = f"; the wait is about {wait_s:.3g} s"
        if self._limits.max_queue is not None and waiting >= self._limits.max_queue:
            why = f"its queue is full ({waiting} waiting){in_about}"
        elif now + wait_s >= deadline:
            why = f"the deadline is in {max(0.0, deadline - now):.3g} s{in_about}"
        else:
            return
        raise LoadShedError(
            f"tier {self._tier!r} was not asked, by its own limits: {why}",
            retry_after_s=wait_s,
            usage=NO_USAGE,
        )

    def _estimated_wait_s(self, tokens: int, now: float) -> float:
        """Seconds until a request that joined the queue now would be sent."""
        ahead = len(self._waiting)
        wait_s = max(
            self._requests.wait_s(ahead + 1, now),
            self._tokens.wait_s(self._waiting_tokens + tokens, now),
        )
        concurrency = self._limits.concurrency
        if concurrency is not None and self._under_way >= concurrency and self._call_s is not None:
            # As many leave per second as are under way, each after the time a request takes.
            wait_s = max(wait_s, (ahead + 1) * self._call_s / concurrency)
        return wait_s


_lines: RunVar[WeakKeyDictionary[Gate, _Line]] = RunVar("cascade_limits")
_NEWEST_WEIGHS: Final = 0.2


class _Waiter:
    __slots__ = ("woken",)

    def __init__(self) -> None:
        self.woken = Event()


class _Bucket:
    """A minute's worth that refills steadily. It may go below zero, where more was used than taken.

    Args:
        per_min: None: without a limit.
        now: on the event loop's clock.
    """

    __slots__ = ("_at", "_capacity", "_level")

    def __init__(self, per_min: int | None, now: float) -> None:
        self._capacity = per_min
        self._level = float(per_min or 0)
        self._at = now

    def take(self, amount: int, now: float) -> None:
        """Take out; a negative amount puts back."""
        if self._capacity is not None:
            self._level = min(self._filled(now) - amount, float(self._capacity))
            self._at = now

    def wait_s(self, amount: int, now: float) -> float:
        """Seconds until `amount` is there, the brim not minded; 0: it is."""
        if self._capacity is None:
            return 0.0
        missing = amount - self._filled(now)
        # Less than a billionth of it is what rounding leaves, not something to wait for.
        return 0.0 if missing <= self._capacity * 1e-9 else missing * 60.0 / self._capacity

    def _filled(self, now: float) -> float:
        assert self._capacity is not None  # noqa: S101 - for the type checkers
        return min(self._level + (now - self._at) * self._capacity / 60.0, float(self._capacity))
