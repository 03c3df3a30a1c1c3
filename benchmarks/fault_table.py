"""Every way a provider breaks, and what a cascade is to make of it.

The table is data: `benchmarks/faults.py` prints it with what was seen, `tests/test_faults.py` runs
it as tests. The server is a real one on the loopback interface.
"""

from __future__ import annotations

import gc
import gzip
import json
import socket
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from time import perf_counter
from typing import Any, Final, Literal

import anyio

from cascade import (
    Answer,
    Cascade,
    CascadeExhausted,
    Path,
    Price,
    Result,
    Retries,
    Tier,
)
from cascade.providers import close_connections
from cascade.simulated import Drip, Hang, HttpRequest, Reply, Reset, Server, Truncate, serve
from cascade.simulated.http import Outcome as Sent

KEY: Final = "sk-canary-0123456789"
PROMPT: Final = "the prompt of the fault table"
USD: Final = Price(input=1, output=1)
BUDGET_S: Final = 20.0  # never met: what hangs is ended by the tier's own timeout
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
    """

    name: str
    send: Callable[[], Sent] | None
    outcome: str
    reason: str
    sends: int = 1
    bill: Bill = "unknown"
    patience_s: float = 10.0


@dataclass(frozen=True)
class Seen:
    """What became of one row: of the call up the ladder, and of the cheap tier asked alone."""

    outcome: str
    reason: str
    sends: int
    escalated: bool
    cost_usd: Decimal | None
    raised: str
    wall_s: float
    told: str
    """Everything an error or a log line may show."""


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
)


def says_hello(answer: Answer[Any], context: object) -> bool:
    """The one validator of the table."""
    return answer.text == "hello"


async def play(fault: Fault) -> Seen:
    """One row: the call up the ladder, then the cheap tier alone, each with fresh tiers."""
    started = perf_counter()
    async with _servers(fault) as (faulty, address, good):
        result = await _cascade(fault, address, good).run(PROMPT, path="ladder")
        wall_s, sends = perf_counter() - started, len(faulty.requests)
        raised, told = "-", [repr(result)]
        try:
            await _cascade(fault, address, good).run(PROMPT, path="alone")
        except CascadeExhausted as error:
            attempt = error.attempts[0]
            raised = type(attempt.error).__name__ if attempt.error else attempt.reason
            told += [repr(error), *traceback.format_exception(error)]
    told += [line for error in _errors(result) for line in traceback.format_exception(error)]
    first = result.attempts[0]
    # A refused connection sends nothing that a server could count.
    sends = len(first.charges) if fault.send is None else sends
    return Seen(
        first.outcome,
        first.reason,
        sends,
        result.tier == "large",
        first.cost_usd,
        raised,
        wall_s,
        "\n".join(told),
    )


def expected_cost_usd(fault: Fault) -> Decimal | None:
    """The cheap tier's part of the bill."""
    by_bill = {"nothing": Decimal(0), "unknown": None, "known": COST_USD}
    return by_bill[fault.bill]


def open_sockets() -> int:
    """Sockets of this process that are not closed, those nobody holds any more left out."""
    gc.collect()
    sockets = [one for one in gc.get_objects() if isinstance(one, socket.socket)]
    return sum(one.fileno() != -1 for one in sockets)


async def leaks(fault: Fault) -> tuple[Seen, int, int]:
    """`play`, with the tasks and the sockets it left behind."""
    tasks, sockets = len(anyio.get_running_tasks()), open_sockets()
    seen = await play(fault)
    await close_connections()
    await anyio.wait_all_tasks_blocked()
    return seen, len(anyio.get_running_tasks()) - tasks, open_sockets() - sockets


def _errors(result: Result[Any]) -> list[Exception]:
    return [attempt.error for attempt in result.attempts if attempt.error is not None]


def _cascade(fault: Fault, address: str, good: Server) -> Cascade:
    small = Tier(
        "small",
        model="openai:small",
        base_url=address,
        api_key=KEY,
        price=USD,
        timeout_s=fault.patience_s,
        retries=Retries(1, base_s=0.001),
    )
    large = Tier("large", model="openai:large", base_url=good.url, api_key=KEY, price=USD)
    return Cascade(
        tiers=[small, large],
        validators=[says_hello],
        paths={
            "ladder": Path(budget_s=BUDGET_S + fault.patience_s),
            "alone": Path(budget_s=BUDGET_S + fault.patience_s, direct="small"),
        },
    )


@asynccontextmanager
async def _servers(fault: Fault) -> AsyncIterator[tuple[Server, str, Server]]:
    async def broken(request: HttpRequest) -> Sent:
        return Reset() if fault.send is None else fault.send()

    async def well(request: HttpRequest) -> Sent:
        return Reply(body=COMPLETION)

    async with serve(broken) as faulty, serve(well) as good:
        yield faulty, faulty.url if fault.send else await _nobodys_address(), good


async def _nobodys_address() -> str:
    async with serve(_unasked) as server:
        return server.url


async def _unasked(request: HttpRequest) -> Sent:
    return Reply(500)
