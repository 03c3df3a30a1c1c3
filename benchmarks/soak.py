"""A long run under faults: memory flat, every call accounted for, the money exact.

    python benchmarks/soak.py                # 200,000 calls, 200 at once

Tiers are functions in this process that answer, break, or hang; calls are cancelled by their
callers and by their budgets; a spend cap that is never reached keeps the books. At the end the sum
of all attempts' charges must equal what the books say, to the last unit.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import sys
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path as FilePath
from typing import Any

import anyio
import anyio.lowlevel

from cascade import (
    Answer,
    Cap,
    Cascade,
    CascadeError,
    Context,
    NoAnswerError,
    OverloadedError,
    Path,
    Price,
    ProviderError,
    RateLimitError,
    Request,
    Spend,
    Tier,
    Usage,
)
from cascade.types import NO_USAGE, Attempt, Charge

# Nothing for input, so that what is reserved for a call does not depend on guesses of its tokens.
PRICES = (
    Price(input=0, output="0.4", reasoning="0.7"),
    Price(input=0, output="1.6", reasoning="1.9"),
    Price(input=0, output=15, reasoning=17),
)
HUGE_USD = 10**9


class Books:
    """Every charge of every call, as the callers saw them."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.known_usd = Decimal(0)
        self.unknown = 0

    def enter(self, attempts: tuple[Attempt, ...]) -> None:
        for attempt in attempts:
            self.outcomes[attempt.outcome] += 1
            for charge in attempt.charges:
                self._charge(charge)

    def _charge(self, charge: Charge) -> None:
        cost = charge.cost_usd
        if cost is None:
            self.unknown += 1
        else:
            self.known_usd += cost


class Model:
    """A function behind a tier: answers, breaks or hangs, and keeps the provider's own books."""

    def __init__(self, name: str, price: Price, seed: int) -> None:
        self.name = name
        self.price = price
        self.billed_usd = Decimal(0)
        self.cut_short = 0
        self._rng = random.Random(f"{seed} {name}")

    async def __call__(self, request: Request) -> Answer[str]:
        rng = self._rng
        dice = rng.random()
        if dice < 0.05:
            raise RateLimitError("later", usage=NO_USAGE)
        if dice < 0.07:
            raise OverloadedError("later", usage=NO_USAGE)
        written = rng.randrange(1, 200)
        usage = Usage(rng.randrange(1, 400), written, reasoning_tokens=rng.randrange(0, written))
        if dice < 0.09:
            self._bill(usage)
            raise ProviderError("broke after it had written", usage=usage)
        try:
            # Mostly at once; some wait, and some would wait for ever.
            await anyio.sleep(0 if dice < 0.8 else rng.random() / 50 if dice < 0.98 else 3600)
        except anyio.get_cancelled_exc_class():
            self.cut_short += 1
            raise
        self._bill(usage)
        return Answer("good" if rng.random() < 0.7 else "bad", usage=usage)

    def _bill(self, usage: Usage) -> None:
        cost = self.price.cost_usd(usage)
        if cost is not None:
            self.billed_usd += cost


def is_good(answer: Answer[Any], context: Context) -> bool:
    """The validator."""
    return answer.text == "good"


async def waits(answer: Answer[Any], context: Context) -> bool:
    """A validator that can be cancelled."""
    await anyio.lowlevel.checkpoint()
    return True


def resident_mb() -> float:
    """The memory this process holds, in MB: of now on Linux, the most so far elsewhere."""
    try:
        pages = int(FilePath("/proc/self/statm").read_text().split()[1])
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def soak(calls: int, at_once: int, seed: int) -> bool:
    """Run, print what came of it, and tell whether everything adds up."""
    models = [Model(f"tier{i}", price, seed) for i, price in enumerate(PRICES)]
    spend = Spend(caps=[Cap(HUGE_USD, per="total")])
    cascade = Cascade(
        tiers=[Tier(model.name, call=model, price=model.price) for model in models],
        validators=[is_good, waits],
        paths={
            "plain": Path(budget_s=0.2),
            "short": Path(budget_s=0.005),
            "hedged": Path(budget_s=0.2, hedge=0.01),
            "best": Path(budget_s=0.2, on_exhausted="best"),
        },
        spend=spend,
    )
    books = Books()
    rng = random.Random(seed)
    offered = iter(range(calls))
    memory_mb: list[float] = []

    async def call(number: int) -> None:
        path = rng.choice(list(cascade.paths))
        with anyio.move_on_after(rng.random() / 100 if rng.random() < 0.05 else None) as scope:
            try:
                result = await cascade.run("how are you?", path=path)
            except NoAnswerError as error:
                books.enter(error.attempts)
                books.calls[type(error).__name__] += 1
            except CascadeError as error:
                books.calls[type(error).__name__] += 1
            else:
                books.enter(result.attempts)
                books.calls["accepted" if result.accepted else f"best ({result.reason})"] += 1
        if scope.cancelled_caught:
            books.calls["cancelled by the caller"] += 1

    async def work() -> None:
        for number in offered:
            await call(number)
            if number % (calls // 10 or 1) == 0:
                gc.collect()
                memory_mb.append(resident_mb())

    started = time.perf_counter()
    async with anyio.create_task_group() as group:
        for _ in range(at_once):
            group.start_soon(work)
    took_s = time.perf_counter() - started
    return await report(calls, took_s, books, models, spend, memory_mb)


async def report(
    calls: int,
    took_s: float,
    books: Books,
    models: list[Model],
    spend: Spend,
    memory_mb: list[float],
) -> bool:
    """Print the books, each check with what it found, and tell whether all hold."""
    print(f"{calls:,} calls in {took_s:.0f} s ({calls / took_s:,.0f} a second)")
    for what, counts in (("calls", books.calls), ("attempts", books.outcomes)):
        print(f"{what}: " + ", ".join(f"{n:,} {name}" for name, n in sorted(counts.items())))
    billed = sum((model.billed_usd for model in models), Decimal(0))
    cut_short = sum(model.cut_short for model in models)
    request = Request("how are you?")
    held = sum(
        (spend.estimate_usd(Tier(m.name, call=m, price=m.price), (request,)) * m.cut_short
         for m in models),
        Decimal(0),
    )  # fmt: skip
    counted = await counted_usd(spend)
    left = len(asyncio.all_tasks()) - 1
    late_mb = memory_mb[len(memory_mb) // 2 :]
    low_mb, high_mb = min(late_mb), max(late_mb)
    print(f"the providers billed ${billed}; {cut_short:,} calls cut short count as ${held}")
    print(f"callers saw ${books.known_usd} of it: calls they cancelled themselves have no result")
    checks = {
        f"every call ended one way: {books.calls.total():,}": books.calls.total() == calls,
        f"no task is left: {left}": left == 0,
        f"memory is flat over the second half: {low_mb:.1f} to {high_mb:.1f} MB": (
            high_mb < low_mb * 1.1 + 0.5
        ),
        f"the spend books say ${counted}, to the last unit": counted == billed + held,
        "no caller saw more than was billed": books.known_usd <= billed,
    }
    for check, holds in checks.items():
        print(("ok    " if holds else "WRONG ") + check)
    return all(checks.values())


async def counted_usd(spend: Spend) -> Decimal:
    """What the spend caps count as spent."""
    limits = spend.for_call().limits()
    ((store, accounts),) = limits.items()
    spent = await store.spent([limit.account for limit, _ in accounts], spend.clock())
    return sum(spent.values(), Decimal(0))


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--at-once", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.exit(0 if asyncio.run(soak(options.calls, options.at_once, options.seed)) else 1)


if __name__ == "__main__":
    main()
