"""What passes between a handler and the server: requests, replies and faults."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request as it arrived. Header names are lower case; `path` has no query string.

    Headers and body stay out of its repr: they hold keys and prompts.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """The body parsed as JSON. Raises ValueError when it is not JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """A well-formed HTTP reply.

    `body` is bytes as they are, or anything `json.dumps` takes. With `stream` the chunks are sent
    as they come and `body` stays unused; a stream that raises ends the connection in the middle
    of the body. `delay_s` is waited before the first byte.
    """

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    delay_s: float = 0.0
    stream: AsyncIterable[bytes] | None = None

    def __post_init__(self) -> None:
        if self.stream is not None and self.body != b"":
            raise ValueError("Reply takes a body or a stream, not both")


@dataclass(frozen=True, slots=True)
class Hang:
    """Never answers. Ends when the client or the server goes away."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Breaks the connection with a TCP reset instead of answering."""


@dataclass(frozen=True, slots=True)
class Truncate:
    """Promises the whole body in Content-Length, sends `keep` bytes of it and closes.

    With `reset` it ends in a TCP reset.
    """

    body: Any
    keep: int
    status: int = 200
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Drip:
    """The whole body, `chunk` bytes at a time with `pause_s` seconds before each."""

    body: Any
    chunk: int = 16
    pause_s: float = 0.05
    status: int = 200

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise ValueError(f"Drip chunk is {self.chunk} bytes; it must be at least 1")


@dataclass(frozen=True, slots=True)
class Garbage:
    """Bytes which are not HTTP, then the connection closes."""

    data: bytes = b"this is not HTTP\r\n\r\n"


Fault = Hang | Reset | Truncate | Drip | Garbage
Outcome = Reply | Fault
Handler = Callable[[HttpRequest], Awaitable[Outcome]]
Step = Outcome | Handler


def encode_body(body: object) -> bytes:
    """Bytes as they are; anything else as compact JSON."""
    if isinstance(body, bytes):
        return body
    return json.dumps(body, separators=(",", ":")).encode()


def script(*steps: Step, then: Step | None = None) -> Handler:
    """A handler which plays `steps` in order, one per request, and `then` for every one after.

    A step is a reply, a fault, or a handler asked for its outcome. Without `then`, a request
    past the last step is answered with status 500 and says so.
    """
    waiting = deque(steps)
    past_the_end = Reply(
        500, {"error": {"message": f"The script of {len(steps)} steps has no more steps."}}
    )

    async def handle(request: HttpRequest) -> Outcome:
        step = waiting.popleft() if waiting else (then or past_the_end)
        return await step(request) if callable(step) else step

    return handle
