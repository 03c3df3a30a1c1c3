"""What deciding a route costs: rules over signals, by the length of the prompt.

    python benchmarks/routing_speed.py [--router router.json]

The first table times the decision alone (`explain` shows the same one): a cheap rule set that asks
for one declared and one counted signal, and one that asks for all that read the text. The second
runs whole calls, answered from memory, beside a task that only counts how long it was kept
waiting: the longest block of the event loop. With --router, a file that `cascade learn` wrote, the
learned router is timed beside the rules. Prompts are English text, and the worst of several
texts made to be slow to read. All in one process: read the ratios, the microseconds are this
machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from timing import Call, microseconds_per_call, table

from cascade import Cascade, Request, Rule, Tier
from cascade.learn import LearnedRouter
from cascade.observing import NO_LABELS

SIZES: Final[Mapping[str, int]] = {
    "200 B": 200,
    "2 kB": 2_000,
    "200 kB": 200_000,
    "2 MB": 2_000_000,
}
ENGLISH: Final = (
    "Please compare the two plans below, and tell me which one costs less over 12 months? "
    "It must include support on weekends; the total should not be above 480 USD per seat.\n"
)
SLOW: Final = ("a", " ", "?", "1. ", "and what ", "write a ", "{\n", "at most ", "我", "é ")
CHEAP: Final = (
    Rule("autocomplete", when={"feature": "autocomplete"}, tier="small"),
    Rule("long", when={"input_tokens": ">8000"}, first="large"),
)
FULL: Final = (
    Rule("autocomplete", when={"feature": "autocomplete"}, tier="small"),
    Rule("foreign", when={"language": ["ja", "zh", "ko"]}, first="large"),
    Rule("code", when={"task": ["coding", "planning"], "has_code": True}, first="large"),
    Rule("several", when={"questions": ">30", "demands": ">300"}, first="large"),
    Rule("pictures", when={"images": ">0"}, tier="large"),
    Rule("numbers", when={"has_numbers": False, "turns": ">50"}, tier="small"),
    Rule("long", when={"input_tokens": ">8000000"}, first="large"),
)
BLOCKS: Final = 40


async def answered(request: Request) -> str:
    """A model that takes no time."""
    return "yes"


def cascade(*rules: Rule, router: LearnedRouter | None = None) -> Cascade:
    """Tiers that answer from memory, and rules; those of the router where there is one."""
    names = ["small", "large"] if router is None else [head.tier for head in router.model.heads]
    tiers = [Tier(name, call=answered) for name in names]
    return Cascade(tiers=tiers, rules=rules, router=router)


def prompt(piece: str, size: int) -> Request:
    """A request of so many bytes, of one piece over and over."""
    return Request(
        (piece.encode() * (size // len(piece.encode()) + 1))[:size].decode(errors="ignore")
    )


def decision(chosen: Cascade, request: Request) -> Call:
    """What is timed: the route of one request, and nothing sent."""
    plan = chosen.plan()

    async def decide() -> None:
        chosen.route(plan, (request,), {}, NO_LABELS)

    return decide


def slowest(chosen: Cascade, size: int) -> Request:
    """The one of the slow texts that this decision takes longest over."""

    def took_s(request: Request) -> float:
        plan, times = chosen.plan(), []
        for _ in range(3):
            started = time.perf_counter()
            chosen.route(plan, (request,), {}, NO_LABELS)
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    return max((prompt(piece, size) for piece in SLOW), key=took_s)


async def decisions(router: LearnedRouter | None) -> str:
    """The decision alone."""
    cheap, full = cascade(*CHEAP), cascade(*FULL)
    rows: list[tuple[str, ...]] = [("", *SIZES)]
    kinds = {
        "2 rules, no text read": lambda size: decision(cheap, prompt(ENGLISH, size)),
        "7 rules, all of it read": lambda size: decision(full, prompt(ENGLISH, size)),
        "7 rules, slowest text": lambda size: decision(full, slowest(full, size)),
    }
    if router is not None:
        learned = cascade(router=router)
        kinds["learned router"] = lambda size: decision(learned, prompt(ENGLISH, size))
        kinds["learned, slowest text"] = lambda size: decision(learned, slowest(learned, size))
    for title, make in kinds.items():
        calls = {name: make(size) for name, size in SIZES.items()}
        times = await microseconds_per_call(calls)
        rows.append((title, *(f"{times[name]:.0f}" for name in SIZES)))
    return table("microseconds per decision", rows)


def variants(router: LearnedRouter | None) -> dict[str, Cascade]:
    """A cascade without rules, with rules, and with the router."""
    made = {"no rules": cascade(), "7 rules": cascade(*FULL)}
    return made if router is None else {**made, "learned router": cascade(router=router)}


async def calls(router: LearnedRouter | None) -> str:
    """A whole call without and with rules."""
    rows: list[tuple[str, ...]] = [("", *SIZES)]
    for title, chosen in variants(router).items():
        each: dict[str, Call] = {
            name: partial(chosen.run, prompt(ENGLISH, size)) for name, size in SIZES.items()
        }
        times = await microseconds_per_call(each)
        rows.append((title, *(f"{times[name]:.0f}" for name in SIZES)))
    return table("microseconds per call, answered from memory", rows)


async def longest_block_ms(chosen: Cascade, request: Request) -> float:
    """The longest time another task was kept waiting while calls ran one after the other.

    In processor time of this thread, so that what other processes do is not counted.
    """
    longest = 0.0
    done = asyncio.Event()

    async def watch() -> None:
        nonlocal longest
        last = time.thread_time()
        while not done.is_set():
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, last = max(longest, now - last), now

    await chosen.run(request)
    gc.collect()
    gc.disable()
    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    for _ in range(BLOCKS):
        await chosen.run(request)
        await asyncio.sleep(0)
    done.set()
    await watching
    gc.enable()
    return longest * 1e3


async def blocks(router: LearnedRouter | None) -> str:
    """The longest block with rules, and without, which is what a call does anyhow."""
    rows: list[tuple[str, ...]] = [("", *SIZES)]
    for title, chosen in variants(router).items():
        english = [await longest_block_ms(chosen, prompt(ENGLISH, size)) for size in SIZES.values()]
        rows.append((f"{title}, English", *(f"{ms:.2f}" for ms in english)))
        slow = [await longest_block_ms(chosen, slowest(chosen, size)) for size in SIZES.values()]
        rows.append((f"{title}, slowest text", *(f"{ms:.2f}" for ms in slow)))
    return table(f"longest block of the event loop in {BLOCKS} calls, ms", rows)


async def main(file: Path | None) -> None:
    """Print the tables."""
    router = None if file is None else LearnedRouter.load(file)
    for made in (decisions, calls, blocks):
        print(await made(router))
        print()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What deciding a route costs.")
    parser.add_argument("--router", type=Path, help="a file that `cascade learn` wrote")
    asyncio.run(main(parser.parse_args().router))
