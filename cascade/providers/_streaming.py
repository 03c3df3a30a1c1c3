"""An answer asked for as an event stream, and put together to what a plain call would have got.

What streaming is for here is the first token: when it does not come in time the call is ended,
long before an answer would be late.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from anyio import CancelScope, current_effective_deadline, current_time

from cascade.errors import BadResponseError, ProviderError, ProviderTimeoutError
from cascade.providers._failures import embedded_error, label
from cascade.providers._http import encode, exchange, read_object
from cascade.providers._sse import Event, EventReader

if TYPE_CHECKING:
    from cascade.providers import Endpoint
    from cascade.providers._pool import Reply
    from cascade.types import Usage

__all__ = ["Assembly", "post_streamed"]

DRAIN_S: Final = 0.1
"""Seconds that a finished stream is read on for its end, so that its connection can be reused."""


class Assembly(Protocol):
    """Puts the events of one wire format together."""

    @property
    def has_begun(self) -> bool:
        """Whether the first token has come: of text, of reasoning, or of a tool call."""
        ...

    @property
    def has_finished(self) -> bool:
        """Whether the model has said why it ended."""
        ...

    @property
    def is_last(self) -> bool:
        """Whether no event can follow."""
        ...

    def take(self, event: Mapping[str, Any]) -> None:
        """Add an event. Those of an unknown kind are passed over."""
        ...

    def usage(self) -> Usage | None:
        """What the stream has said of its whole bill so far. None: nothing."""
        ...

    def body(self) -> dict[str, Any]:
        """What a plain call would have been answered."""
        ...


async def post_streamed(
    endpoint: Endpoint,
    path: str,
    headers: Mapping[str, str],
    body: Mapping[str, Any],
    assembly: Assembly,
) -> dict[str, Any]:
    """POST a JSON object that asks for a stream, and return the object that the stream amounts to.

    A server may answer with a plain JSON object all the same.

    Raises:
        ProviderTimeoutError: no token came within the endpoint's `first_token_s`.
        ProviderError: there was no answer, an error, or a stream that broke off.
    """
    who, first_token_s = label(endpoint), endpoint.first_token_s
    content = encode(who, body)
    reply: Reply | ProviderError | None = None
    starting_s = math.inf if first_token_s is None else first_token_s
    scope = CancelScope(deadline=current_time() + starting_s)
    reading = _Reading(who, assembly, scope)
    with scope:
        reply = await exchange(endpoint, path, headers, content, reading.take)
    if reply is None and not reading.is_done:
        raise ProviderTimeoutError(f"{who}: no first token in {first_token_s} s")
    if reply is not None and not isinstance(reply, ProviderError) and reply.body is not None:
        return read_object(who, reply)
    return reading.result(reply if isinstance(reply, ProviderError) else None)


class _Reading:
    """One stream being read.

    Attributes:
        is_done: the stream has said that it is at its end.
    """

    __slots__ = ("_assembly", "_error", "_events", "_scope", "_who", "is_done")

    def __init__(self, who: str, assembly: Assembly, scope: CancelScope) -> None:
        self._who = who
        self._assembly = assembly
        self._scope = scope  # cancels what is late: the first token, and after the end the rest
        self._events = EventReader()
        self._error: ProviderError | None = None
        self.is_done = False

    def take(self, piece: bytes) -> bool:
        """Read on. False: what comes is of no use."""
        return self._take_all(self._events.feed(piece))

    def result(self, broken: ProviderError | None) -> dict[str, Any]:
        """The object that was streamed.

        Args:
            broken: why the connection ended early. None: it did not.

        Raises:
            ProviderError: the stream was one, or it is not complete.
        """
        if broken is None and self._error is None:
            self._take_all(self._events.finish())
        assembly = self._assembly
        if self.is_done or (assembly.has_finished and not (broken or self._error)):
            return assembly.body()
        error = self._error or broken
        if error is None:
            error = BadResponseError(
                f"{self._who}: the stream ended before the answer did", body=assembly.body()
            )
        # What was begun is not refused unbilled, whatever the error is.
        if assembly.has_begun or error.usage is None:
            error.usage = assembly.usage()
        self._error = None  # or its traceback would lead back to it
        raise error

    def _take_all(self, events: list[Event]) -> bool:
        for event in events:
            if self.is_done:
                break
            self._error = self._take(event)
            if self._error is not None:
                return False
        return True

    def _take(self, event: Event) -> ProviderError | None:
        if event.data.strip() == b"[DONE]":
            self._end()
            return None
        said = _parse(event.data)
        if event.name == "error" or (said is not None and said.get("error")):
            told = {"error": event.data.decode(errors="replace")} if said is None else said
            return embedded_error(self._who, {}, told)
        if said is None:
            return BadResponseError(f"{self._who}: an event of the stream is no JSON object")
        had_begun = self._assembly.has_begun
        self._assembly.take(said)
        if self._assembly.has_begun and not had_begun:
            self._scope.deadline = math.inf
        if self._assembly.is_last:
            self._end()
        return None

    def _end(self) -> None:
        self.is_done = True
        self._scope.deadline = math.inf
        left_s = current_effective_deadline() - current_time()
        # Whoever waits for the answer must not miss a deadline for what follows it.
        self._scope.deadline = current_time() + min(DRAIN_S, max(left_s, 0.0) / 2)


def _parse(data: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", said) if isinstance(said, dict) else None
