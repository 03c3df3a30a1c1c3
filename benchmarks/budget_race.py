"""Fifty calls at once against a cap worth five: how many are let through?

    python benchmarks/budget_race.py

Every call is answered from memory and costs one dollar. Needs nothing; LiteLLM's Router, with its
own budget of five dollars for the provider, is raced as well where it is installed.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

# Before anything imports LiteLLM: it would fetch its price list over the network.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import anyio

from cascade import Answer, Cap, Cascade, Price, Spend, SQLiteStore, Tier, Usage
from cascade.errors import NoAnswerError
from cascade.spend_store import MemoryStore, SpendStore

OFFERED = 50
WORTH = 5
CALL_S = 0.05
COUNTED_AFTER_S = 3.0  # LiteLLM counts in the background

# A thousand tokens are a dollar, and no answer may be longer.
PRICE = Price(input=0, output=Decimal(1000))
MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]


async def answer(_: Any) -> Answer[str]:
    """A model that answers from memory after a while, so that all calls overlap."""
    await anyio.sleep(CALL_S)
    return Answer("Paris.", usage=Usage(10, 1000))


async def offered(store: SpendStore, calls: int) -> int:
    """How many of so many calls at once are answered."""
    tier = Tier("small", call=answer, price=PRICE, params={"max_tokens": 1000})
    asked = Cascade(tiers=[tier], spend=Spend(caps=[Cap(WORTH, per="day")], store=store))
    answered = 0

    async def call() -> None:
        nonlocal answered
        try:
            await asked.run("What is the capital of France?")
        except NoAnswerError:
            return
        answered += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(calls):
            tasks.start_soon(call)
    return answered


def by_processes(file: Path, processes: int) -> int:
    """The same calls, offered by several processes that start together."""
    share = OFFERED // processes
    started = [
        subprocess.Popen(
            [sys.executable, __file__, str(file), str(share)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(processes)
    ]
    return sum(int(process.communicate()[0]) for process in started)


def by_cascade(folder: Path) -> list[tuple[str, int]]:
    """Each way to count, with how many calls it let through."""
    file = SQLiteStore(folder / "race.db")
    rows = [
        ("cascade, in memory", anyio.run(offered, MemoryStore(), OFFERED)),
        ("cascade, SQLite", anyio.run(offered, file, OFFERED)),
    ]
    file.close()
    rows.append(("cascade, SQLite, again after a restart", by_processes(folder / "race.db", 1)))
    rows.append(("cascade, SQLite, two processes", by_processes(folder / "two.db", 2)))
    rows.append(("cascade, SQLite, both again", by_processes(folder / "two.db", 2)))
    return rows


async def by_litellm() -> tuple[int, int]:
    """LiteLLM's Router with `provider_budget_config`, its own guard against spending too much.

    Offered twice: the second time, when it has counted what the first calls cost, shows that the
    budget is set up rightly.
    """
    import litellm
    from litellm import Router

    logging.getLogger("LiteLLM Router").setLevel(logging.CRITICAL)
    litellm.suppress_debug_info = True
    router = Router(
        model_list=[
            {
                "model_name": "small",
                "litellm_params": {
                    "model": "openai/small",
                    "api_key": "none",
                    "mock_response": "Paris.",
                    "mock_delay": CALL_S,
                    "input_cost_per_token": 0.0,
                    "output_cost_per_token": 1.0 / 3,  # its mock answer is of about three tokens
                },
            }
        ],
        provider_budget_config={"openai": {"time_period": "1d", "budget_limit": float(WORTH)}},
    )

    async def wave() -> int:
        answered = 0

        async def call() -> None:
            nonlocal answered
            try:
                await router.acompletion(model="small", messages=MESSAGES)
            except Exception:  # whatever it raises: the call was refused
                return
            answered += 1

        async with anyio.create_task_group() as tasks:
            for _ in range(OFFERED):
                tasks.start_soon(call)
        return answered

    first = await wave()
    await anyio.sleep(COUNTED_AFTER_S)
    return first, await wave()


def main() -> None:
    """Run all races and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        rows = by_cascade(Path(folder))
    try:
        first, second = anyio.run(by_litellm)
        rows.append(("LiteLLM Router, provider budget", first))
        rows.append(("LiteLLM Router, the same once it has counted", second))
    except ImportError:
        print("LiteLLM is not installed: left out\n")
    print(f"{datetime.now(UTC):%Y-%m-%d}: {OFFERED} calls at once, a cap worth {WORTH}\n")
    print(f"| {'counted by':<44} | let through |")
    print(f"|{'-' * 46}|------------:|")
    for name, answered in rows:
        print(f"| {name:<44} | {answered:>11} |")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(anyio.run(offered, SQLiteStore(sys.argv[1]), int(sys.argv[2])))
    else:
        main()
