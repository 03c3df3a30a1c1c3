"""Shutting down: no new calls, and those in flight end by themselves or at a deadline."""

from __future__ import annotations

from anyio import CancelScope, Event, move_on_after

__all__ = ["Shutdown"]


class Shutdown:
    """Who is in flight in one cascade, and whether anybody may still come in.

    Attributes:
        is_tracking: whether calls are kept account of; it costs each a cancel scope.
        is_closed: whether new calls are refused.
        is_cutting: whether calls in flight were ended at the deadline.
    """

    __slots__ = ("_empty", "_in_flight", "is_closed", "is_cutting", "is_tracking")

    def __init__(self) -> None:
        self.is_tracking = False
        self.is_closed = False
        self.is_cutting = False
        self._in_flight: set[CancelScope] = set()
        self._empty: Event | None = None

    def open(self) -> None:
        """Let calls in, and keep account of them."""
        self.is_tracking = True
        self.is_closed = self.is_cutting = False

    def enter(self, scope: CancelScope) -> None:
        """A call begins; `scope` ends it."""
        if self.is_tracking:
            self._in_flight.add(scope)

    def leave(self, scope: CancelScope) -> None:
        """A call has ended."""
        self._in_flight.discard(scope)
        if self._empty is not None and not self._in_flight:
            self._empty.set()

    async def drain(self, timeout_s: float | None) -> None:
        """Close; wait for the calls in flight; cancel those that take longer.

        Args:
            timeout_s: seconds to wait. None: as long as it takes.
        """
        self.is_closed = True
        self._empty = Event()
        if self._in_flight:
            with move_on_after(timeout_s):
                await self._empty.wait()
        late = list(self._in_flight)
        self.is_cutting = bool(late)
        for scope in late:
            scope.cancel()
        if late:
            await self._empty.wait()  # until each has put its bill on record
