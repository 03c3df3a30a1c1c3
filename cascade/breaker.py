"""Circuit breakers: an endpoint that keeps failing is left alone for a while.

After M. Nygard, "Release It!": a circuit is closed while calls get through, open while none is
sent, and half-open while one probe finds out whether the endpoint is back.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Final, Literal, TypeAlias

from cascade.errors import ConfigError
from cascade.logs import warn
from cascade.options import check_count, check_seconds, check_threshold, named_options

__all__ = ["Breaker", "Circuit", "CircuitState"]

CircuitState: TypeAlias = Literal["closed", "half_open", "open"]

# How many times as long as nearly all answers take a call has to last to have hung.
_HANGS_AT: Final = 2.0
_HANGS_UNKNOWN_S: Final = 5.0  # where there was no answer yet


class Breaker:
    """When a circuit opens, and for how long. Each deployment has a circuit of its own.

    A circuit opens when `failure_rate` of the last `window_s` seconds' calls failed, given at
    least `min_calls` of them; or after `consecutive` failures without a success between them; or
    after `min_calls` calls without an answer between them that hung: that were cut short by their
    deadline, though they had twice as long as nearly all answers take; or for as long as a
    Retry-After asks.
    After `open_s` seconds one probe is sent: if it succeeds the circuit closes, if it fails or
    hangs it stays open as long again. A call that its caller gave up says nothing.

    Args:
        failure_rate: the share of failed calls, above 0 and up to 1.
        min_calls: with fewer calls in the window a share says nothing; and so many that hang, in a
            row, open it.
        window_s: seconds; counted in tenths of it.
        consecutive: failures in a row. None: failures count by their share only.
        open_s: seconds without a call before the probe.
        slow_s: a call that takes as long or longer counts as failed, though it succeeded or was
            cancelled. None: no call is slow.
        clock: seconds from any start; for tests.

    Raises:
        ConfigError: an option is out of its range.
    """

    __slots__ = (
        "clock",
        "consecutive",
        "failure_rate",
        "min_calls",
        "open_s",
        "slow_s",
        "window_s",
    )

    @named_options
    def __init__(
        self,
        *,
        failure_rate: float = 0.5,
        min_calls: int = 10,
        window_s: float = 30.0,
        consecutive: int | None = 5,
        open_s: float = 10.0,
        slow_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_threshold("failure_rate", failure_rate)
        if failure_rate == 0:
            raise ConfigError("failure_rate=0 would open at the first success; give more than 0")
        check_count("min_calls", min_calls, least=1)
        if consecutive is not None:
            check_count("consecutive", consecutive, least=1)
        for name, value in (("window_s", window_s), ("open_s", open_s)):
            if value is None:  # pyright: ignore[reportUnnecessaryComparison]
                raise ConfigError(f"{name}=None is not a time; give seconds above 0")
            check_seconds(name, value)
        check_seconds("slow_s", slow_s)
        self.failure_rate = failure_rate
        self.min_calls = min_calls
        self.window_s = window_s
        self.consecutive = consecutive
        self.open_s = open_s
        self.slow_s = slow_s
        self.clock = clock

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__slots__ if name != "clock")
        return f"Breaker({', '.join(shown)})"


class Circuit:
    """The state of one deployment's breaker.

    `admit` gives a permit, and every permit is handed back by exactly one of `succeeded`,
    `failed`, `cut_short` and `cancelled`. A permit is the number of the circuit's era, which
    changes whenever it opens, probes or closes: what a call of an earlier era tells is old news
    and does not count.

    Args:
        name: of the deployment, for the log.
        breaker: the options.
        latency_s: about how long an answer takes at its median, until there was one. None: unknown.
        timeout_s: the tier's own timeout: a call that reaches it has hung. None: it has none.
    """

    __slots__ = (
        "_breaker",
        "_era",
        "_failed_in_a_row",
        "_hung_in_a_row",
        "_lock",
        "_name",
        "_open_until",
        "_probing",
        "_timeout_s",
        "_unknown_s",
        "_usual_s",
        "_window",
        "clock",
    )

    def __init__(
        self,
        name: str,
        breaker: Breaker,
        latency_s: float | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self._name = name
        self._breaker = breaker
        self.clock = breaker.clock
        self._window = _Window(breaker.window_s)
        self._failed_in_a_row = 0
        self._hung_in_a_row = 0
        self._usual_s = 0.0  # until there was an answer
        self._unknown_s = _HANGS_UNKNOWN_S if latency_s is None else _HANGS_AT * 2 * latency_s
        self._timeout_s = math.inf if timeout_s is None else timeout_s
        self._era = 0
        self._open_until: float | None = None  # None: closed
        self._probing = False
        self._lock = Lock()  # for one probe only, though event loops in several threads ask

    @property
    def closed(self) -> bool:
        """Whether calls go through freely."""
        return self._open_until is None

    @property
    def blocked(self) -> bool:
        """Whether `admit` would refuse now."""
        until = self._open_until
        return until is not None and (self._probing or self.clock() < until)

    @property
    def state(self) -> CircuitState:
        """How it is; "half_open" when it is time for a probe, or one is on its way."""
        until = self._open_until
        if until is None:
            return "closed"
        return "half_open" if self._probing or self.clock() >= until else "open"

    @property
    def retry_after_s(self) -> float | None:
        """Seconds until the next probe. None: one is on its way, or the circuit is closed."""
        until = self._open_until
        return None if until is None or self._probing else max(0.0, until - self.clock())

    def admit(self) -> int | None:
        """A permit for one call; a probe's, when it is time for one. None: the circuit is open."""
        if self._open_until is None:
            return self._era
        with self._lock:
            if self.blocked:
                return None
            if not self.closed:
                self._probing = True
                self._era += 1
            return self._era

    def succeeded(self, permit: int, took_s: float) -> None:
        """The call got its answer, after `took_s` seconds."""
        self._learn(took_s)
        if self._is_slow(took_s):
            self.failed(permit)
        elif permit == self._era:
            self._failed_in_a_row = self._hung_in_a_row = 0
            if self._probing:
                self._close()
            else:
                self._window.add(self.clock(), failed=False)

    def failed(self, permit: int, retry_after_s: float | None = None) -> None:
        """The call broke; the provider asks to be left alone for `retry_after_s` seconds."""
        current = permit == self._era
        if current and self._probing:
            self._open(max(self._breaker.open_s, retry_after_s or 0.0))
        elif current:
            self._count_failure(retry_after_s)
        elif retry_after_s and self._open_until is not None:
            # Known since an earlier era, and true all the same: it can only put the probe off.
            self._open_until = max(self._open_until, self.clock() + retry_after_s)

    def cut_short(self, permit: int, took_s: float) -> None:
        """The call's deadline struck, after `took_s` seconds.

        It hung if it had the tier's own timeout, or twice as long as nearly all answers take: a
        tight budget cuts healthy calls short too, and those that make it are the quick ones.
        """
        usual_s = self._usual_s and _HANGS_AT * self._usual_s
        if took_s < min(usual_s or self._unknown_s, self._timeout_s) or self._is_slow(took_s):
            self.cancelled(permit, took_s)
        elif permit == self._era:
            self._hung_in_a_row += 1
            if self._probing or self._hung_in_a_row >= self._breaker.min_calls:
                self._open(self._breaker.open_s)

    def cancelled(self, permit: int, took_s: float) -> None:
        """Nobody waited for the answer: no judgement, but for a call that was slow already."""
        if self._is_slow(took_s):
            self.failed(permit)
        elif permit == self._era:
            self._probing = False

    def _learn(self, took_s: float) -> None:
        # The 95th percentile in one number, after frugal streaming (Ma, Muthukrishnan and Sandler,
        # 2013): one step up weighs as much as nineteen down.
        if took_s > self._usual_s:
            self._usual_s = self._usual_s * 1.19 or took_s
        else:
            self._usual_s *= 0.991

    def _is_slow(self, took_s: float) -> bool:
        slow_s = self._breaker.slow_s
        return slow_s is not None and took_s >= slow_s

    def _count_failure(self, retry_after_s: float | None) -> None:
        breaker, now = self._breaker, self.clock()
        self._failed_in_a_row += 1
        self._window.add(now, failed=True)
        calls, failures = self._window.counts(now)
        in_a_row = breaker.consecutive is not None and self._failed_in_a_row >= breaker.consecutive
        if in_a_row or (calls >= breaker.min_calls and failures >= breaker.failure_rate * calls):
            self._open(max(breaker.open_s, retry_after_s or 0.0))
        elif retry_after_s:
            self._open(retry_after_s)

    def _open(self, for_s: float) -> None:
        with self._lock:
            self._open_until = self.clock() + for_s
            self._probing = False
            self._era += 1
        warn("circuit_opened", deployment=self._name, open_s=for_s)

    def _close(self) -> None:
        with self._lock:
            self._window = _Window(self._breaker.window_s)
            self._probing = False
            self._era += 1
            self._open_until = None


_SLOTS: Final = 10


class _Window:
    """Calls and failures of the last seconds, in tenths of the span: small however busy."""

    __slots__ = ("_slot_s", "_slots")

    def __init__(self, span_s: float) -> None:
        self._slot_s = span_s / _SLOTS
        self._slots: deque[list[int]] = deque(maxlen=_SLOTS)  # of [slot number, calls, failures]

    def add(self, now: float, *, failed: bool) -> None:
        number = int(now / self._slot_s)
        if not self._slots or self._slots[-1][0] != number:
            self._slots.append([number, 0, 0])
        slot = self._slots[-1]
        slot[1] += 1
        slot[2] += failed

    def counts(self, now: float) -> tuple[int, int]:
        """Calls and failures."""
        oldest = int(now / self._slot_s) - _SLOTS
        recent = [slot for slot in self._slots if slot[0] > oldest]
        return sum(slot[1] for slot in recent), sum(slot[2] for slot in recent)
