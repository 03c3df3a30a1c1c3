"""Recorded replies of real models through the real engine: BoolQ, closed book.

    python benchmarks/replay_boolq.py --data ../shared/data

Real malformed JSON, code fences and refusals go through the decorator, `json_schema` and the
`recorded:` provider. Tokens are the recording's (characters / 4), prices the list prices that its
costs were made from. Nothing here is tuned: the schema is the one the prompt asked for, and the
rows with a threshold name it.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from timing import table

from cascade import Answer, Cascade, Price, Result, Tier
from cascade.validation import Validator
from cascade.validators import json_schema, json_value, verbalised

# USD per million tokens: the recording's costs are its token counts times these.
MODELS = {
    "Llama-8B": ("Meta-Llama-3.1-8B-Instruct", Price(input="0.2", output="0.2")),
    "Llama-70B": ("Meta-Llama-3.1-70B-Instruct", Price(input="0.9", output="0.9")),
    "haiku": ("claude-3-haiku-20240307", Price(input="0.25", output="1.25")),
    "deepseek-v3": ("deepseek-v3", Price(input="0.27", output="1.10")),
    "gpt-4o": ("gpt-4o", Price(input="2.5", output="10")),
}
LADDERS = (("haiku", "gpt-4o"), ("Llama-8B", "gpt-4o"), ("Llama-8B", "Llama-70B", "gpt-4o"))
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "Reasoning": {"type": "string"},
        "Answer": {"enum": ["True", "False", True, False]},
        "Confidence": {"type": ["number", "string"]},
    },
    "required": ["Reasoning", "Answer", "Confidence"],
}


@dataclass(frozen=True, slots=True)
class Replies:
    """The recorded replies: by (model, question) the raw row, and where the engine finds them."""

    rows: dict[tuple[str, str], dict[str, Any]]
    questions: tuple[str, ...]
    file: Path

    def tier(self, name: str) -> Tier:
        model, price = MODELS[name]
        return Tier(name, model=f"recorded:{self.file}#{model}", price=price)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a gzipped JSONL file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def load(data: Path, folder: Path) -> Replies:
    """The recordings, written to `folder` in the shape that the recorded provider reads."""
    counts = {
        (row["model"], row["qid"]): {"input_tokens": row["tok_in"], "output_tokens": row["tok_out"]}
        for row in read(data / "lifeeval.jsonl.gz")
        if row["task"] == "boolq"
    }
    rows = {(row["model"], row["qid"]): row for row in read(data / "lifeeval.raw_boolq.jsonl.gz")}
    file = folder / "boolq.jsonl"
    with file.open("w", encoding="utf-8") as out:
        for (model, question), row in rows.items():
            reply = {
                "model": model,
                "id": question,
                "content": row["content"],
                "usage": counts[model, question],
            }
            out.write(json.dumps(reply) + "\n")
    return Replies(rows, tuple(dict.fromkeys(question for _, question in rows)), file)


async def replay(
    replies: Replies, names: Sequence[str], validators: Sequence[Validator]
) -> list[Result[Any]]:
    """Every question through a ladder, by the decorator."""

    @Cascade(
        tiers=[replies.tier(name) for name in names], validators=validators, on_exhausted="best"
    )
    async def answer(tier: Tier, question: str) -> Answer[Any]:
        return await tier.chat("(recorded)", metadata={"id": question})

    return [await answer.run(question) for question in replies.questions]


@dataclass(frozen=True, slots=True)
class Route:
    """What one route came to over all questions."""

    title: str
    questions: int
    accuracy: float
    cost_usd: Decimal
    escalated: float
    accepted: float

    def row(self, mixture: float | None = None) -> tuple[str, ...]:
        """One line of the table."""
        margin = 1.96 * math.sqrt(self.accuracy * (1 - self.accuracy) / self.questions)
        return (
            self.title,
            f"{self.accuracy:.1%} ±{margin:.1%}",
            f"${self.cost_usd:.4f}",
            f"{self.escalated:.1%}",
            f"{self.accepted:.1%}",
            "" if mixture is None else f"{mixture:.1%}",
        )


def measured(title: str, replies: Replies, results: Sequence[Result[Any]]) -> Route:
    """A route's figures. Correctness is the recording's own label of the chosen reply."""
    n = len(results)
    right = sum(
        replies.rows[MODELS[result.tier][0], question]["correct"]
        for question, result in zip(replies.questions, results, strict=True)
        if result.tier is not None
    )
    costs = [result.cost_usd for result in results]
    if None in costs:
        raise SystemExit(f"{title}: the recording does not know what some replies cost")
    return Route(
        title,
        n,
        right / n,
        sum((cost for cost in costs if cost is not None), Decimal(0)),
        sum(result.escalations > 0 for result in results) / n,
        sum(result.accepted for result in results) / n,
    )


def mixture(cheap: Route, strong: Route, cost_usd: Decimal) -> float:
    """The accuracy of sending a random share to `strong`, the rest to `cheap`, at that cost."""
    share = float((cost_usd - cheap.cost_usd) / (strong.cost_usd - cheap.cost_usd))
    return cheap.accuracy + share * (strong.accuracy - cheap.accuracy)


async def ladders(replies: Replies) -> str:
    """The table: single tiers, then each ladder with and without a confidence threshold."""
    schema = json_schema(SCHEMA)
    sure = verbalised("$.Confidence").at(0.9)
    alone = {
        name: measured(f"{name} alone", replies, await replay(replies, [name], []))
        for name in MODELS
    }
    rows = [("route", "accuracy", "cost", "escalated", "accepted", "random mix, same cost")]
    rows += [route.row() for route in alone.values()]
    for names in LADDERS:
        # The last tier is trusted as it is: nobody stands above it to ask.
        judged = {"": [schema], ", stated >= .9": [schema, sure.for_tiers(*names[:-1])]}
        for suffix, validators in judged.items():
            results = await replay(replies, names, validators)
            route = measured(" > ".join(names) + suffix, replies, results)
            rows.append(route.row(mixture(alone[names[0]], alone[names[-1]], route.cost_usd)))
    return table(f"BoolQ, {len(replies.questions)} questions", rows)


def kind_of(ours: str, reply: str, value: Any) -> str:
    """What a disagreement is about."""
    if ours != "passed":
        return f"we fail ({ours}), the recording passes"
    opening = reply.lstrip()
    wrapped = "fenced" if "```" in reply else "bare" if opening.startswith("{") else "in prose"
    answer = value["Answer"]
    confidence = value["Confidence"]
    return (
        f"we pass, the recording fails: {wrapped}, Answer is a {type(answer).__name__}, "
        f"Confidence is a {type(confidence).__name__}"
    )


async def agreement(replies: Replies) -> str:
    """Our verdict on each raw reply against the recording's `schema_ok`, disagreements by kind."""
    strict = json_value() & json_schema(SCHEMA)
    mending = json_value(repair=True) & json_schema(SCHEMA, repair=True)
    names = {model: name for name, (model, _) in MODELS.items()}
    total: Counter[str] = Counter()
    agree: Counter[str] = Counter()
    agree_mended: Counter[str] = Counter()
    kinds: Counter[tuple[str, str]] = Counter()
    mended: Counter[tuple[str, str]] = Counter()
    for (model, _), row in replies.rows.items():
        verdict = await strict.judge(Answer(row["content"]))
        repaired = await mending.judge(Answer(row["content"]))
        name = names[model]
        total[name] += 1
        agree[name] += (verdict.status == "passed") == bool(row["schema_ok"])
        agree_mended[name] += (repaired.status == "passed") == bool(row["schema_ok"])
        if (verdict.status == "passed") != bool(row["schema_ok"]):
            why = "passed" if verdict.status == "passed" else verdict.reason
            kind = kind_of(why, row["content"], verdict.value), name
            kinds[kind] += 1
            mended[kind] += verdict.status != "passed" and repaired.status == "passed"
    rows = [("model", "replies", "agree", "agree, repair=True")]
    for name, n in [*total.items(), ("all", total.total())]:
        counts = (agree, agree_mended)
        shares = (f"{(c.total() if name == 'all' else c[name]) / n:.2%}" for c in counts)
        rows.append((name, str(n), *shares))
    found = [("kind of disagreement", "model", "replies", "gone with repair=True")]
    found += [(*key, str(count), str(mended[key])) for key, count in sorted(kinds.items())]
    title = "json_value & json_schema against the recorded schema_ok"
    return table(title, rows) + "\n\n" + table("Disagreements", found)


async def run(data: Path) -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as folder:
        replies = load(data, Path(folder))
        print(await ladders(replies))
        print()
        print(await agreement(replies))


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the recordings")
    asyncio.run(run(parser.parse_args().data))


if __name__ == "__main__":
    main()
