"""Worker threads for validators that block: bounded in number, never waited for when cancelled.

A thread cannot be killed. When its caller is cancelled (a timeout, a deadline) it is left to
finish alone, but it keeps its place among the `MAX_THREADS` until then: validators that hang can
fill the places, not the machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar, current_token

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
    call_soon = _call_soon()

    def run() -> T:
        nonlocal started
        started = True
        try:
            return work()
        finally:
            # The event loop may be gone by the time an abandoned thread ends.
            with suppress(RuntimeError):
                call_soon(_release, places, borrower)

    await places.acquire_on_behalf_of(borrower)
    try:
        return await to_thread.run_sync(run, abandon_on_cancel=True, limiter=unlimited)
    except BaseException:
        if not started:
            _release(places, borrower)
        raise


def _call_soon() -> Callable[..., Any]:
    """How a thread hands a call to this event loop without waiting for it.

    anyio's own way, `from_thread.run_sync`, waits; and on a loop that stops before it gets to the
    call it waits for ever, and the interpreter's exit with it.
    """
    loop: Any = current_token().native_token
    soon: Callable[..., Any] = (
        loop.call_soon_threadsafe if hasattr(loop, "call_soon_threadsafe") else loop.run_sync_soon
    )
    return soon


def _release(places: CapacityLimiter, borrower: object) -> None:
    with suppress(RuntimeError):  # a thread that started while its caller gave up did so too
        places.release_on_behalf_of(borrower)
