"""A learned router on real recordings: Mixtral-8x7B against GPT-4, and what a decision takes.

    python benchmarks/routing.py --data ../shared/data

The recordings are those of RouteLLM (MMLU and GSM8K), and so are the measures. The training code is
the product's; every query is judged by a router that was trained on the other four fifths, from its
prompt alone. The published figures are of routers trained on other data (Chatbot Arena votes,
partly with labelled examples of the benchmark's kind) and on the whole of both sets; ours learn
from the benchmark's own answers. So the comparison is of what can be reached, not of like with
like.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from timing import table

from cascade import Cascade, Price, Rule, Tier
from cascade.learn import LearnedRouter
from cascade.learn.assess import out_of_fold
from cascade.learn.curves import Measures, lower_bound, measures
from cascade.learn.examples import Examples, training_rows
from cascade.learn.training import train
from cascade.signals import Signals

TIERS = {"weak": "mistralai/Mixtral-8x7B-Instruct-v0.1", "strong": "gpt-4-1106-preview"}

# Best published APGR, and the best CPT(50 %), by task. CPT(80 %) is given for each of our own only.
PUBLISHED = {"mmlu": (0.603, 0.354), "gsm8k": (0.622, 0.336)}
ROUNDS = 30


def load(data: Path, task: str) -> Examples:
    """The recordings of one task, with their prompts."""
    return training_rows(
        [data / "routellm.jsonl.gz"], [data / "routellm.prompts.jsonl.gz"], TIERS, {"task": [task]}
    )


def quality(examples: Examples, task: str, seeds: int) -> list[tuple[str, ...]]:
    """The rows of one task: random, published, and ours over several ways to cut the folds."""
    leads = [strong - weak for weak, strong in examples.correct]
    found: list[Measures] = []
    lows: list[float] = []
    for seed in range(seeds):
        chances = out_of_fold(examples, seed=seed).chances
        gains = chances[:, -1] - chances[:, 0]
        found.append(measures(gains, leads))
        lows.append(lower_bound(gains, leads, seed=seed))
    spread = statistics.pstdev(one.apgr for one in found)
    mean = Measures(*(statistics.fmean(column) for column in zip(*found, strict=True)))
    apgr, cpt50 = PUBLISHED[task]
    return [
        (f"{task}, random mixing", ".500", "50.0%", "80.0%", ""),
        (f"{task}, best published", f"{apgr:.3f}", f"{cpt50:.1%}", "", ""),
        (
            f"{task}, ours ({len(examples)} queries)",
            f"{mean.apgr:.3f} ±{spread:.3f}",
            f"{mean.cpt50:.1%}",
            f"{mean.cpt80:.1%}",
            f"{min(lows):.3f}",
        ),
    ]


def microseconds(call: Callable[[], Any]) -> float:
    """The median time of a call."""
    times: list[float] = []
    call()
    gc.collect()
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(10):
            call()
        times.append((time.perf_counter() - started) / 10)
    return statistics.median(times) * 1e6


def ruled() -> Cascade:
    """A cascade with rules of the usual kinds; its tiers are never asked."""
    tiers = [
        Tier("weak", model="simulated:sim-small", price=Price(input=1, output=1)),
        Tier("strong", model="simulated:sim-large", price=Price(input=9, output=9)),
    ]
    rules = [
        Rule("long", when={"input_tokens": ">8000"}, first="strong"),
        Rule("reasoning", when={"task": ["reasoning", "planning"]}, first="strong"),
        Rule("many questions", when={"questions": ">4"}, first="strong"),
    ]
    return Cascade(tiers=tiers, rules=rules)


def times(examples: Examples) -> list[tuple[str, ...]]:
    """What a decision takes, and the longest time that one holds up the event loop."""
    router = LearnedRouter(train(examples))
    rules = ruled()
    whole = "\n".join(examples.texts)
    names = list(TIERS)
    rows = [("prompt", "learned router", "rules and signals", "longest block, learned")]
    for size in (200, 2_000, 200_000):
        text = whole[:size]
        signals = Signals.of(text)
        rows.append(
            (
                f"{size:,} characters",
                f"{microseconds(lambda s=signals, t=text: router.choose(s, t, names)):.0f} us",
                f"{microseconds(lambda t=text: rules.explain(t)):.0f} us",
                f"{asyncio.run(longest_block(router, text)) * 1e3:.2f} ms",
            )
        )
    return rows


async def longest_block(router: LearnedRouter, text: str) -> float:
    """The longest gap, in seconds, between two turns of a task beside 200 decisions."""
    longest, done = 0.0, False

    async def beat() -> None:
        nonlocal longest
        last = time.perf_counter()
        while not done:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    beating = asyncio.create_task(beat())
    gc.collect()
    for _ in range(200):
        await asyncio.sleep(0)
        router.choose({}, text, list(TIERS))
    done = True
    await beating
    return longest


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the recordings")
    parser.add_argument("--seeds", type=int, default=3, help="how many ways to cut the folds")
    options = parser.parse_args()
    sets = {task: load(options.data, task) for task in PUBLISHED}
    rows = [("route", "APGR", "CPT(50 %)", "CPT(80 %)", "APGR at least")]
    for task, examples in sets.items():
        rows += quality(examples, task, options.seeds)
    print(table("Mixtral-8x7B or GPT-4, by the prompt alone, five folds", rows))
    print()
    print(table("What a decision takes", times(sets["mmlu"])))


if __name__ == "__main__":
    main()
