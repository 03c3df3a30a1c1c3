"""What becomes of a call when its cheap tier breaks.

`benchmarks/faults.py` prints the rows of `benchmarks/fault_rows.py` with what was seen,
`tests/test_faults.py` runs them as tests. The server is a real one on the loopback interface.
"""

from __future__ import annotations

import gc
import socket
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from time import perf_counter
from typing import Any, Final

import anyio

from benchmarks.fault_rows import COMPLETION, COST_USD, FAULTS, KEY, PROMPT, Fault
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
from cascade.simulated import HttpRequest, Reply, Reset, Server, serve
from cascade.simulated.http import Outcome as Sent

__all__ = ["FAULTS", "KEY", "PROMPT", "Fault", "Seen", "expected_cost_usd", "leaks", "play"]

USD: Final = Price(input=1, output=1)
BUDGET_S: Final = 20.0  # never met: what hangs is ended by the tier's own timeout


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
        first_token_s=fault.first_token_s,
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
