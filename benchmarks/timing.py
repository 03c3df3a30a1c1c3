"""How benchmarks time: everything side by side in one run, medians over interleaved rounds."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Call = Callable[[], Awaitable[Any]]


async def microseconds_per_call(
    calls: Mapping[str, Call], *, rounds: int = 9, round_s: float = 0.05
) -> dict[str, float]:
    """The median over rounds of each call's mean time, in microseconds.

    The calls take turns in every round, so that a busy moment of the machine hits all of them,
    and each runs about `round_s` seconds a round, however fast it is.
    """
    repeats = {name: await _repeats(call, round_s) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            gc.collect()
            times[name].append(await _mean_s(call, repeats[name]))
    return {name: statistics.median(each) * 1e6 for name, each in times.items()}


async def _repeats(call: Call, round_s: float) -> int:
    await call()  # what is done on first use is not what a call costs
    return max(10, int(round_s / max(await _mean_s(call, 10), 1e-9)))


async def _mean_s(call: Call, repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        await call()
    return (time.perf_counter() - started) / repeats


def table(title: str, rows: list[tuple[str, ...]]) -> str:
    """Rows as text, the first one the head; the first column left, the others right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [title, "-" * len(title)]
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
