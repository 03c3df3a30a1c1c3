"""Latency budgets under heavy-tailed latency: who ends in time, and what it costs.

    python benchmarks/deadlines.py           # and with the extra `bench`, the peers

A server in a process of its own answers in the OpenAI format: log-normal latency, and every
twentieth call stalls for ten times as long. The small model's answer is good in 70 % of the calls,
the large one's always. Each client keeps the given number of calls in flight, over real HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.metadata
import json
import logging
import math
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from timing import table

from cascade import Answer, Cascade, Context, Path, Price, Tier
from cascade.providers import prepare
from cascade.simulated import HttpRequest, Reply, serve

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

MEDIAN_S = {"small": 0.12, "large": 0.35}
SIGMA = 0.5
STALLS, STALL_FACTOR = 0.05, 10
GOOD_SHARE = 0.7  # of the small model's answers
INPUT_TOKENS, OUTPUT_TOKENS = 200, 50
PRICES = {"small": Price(input=0.05, output=0.4), "large": Price(input=3, output=15)}
GRACE_S = 0.010
BUDGETS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
CLIENTS = ("cascade", "cascade, hedged", "litellm", "langchain-core")

Ask = Callable[[str], Awaitable["Ended"]]


@dataclass(slots=True)
class Ended:
    """What one call came to; the cost of calls that were cut short is not known to a client."""

    accepted: bool
    cost_usd: Decimal = Decimal(0)
    cut_short: int = 0


@dataclass(slots=True)
class Figures:
    """What all calls of one client at one budget came to."""

    took_s: list[float] = field(default_factory=list)
    accepted: int = 0
    cost_usd: Decimal = Decimal(0)
    cut_short: int = 0


async def answer(request: HttpRequest) -> Reply:
    """The server's answer: how long it takes and how good it is depend on the request alone."""
    body = request.json()
    model, question = body["model"], body["messages"][0]["content"]
    rng = random.Random(f"{model} {question}")
    latency_s = MEDIAN_S[model] * math.exp(rng.gauss(0, SIGMA))
    if rng.random() < STALLS:
        latency_s *= STALL_FACTOR
    is_good = model == "large" or rng.random() < GOOD_SHARE
    message = {"role": "assistant", "content": "good" if is_good else "bad"}
    usage = {
        "prompt_tokens": INPUT_TOKENS,
        "completion_tokens": OUTPUT_TOKENS,
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    }
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    reply = {"id": "1", "object": "chat.completion", "created": 0, "model": model}
    return Reply(body={**reply, "choices": [choice], "usage": usage}, delay_s=latency_s)


async def serve_until_closed() -> None:
    """Serve, print the address, and end when standard input does."""
    async with serve(answer, keep_requests=0) as server:
        print(server.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


def is_good(answer: Answer[Any], context: Context) -> bool:
    """The validator."""
    return answer.text == "good"


def engine(url: str, budget_s: float, hedge: Any) -> Ask:
    """The cascade on a path with a budget."""
    tiers = [
        Tier(
            name,
            model=f"openai:{name}",
            base_url=f"{url}/v1",
            price=PRICES[name],
            latency_s=MEDIAN_S[name],
        )
        for name in MEDIAN_S
    ]
    cascade = Cascade(
        tiers=tiers,
        validators=[is_good],
        paths={"p": Path(budget_s=budget_s, hedge=hedge)},
        on_exhausted="best",
    )

    async def ask(question: str) -> Ended:
        result = await cascade.run(question, path="p")
        charges = [charge for attempt in result.attempts for charge in attempt.charges]
        unknown = sum(charge.cost_usd is None for charge in charges)
        return Ended(result.accepted, result.known_cost_usd, unknown)

    return ask


def litellm_router(url: str, budget_s: float) -> Ask:
    """LiteLLM's Router with the budget as its timeout and the large model as the fallback."""
    import litellm

    litellm.suppress_debug_info = True
    for name in ("LiteLLM", "LiteLLM Router"):  # a traceback a call would be what is measured
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    router = litellm.Router(
        model_list=[
            {
                "model_name": name,
                "litellm_params": {
                    "model": f"openai/{name}",
                    "api_base": f"{url}/v1",
                    "api_key": "none",
                },
            }
            for name in MEDIAN_S
        ],
        fallbacks=[{"small": ["large"]}],
        timeout=budget_s,
        num_retries=0,
    )

    async def ask(question: str) -> Ended:
        messages: list[Any] = [{"role": "user", "content": question}]
        try:
            reply = await router.acompletion(model="small", messages=messages)
        except Exception:  # of whatever kind: it is a call without an answer
            return Ended(accepted=False, cut_short=1)
        # It has no validators: a bad answer is returned like a good one.
        return Ended(reply.choices[0].message.content == "good", _cost_of(reply.model))

    return ask


def with_fallbacks(url: str, budget_s: float) -> Ask:
    """LangChain's with_fallbacks over httpx calls that each have the budget as their timeout."""
    import httpx
    from langchain_core.runnables import RunnableLambda

    client = httpx.AsyncClient(
        timeout=budget_s, limits=httpx.Limits(max_connections=None), trust_env=False
    )

    def model(name: str) -> RunnableLambda[str, str]:
        async def post(question: str) -> str:
            messages = [{"role": "user", "content": question}]
            reply = await client.post(
                f"{url}/v1/chat/completions", json={"model": name, "messages": messages}
            )
            return f"{name} {reply.json()['choices'][0]['message']['content']}"

        def never(question: str) -> str:
            raise NotImplementedError

        return RunnableLambda(never, afunc=post)

    chain = model("small").with_fallbacks([model("large")])

    async def ask(question: str) -> Ended:
        try:
            name, text = (await chain.ainvoke(question)).split()
        except httpx.HTTPError:
            return Ended(accepted=False, cut_short=2)
        return Ended(text == "good", _cost_of(name), int(name == "large"))

    return ask


def _cost_of(model: str) -> Decimal:
    name = next(name for name in MEDIAN_S if name in model)
    usd_per_million = {"small": Decimal("0.05") * 200 + Decimal("0.4") * 50, "large": Decimal(1350)}
    return usd_per_million[name] / 10**6


async def load(ask: Ask, calls: int, at_once: int) -> Figures:
    """Make `calls` calls, so many at once, each worker beginning the next when its last ended."""
    figures = Figures()
    questions = iter(range(calls))

    async def work() -> None:
        for question in questions:
            started = time.perf_counter()
            ended = await ask(f"question {question}")
            figures.took_s.append(time.perf_counter() - started)
            figures.accepted += ended.accepted
            figures.cost_usd += ended.cost_usd
            figures.cut_short += ended.cut_short

    await asyncio.gather(*(ask(f"warm up {i}") for i in range(at_once)))
    gc.collect()
    gc.freeze()  # a collection of all that was imported would stall every call in flight
    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
            # Not all in one instant, so that they do not all end in one instant either.
            await asyncio.sleep(0.5 / at_once)
    return figures


def clients(asked_for: list[str] | None) -> dict[str, Callable[[str, float], Ask]]:
    """The cascade, hedging and not, and the peers that are installed. None: all of them."""
    found: dict[str, Callable[[str, float], Ask]] = {
        "cascade": lambda url, budget_s: engine(url, budget_s, "never"),
        "cascade, hedged": lambda url, budget_s: engine(url, budget_s, "deadline"),
    }
    peers = {"litellm": litellm_router, "langchain-core": with_fallbacks}
    for distribution, make in peers.items():
        try:
            importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            print(f"{distribution} is not installed: left out", file=sys.stderr)
            continue
        found[distribution] = make
    return {name: make for name, make in found.items() if asked_for is None or name in asked_for}


async def measure(url: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The figures of each client at each budget."""
    rows: list[dict[str, Any]] = []
    await prepare()  # as `Cascade.lifespan` does in a server
    measured = clients(options.clients)
    for budget_s in options.budgets:
        for name, make in measured.items():
            figures = await load(make(url, budget_s), options.calls, options.at_once)
            took = sorted(figures.took_s)
            rows.append(
                {
                    "budget_s": budget_s,
                    "client": name,
                    "in_time": sum(t <= budget_s + GRACE_S for t in took) / len(took),
                    "p50_s": statistics.median(took),
                    "p99_s": took[math.ceil(0.99 * len(took)) - 1],
                    "max_s": took[-1],
                    "accepted": figures.accepted / len(took),
                    "known_cost_usd": str(figures.cost_usd),
                    "cut_short": figures.cut_short,
                }
            )
    return rows


def show(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """The figures as a table."""
    head = ("budget", "client", "in time", "p50", "p99", "max", "good", "known cost", "cut short")
    lines = [head]
    lines += [
        (
            f"{row['budget_s'] * 1000:.0f} ms",
            row["client"],
            f"{row['in_time']:.1%}",
            f"{row['p50_s'] * 1000:.0f}",
            f"{row['p99_s'] * 1000:.0f}",
            f"{row['max_s'] * 1000:.0f} ms",
            f"{row['accepted']:.1%}",
            f"${Decimal(row['known_cost_usd']):.4f}",
            str(row["cut_short"]),
        )
        for row in rows
    ]
    title = f"{options.calls} calls, {options.at_once} at once; in time: within budget + 10 ms"
    return table(title, lines)


def main() -> None:
    """Start the server, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=100)
    parser.add_argument("--budgets", type=float, nargs="+", default=BUDGETS_S, help="seconds")
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, help="these alone")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve_until_closed())
        return
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        url = (server.stdout.readline() if server.stdout else "").strip()
        rows = asyncio.run(measure(url, options))
    finally:
        server.communicate()  # closes its standard input, which ends it
    print(json.dumps(rows, indent=2) if options.json else show(rows, options))


if __name__ == "__main__":
    main()
