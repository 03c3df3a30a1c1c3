"""What becomes of writers when the process forks.

What waits is the parent's to store; the child begins afresh.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Final, Protocol

__all__ = ["Forked", "survive_forks"]

_WAIT_S: Final = 1.0


class Forked(Protocol):
    """Holds threads, locks and connections, none of which survives a fork."""

    @property
    def lock(self) -> threading.Lock:
        """Held while it works."""
        ...

    def begin_afresh(self) -> None:
        """In the child: forget all that belongs to the parent."""
        ...


_known: weakref.WeakSet[Forked] = weakref.WeakSet()
_held: list[threading.Lock] = []


def survive_forks(one: Forked) -> None:
    """Have it begin afresh in every forked process, for as long as it lives."""
    _known.add(one)


def _before() -> None:
    # A thread in the middle of its work would leave the child locks that nobody ever releases,
    # SQLite's own among them.
    for one in list(_known):
        lock = one.lock
        if lock.acquire(timeout=_WAIT_S):
            _held.append(lock)


def _in_parent() -> None:
    while _held:
        _held.pop().release()


def _in_child() -> None:
    _held.clear()
    for one in list(_known):
        one.begin_afresh()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
