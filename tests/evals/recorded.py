"""Recorded runs made up for tests: tiers of known strength, signals that tell of it."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cascade.evals.runs import Runs, read_runs

TIERS: Mapping[str, tuple[float, float]] = {
    "small": (0.0, 0.0001),
    "medium": (1.0, 0.0005),
    "large": (2.2, 0.002),
}
"""Skill, in the units of a question's difficulty, and mean cost in USD."""


def lines(
    n: int,
    *,
    tiers: Mapping[str, tuple[float, float]] = TIERS,
    tasks: Sequence[str] = ("qa",),
    seed: int = 0,
    start: int = 0,
) -> list[dict[str, Any]]:
    """Rows of `n` queries; answers are letters, `sure` is an honest probability with noise."""
    dice = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for i in range(start, start + n):
        difficulty, length = dice.gauss(0, 1), dice.uniform(0.5, 1.5)
        task, right = tasks[i % len(tasks)], dice.choice("ABCD")
        for tier, (skill, cost) in tiers.items():
            p = 1 / (1 + math.exp(-2 * (skill - difficulty)))
            correct = dice.random() < p
            told = 1 / (1 + math.exp(-2 * (skill - difficulty) - dice.gauss(0, 0.7)))
            rows.append(
                {
                    "dataset": "made-up",
                    "task": task,
                    "qid": str(i),
                    "model": tier,
                    "correct": float(correct),
                    "cost_usd": cost * length,
                    "tok_out": round(20 * length),
                    "latency_ms": 200 + 1e5 * cost,
                    "schema_ok": int(dice.random() < 0.97 or correct),
                    "answer": right if correct else dice.choice("ABCD"),
                    "signals": {"sure": told if dice.random() < 0.95 else None},
                }
            )
    return rows


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """A JSON Lines file."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def made_up(path: Path, n: int, **how: Any) -> Runs:
    """Rows of `lines`, read back."""
    return read_runs([write(path / "runs.jsonl", lines(n, **how))])
