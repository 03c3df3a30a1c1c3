"""Worker threads for validators that block: bounded in number, never waited for when cancelled.

A thread cannot be killed. When its caller is cancelled (a timeout, a deadline) it is left to
finish alone, but it keeps its place among the `MAX_THREADS` until then: validators that hang can
fill the places, not the machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from anyio import CapacityLimiter, from_thread, to_thread
from anyio.lowlevel import RunVar

T = TypeVar("T")

MAX_THREADS = 16

# For each event loop: the places, and the limiter that keeps anyio from counting a second time.
_limiters: RunVar[tuple[CapacityLimiter, CapacityLimiter]] = RunVar("cascade_threads")


async def run_in_thread(work: Callable[[], T]) -> T:
    """What `work()` returns or raises, run in a worker thread. Waits for a free place first."""
    try:
        places, unlimited = _limiters.get()
    except LookupError:
        places, unlimited = CapacityLimiter(MAX_THREADS), CapacityLimiter(math.inf)
        _limiters.set((places, unlimited))
    borrower = object()
    started = False

    def run() -> T:
        nonlocal started
        started = True
        try:
            return work()
        finally:
            # The event loop may be gone by the time an abandoned thread ends.
            with suppress(RuntimeError):
                from_thread.run_sync(places.release_on_behalf_of, borrower)

    await places.acquire_on_behalf_of(borrower)
    try:
        return await to_thread.run_sync(run, abandon_on_cancel=True, limiter=unlimited)
    except BaseException:
        if not started:
            places.release_on_behalf_of(borrower)
        raise
