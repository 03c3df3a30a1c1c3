"""Made-up queries for the tests of the learned router, with a planted difference."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from cascade.learn.examples import Examples

TIERS = ("small", "large")
EASY = "colour city animal river letter season".split()
HARD = "integral theorem eigenvalue lemma matrix proof".split()
COMMON = "please tell me about the and of what is a in".split()


def queries(count: int, seed: int = 0) -> list[tuple[str, bool]]:
    """Texts, and whether each is hard: the small tier is then mostly wrong."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        is_hard = rng.random() < 0.5
        words = rng.choices(COMMON, k=8) + rng.choices(HARD if is_hard else EASY, k=3)
        rng.shuffle(words)
        made.append((f"{' '.join(words)} {number % 7}?", is_hard))
    return made


def examples(count: int = 400, seed: int = 0, lead: float = 0.8) -> Examples:
    """The large tier is right in nine of ten; the small one too, less `lead` where it is hard."""
    rng = random.Random(seed + 1)
    made = queries(count, seed)
    correct = tuple(
        (
            float(rng.random() < (0.9 - lead if is_hard else 0.9)),
            float(rng.random() < 0.9),
        )
        for _, is_hard in made
    )
    return Examples(
        TIERS,
        tuple(("", "", str(number)) for number in range(count)),
        tuple(text for text, _ in made),
        tuple({} for _ in made),
        correct,
        tuple((0.001, 0.01) for _ in made),
    )


def parity(text: str) -> list[float]:
    """Whether the number at the end is odd: no word of the text tells that."""
    return [float(int(text.split()[-1][:-1]) % 2), 0.5]


def odd_is_hard(count: int = 200) -> Examples:
    """The small tier is right of even numbers, and no number comes twice."""
    numbers = random.Random(1).sample(range(1000, 9999), count)
    return Examples(
        TIERS,
        tuple(("", "", str(number)) for number in numbers),
        tuple(f"please tell me about the house of number {number}?" for number in numbers),
        tuple({} for _ in numbers),
        tuple((float(number % 2 == 0), 1.0) for number in numbers),
        tuple((0.001, 0.01) for _ in numbers),
    )


def write_runs(folder: Path, of: Examples) -> tuple[Path, Path]:
    """The same as files: recorded runs, and prompts."""
    runs, prompts = folder / "runs.jsonl", folder / "prompts.jsonl"
    rows: list[dict[str, Any]] = []
    for key, correct, costs in zip(of.keys, of.correct, of.costs_usd, strict=True):
        for tier, right, cost in zip(of.tiers, correct, costs, strict=True):
            rows.append({"qid": key[2], "model": tier, "correct": right, "cost_usd": cost})
    runs.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    asked = zip(of.keys, of.texts, strict=True)
    prompts.write_text(
        "".join(f"{json.dumps({'qid': key[2], 'prompt': text})}\n" for key, text in asked)
    )
    return runs, prompts
