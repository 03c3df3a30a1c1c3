"""Rows that wait to be stored, and about how much content is in them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import TypeAlias

from cascade.ledger.feedback import Outcome
from cascade.ledger.rows import Record

__all__ = ["Held", "Written"]

Written: TypeAlias = Record | Outcome


class Held:
    """A queue that any thread may use.

    Attributes:
        bytes: about how many bytes of content wait in it: characters, which is what most texts
            take.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._items: deque[Written] = deque()
        self._counting = threading.Lock()

    def append(self, item: Written) -> None:
        """Put one at the end."""
        self._weigh(_bytes_of(item))
        self._items.append(item)

    def popleft(self) -> Written:
        """Take the oldest. Raises IndexError when there is none."""
        item = self._items.popleft()
        self._weigh(-_bytes_of(item))
        return item

    def take(self, most: int, most_bytes: int) -> list[Written]:
        """Take the oldest: so many at most, and with the last of them as many bytes at least."""
        taken: list[Written] = []
        held_bytes = 0
        while self._items and len(taken) < most and held_bytes < most_bytes:
            try:
                taken.append(self.popleft())
            except IndexError:  # dropped in the meantime
                break
            held_bytes += _bytes_of(taken[-1])
        return taken

    def put_back(self, items: Sequence[Written]) -> None:
        """Have them wait again, in front of all others."""
        self._weigh(sum(map(_bytes_of, items)))
        self._items.extendleft(reversed(items))

    def _weigh(self, more: int) -> None:
        if more:
            with self._counting:
                self.bytes += more

    def __len__(self) -> int:
        return len(self._items)


def _bytes_of(item: Written) -> int:
    if not isinstance(item, Record) or not item.contents:
        return 0
    return sum(len(text) for _, _, text in item.contents)
