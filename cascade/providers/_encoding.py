"""The Content-Encoding of an answer undone, within a bound: a few bytes may stand for a great many.

Only what the requests ask for is undone, gzip and deflate (RFC 9110, section 8.4.1).
"""

from __future__ import annotations

import zlib
from typing import Final

__all__ = [
    "ACCEPTED",
    "ENCODING_ERRORS",
    "MAX_ANSWER_BYTES",
    "AnswerTooLargeError",
    "BrokenEncodingError",
    "Decoder",
]

ACCEPTED: Final = "gzip, deflate"

# Far beyond any answer with all its log-probabilities; a server gone mad must not take the memory.
MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024

_ANY_HEADER: Final = zlib.MAX_WBITS | 32  # gzip or zlib, whichever the data begin with
_KNOWN: Final = frozenset({"gzip", "x-gzip", "deflate"})


class AnswerTooLargeError(Exception):
    """The server sends more than any answer is long."""

    def __init__(self) -> None:
        super().__init__(f"more than {MAX_ANSWER_BYTES} bytes")


class BrokenEncodingError(Exception):
    """The bytes are not in the encoding that the server names."""


ENCODING_ERRORS: Final = (AnswerTooLargeError, BrokenEncodingError)


class Decoder:
    """Undoes the encodings of one answer, piece by piece.

    Args:
        encodings: the header's value, the last applied one last. None: there is none.
    """

    __slots__ = ("_layers", "_room")

    def __init__(self, encodings: str | None) -> None:
        names = [name.strip().lower() for name in (encodings or "").split(",")]
        self._layers = [_Layer() for name in reversed(names) if name in _KNOWN]
        self._room = MAX_ANSWER_BYTES

    def feed(self, data: bytes) -> bytes:
        """What `data` adds to the answer.

        Raises:
            AnswerTooLargeError: all pieces together are longer than an answer may be.
            BrokenEncodingError: the data cannot be decoded.
        """
        for layer in self._layers:
            data = layer.feed(data, self._room)
        self._room -= len(data)
        if self._room < 0:
            raise AnswerTooLargeError
        return data


class _Layer:
    """One encoding."""

    __slots__ = ("_begun", "_inflate")

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_ANY_HEADER)
        self._begun = False

    def feed(self, data: bytes, room: int) -> bytes:
        """What `data` stands for, when that is no longer than `room`."""
        if self._inflate.eof:
            return b""  # what follows is no part of the answer
        try:
            decoded = self._inflate.decompress(data, room + 1)
        except zlib.error:
            if self._begun:
                raise BrokenEncodingError from None
            decoded = self._without_header(data, room)
        if self._inflate.unconsumed_tail:
            raise AnswerTooLargeError
        self._begun = self._begun or bool(data)
        return decoded

    def _without_header(self, data: bytes, room: int) -> bytes:
        # Some servers send "deflate" without the header of zlib.
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            return self._inflate.decompress(data, room + 1)
        except zlib.error:
            raise BrokenEncodingError from None
