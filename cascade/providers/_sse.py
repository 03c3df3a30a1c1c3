"""Server-sent events, read from bytes that come in any pieces.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["Event", "EventReader"]

_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name ("" when it has none) and its data, lines joined by line feeds."""

    name: str
    data: bytes


class EventReader:
    """Turns the pieces of one event stream into its events, in time that grows with its length."""

    __slots__ = ("_after_cr", "_data", "_is_first", "_name", "_partial")

    def __init__(self) -> None:
        self._partial: list[bytes] = []  # the pieces of a line whose end has not come yet
        self._after_cr = False
        self._is_first = True
        self._name = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes."""
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]  # the second half of a line's end
            self._after_cr = False
        if not chunk:
            return []
        self._after_cr = chunk.endswith(b"\r")
        lines = chunk.splitlines()  # of bytes: at CR, LF and CRLF, and nowhere else
        rest = b"" if chunk.endswith((b"\r", b"\n")) else lines.pop()
        if lines and self._partial:
            lines[0] = b"".join((*self._partial, lines[0]))
            self._partial.clear()
        if rest:
            self._partial.append(rest)
        return [event for line in lines if (event := self._take(line)) is not None]

    def finish(self) -> list[Event]:
        """What is left at the end of the stream.

        The specification drops an event without an empty line after it. Servers forget that line
        after their last one, so it is read here; whether it was cut is for the reader to see.
        """
        line = b"".join(self._partial)
        self._partial.clear()
        left = (self._take(line) if line else None, self._take(b""))
        return [event for event in left if event is not None]

    def _take(self, line: bytes) -> Event | None:
        if self._is_first:
            self._is_first = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")  # a comment's field is empty
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value
        return None

    def _dispatch(self) -> Event | None:
        name, data = self._name, self._data
        self._name, self._data = b"", []
        return Event(name.decode(errors="replace"), b"\n".join(data)) if data else None
