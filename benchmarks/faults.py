"""The fault matrix: what a cascade makes of every way a provider breaks.

    python benchmarks/faults.py [asyncio | trio]

Each row is a call to a ladder of two tiers. The cheap one stands before a real server on the
loopback interface that breaks in one way at each request; the other one is well. The rows are
those of benchmarks/fault_rows.py, and tests/test_faults.py holds the cascade to it.
"""

from __future__ import annotations

import argparse
import sys
from decimal import Decimal
from pathlib import Path

import anyio

if not __package__:  # a script's own folder is looked in, not the one around it
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.fault_table import FAULTS, KEY, PROMPT, Seen, leaks
from benchmarks.timing import table

HEAD = ("fault", "attempt", "reason", "sends", "bill, USD", "the call", "alone", "wall, ms")


def row(name: str, seen: Seen) -> tuple[str, ...]:
    """One line of the table."""
    return (
        name,
        seen.outcome,
        seen.reason or "-",
        str(seen.sends),
        shown(seen.cost_usd),
        "escalated" if seen.escalated else "accepted",
        f"raises {seen.raised}" if seen.raised != "-" else "accepted",
        f"{seen.wall_s * 1e3:.0f}",
    )


def shown(cost_usd: Decimal | None) -> str:
    """A bill as text."""
    return "unknown" if cost_usd is None else f"{cost_usd:f}"


async def main() -> None:
    """Play every row and print what was seen."""
    rows: list[tuple[str, ...]] = [HEAD]
    tasks_left, sockets_left, told = 0, 0, ""
    for fault in FAULTS:
        seen, tasks, sockets = await leaks(fault)
        rows.append(row(fault.name, seen))
        tasks_left += tasks
        sockets_left += sockets
        told += seen.told
    print(table("What becomes of a call when its cheap tier breaks", rows))
    print(f"\ntasks left behind: {tasks_left}; sockets left open: {sockets_left}")
    print(f"errors that show the key: {told.count(KEY)}; the prompt: {told.count(PROMPT)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("backend", nargs="?", choices=("asyncio", "trio"), default="asyncio")
    anyio.run(main, backend=parser.parse_args().backend)
