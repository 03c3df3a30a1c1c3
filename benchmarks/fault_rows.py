"""Every way a provider breaks: what its server sends, and what is to become of the call."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal

import anyio

from cascade.simulated import Drip, Hang, Reply, Reset, Truncate
from cascade.simulated.http import Outcome as Sent

KEY: Final = "sk-canary-0123456789"
PROMPT: Final = "the prompt of the fault table"
PATIENCE_S: Final = 0.2

COMPLETION: Final[dict[str, Any]] = {
    "model": "m-1",
    "choices": [{"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}
COST_USD: Final = Decimal("0.000005")
# What real providers do at their worst: the error quotes the key and the prompt.
ECHO: Final = {"error": {"message": f"{KEY} may not say: {PROMPT}", "code": "quoted"}}

Bill = Literal["nothing", "unknown", "known"]


@dataclass(frozen=True)
class Fault:
    """One row: what the cheap tier's server does, and what is to become of the call.

    Attributes:
        send: makes what the server answers. None: nothing listens there.
        outcome, reason: of the cheap tier's attempt.
        sends: requests that were made of it, retries included.
        bill: of each of them: nothing, unknown, or known.
        patience_s: the tier's timeout, in seconds.
        first_token_s: the tier's, in seconds. None: it asks for no stream.
    """

    name: str
    send: Callable[[], Sent] | None
    outcome: str
    reason: str
    sends: int = 1
    bill: Bill = "unknown"
    patience_s: float = 10.0
    first_token_s: float | None = None


def refused(status: int, reason: str, **options: Any) -> Fault:
    """An answer with a status of failure that the provider does not bill."""
    headers = options.pop("headers", {})
    name = options.pop("name", str(status))
    return Fault(
        name,
        lambda: Reply(status, ECHO, headers=headers),
        options.pop("outcome", "failed"),
        reason,
        bill=options.pop("bill", "nothing"),
        **options,
    )


def plain(body: Any, content_type: str = "application/json", **headers: str) -> Callable[[], Sent]:
    """A success with any body."""
    return lambda: Reply(body=body, headers={"Content-Type": content_type, **headers})


def unreadable(
    name: str, body: Any, content_type: str = "application/json", *, bill: Bill = "unknown"
) -> Fault:
    """A success whose body is no answer."""
    return Fault(name, plain(body, content_type), "failed", "BadResponseError", bill=bill)


def endless(name: str, send: Callable[[], Sent]) -> Fault:
    """An answer that does not come to its end, and is ended by the tier's timeout."""
    return Fault(name, send, "timed_out", "tier_timeout", patience_s=PATIENCE_S)


async def _stalling(first: bytes) -> AsyncIterator[bytes]:
    yield first
    await anyio.sleep_forever()


async def _for_ever(event: bytes) -> AsyncIterator[bytes]:
    while True:
        yield event
        await anyio.sleep(0.01)


_BODY: Final = json.dumps(COMPLETION).encode()
_EVENT: Final = b'data: {"choices":[{"delta":{"content":"hello"}}]}\n\n'
_SSE: Final = "text/event-stream"


_DONE: Final = b"data: [DONE]\n\n"
_ROLE: Final = b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n'
_END: Final = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
_BILL: Final = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'


def streamed(
    name: str, send: Callable[[], Sent] | bytes, outcome: str, reason: str, **options: Any
) -> Fault:
    """An answer to a tier that asks for a stream: its body where it is one, or anything else."""
    defaults: dict[str, Any] = {"first_token_s": 5.0}
    answer = plain(send, _SSE) if isinstance(send, bytes) else send
    return Fault(f"stream: {name}", answer, outcome, reason, **{**defaults, **options})


def unbegun(name: str, send: Callable[[], Sent]) -> Fault:
    """A stream whose first token does not come; another try is made, as after any timeout."""
    return streamed(
        name, send, "timed_out", "ProviderTimeoutError", sends=2, first_token_s=PATIENCE_S
    )


def unending(name: str, send: Callable[[], Sent]) -> Fault:
    """A stream that begins and does not come to its end; the tier's timeout ends it."""
    return streamed(
        name,
        send,
        "timed_out",
        "tier_timeout",
        patience_s=2 * PATIENCE_S,
        first_token_s=PATIENCE_S,
    )


async def _then_stalling(*events: bytes) -> AsyncIterator[bytes]:
    for event in events:
        yield event
    await anyio.sleep_forever()


async def _breaking(*events: bytes) -> AsyncIterator[bytes]:
    for event in events:
        yield event
    raise ConnectionError("the connection ends here")


async def _long() -> AsyncIterator[bytes]:
    for _ in range(50):
        yield _EVENT.replace(b"hello", b"x" * 1_000_000)


async def _dripping(first: bytes, rest: bytes) -> AsyncIterator[bytes]:
    yield first
    for byte in rest:
        yield bytes([byte])
        await anyio.sleep(0.005)


def _large() -> Sent:
    message = {"role": "assistant", "content": "hello", "reasoning": "x" * 50_000_000}
    return Reply(body={**COMPLETION, "choices": [{"message": message, "finish_reason": "stop"}]})


def _without(field: str) -> dict[str, Any]:
    return {name: value for name, value in COMPLETION.items() if name != field}


FAULTS: Final[tuple[Fault, ...]] = (
    Fault("connection refused", None, "failed", "ProviderConnectionError", 2, "nothing"),
    Fault("reset before headers", Reset, "failed", "ProviderConnectionError", 2),
    Fault(
        "reset mid-body",
        lambda: Truncate(COMPLETION, keep=20, reset=True),
        "failed",
        "ProviderConnectionError",
        2,
    ),
    Fault(
        "body cut short",
        lambda: Truncate(COMPLETION, keep=20),
        "failed",
        "ProviderConnectionError",
        2,
    ),
    endless("headers never come", Hang),
    endless("body stalls", lambda: Reply(stream=_stalling(_BODY[:20]))),
    endless("slow drip", lambda: Drip(COMPLETION, chunk=1, pause_s=0.05)),
    refused(400, "BadRequestError"),
    refused(401, "AuthenticationError"),
    refused(403, "AuthenticationError"),
    refused(404, "BadRequestError"),
    refused(408, "ProviderTimeoutError", outcome="timed_out", sends=2, bill="unknown"),
    refused(413, "BadRequestError"),
    refused(422, "BadRequestError"),
    refused(429, "RateLimitError", sends=2),
    refused(
        429,
        "RateLimitError",
        name="429, Retry-After 0.05",
        sends=2,
        headers={"Retry-After": "0.05"},
    ),
    refused(429, "RateLimitError", name="429, Retry-After 3600", headers={"Retry-After": "3600"}),
    refused(500, "ServerError", sends=2, bill="unknown"),
    refused(502, "ServerError", sends=2, bill="unknown"),
    refused(503, "OverloadedError", sends=2),
    refused(529, "OverloadedError", sends=2),
    unreadable("invalid JSON", b'{"choices": [{"message": '),
    unreadable("empty body", b""),
    unreadable("HTML error page", b"<html><body>Bad gateway</body></html>", "text/html"),
    unreadable("null choices", {**COMPLETION, "choices": None}, bill="known"),
    unreadable("missing choices", _without("choices"), bill="known"),
    unreadable("null message", {**COMPLETION, "choices": [{"message": None}]}, bill="known"),
    Fault(
        "null content",
        plain({**COMPLETION, "choices": [{"message": {"content": None}}]}),
        "rejected",
        "says_hello:failed",
        bill="known",
    ),
    Fault("wrong content type", plain(_BODY, "text/plain"), "accepted", "", bill="known"),
    Fault(
        "gzip cut short",
        plain(gzip.compress(_BODY)[:-30], **{"Content-Encoding": "gzip"}),
        "failed",
        "BadResponseError",
    ),
    unreadable("invalid UTF-8", _BODY.replace(b"hello", b"\xff\xfe")),
    Fault("50 MB body", _large, "failed", "BadResponseError", patience_s=60),
    unreadable("SSE cut mid-event", _EVENT + _EVENT[:20], _SSE),
    unreadable("SSE with an error event", b"event: error\ndata: {}\n\n", _SSE),
    endless("SSE that never ends", lambda: Reply(stream=_for_ever(_EVENT))),
    unreadable("SSE, duplicate [DONE]", _EVENT + 2 * b"data: [DONE]\n\n", _SSE),
    Fault("missing usage", plain(_without("usage")), "accepted", ""),
    Fault(
        "gzip bomb",
        plain(gzip.compress(bytes(50_000_000)), **{"Content-Encoding": "gzip"}),
        "failed",
        "BadResponseError",
    ),
    unbegun("headers never come", Hang),
    unbegun("no token after the headers", lambda: Reply(stream=_then_stalling(_ROLE))),
    unbegun("pings and no token", lambda: Reply(stream=_for_ever(b": ping\n\n"))),
    unending("stalls", lambda: Reply(stream=_then_stalling(_EVENT))),
    unending("never ends", lambda: Reply(stream=_for_ever(_EVENT))),
    unending("slow drip", lambda: Reply(stream=_dripping(_EVENT, _EVENT * 100))),
    streamed("cut mid-event", _EVENT + _END[:20], "failed", "BadResponseError"),
    streamed("cut before its end", _EVENT, "failed", "BadResponseError"),
    streamed(
        "breaks off mid-event",
        lambda: Reply(stream=_breaking(_EVENT, _END[:20])),
        "failed",
        "ProviderConnectionError",
        sends=2,
    ),
    streamed(
        "error event", _EVENT + b"event: error\ndata: {}\n\n", "failed", "ServerError", sends=2
    ),
    streamed(
        "error event that quotes",
        b"data: " + json.dumps(ECHO).encode() + b"\n\n",
        "failed",
        "ServerError",
        sends=2,
    ),
    streamed("invalid JSON", _EVENT + b"data: {\n\n", "failed", "BadResponseError"),
    streamed("invalid UTF-8", _EVENT.replace(b"hello", b"\xff"), "failed", "BadResponseError"),
    streamed("50 MB", lambda: Reply(stream=_long()), "failed", "BadResponseError", patience_s=60),
    streamed("empty", b"", "failed", "BadResponseError"),
    streamed("duplicate [DONE]", _EVENT + _END + _BILL + 2 * _DONE, "accepted", "", bill="known"),
    streamed(
        "goes on after [DONE]",
        lambda: Reply(stream=_then_stalling(_EVENT, _END, _BILL, _DONE)),
        "accepted",
        "",
        bill="known",
    ),
    streamed("missing usage", _EVENT + _END + _DONE, "accepted", ""),
    streamed("missing [DONE]", _EVENT + _END + _BILL, "accepted", "", bill="known"),
    streamed("plain JSON instead", plain(COMPLETION), "accepted", "", bill="known"),
)
