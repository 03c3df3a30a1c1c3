"""What the engine adds to a call, next to the bare function and next to other libraries.

    python benchmarks/overhead.py            # the engine, the validators, the import
    pip install -e ".[bench]"                # and the peers with them

All in one process, one run, side by side: read the ratios, the microseconds are this machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import statistics
import subprocess
import sys
import time
from typing import Any

from peers import PEERS
from timing import Call, microseconds_per_call, table

from cascade import Answer, Cascade, Context, Path, Price, Tier, TokenLogprob
from cascade.validation import Validator

ACCEPTED_GOAL_US, BUDGET_GOAL_US, ESCALATED_GOAL_US, RATIO_GOAL = 25, 40, 45, 12
IMPORT_GOAL_MS = 150
CONCURRENCY = 100

TEXT = "The order was sent on Tuesday and should arrive within three working days. " * 27  # 2 kB
FIELDS = {
    "id": 48213,
    "customer": "Ada Abe",
    "status": "sent",
    "total_usd": 129.5,
    "items": ["desk lamp", "bike light"],
    "paid": True,
    "address": {"city": "Lisbon", "country": "PT"},
    "placed_on": "2026-03-31",
    "carrier": "post",
    "notes": None,
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "customer": {"type": "string", "minLength": 1},
        "status": {"enum": ["placed", "sent", "delivered"]},
        "total_usd": {"type": "number"},
        "items": {"type": "array", "items": {"type": "string"}},
        "paid": {"type": "boolean"},
        "address": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "country": {"type": "string"}},
            "required": ["city", "country"],
        },
        "placed_on": {"type": "string", "format": "date"},
        "carrier": {"type": "string"},
        "notes": {"type": ["string", "null"]},
    },
    "required": list(FIELDS),
    "additionalProperties": False,
}


def engine_calls() -> dict[str, Call]:
    """The bare function, and the engine around it on each of its roads."""
    tiers = [Tier(name, price=Price(input=1, output=2)) for name in ("small", "medium", "large")]

    async def bare(tier: Tier, question: str) -> str:
        return "yes"

    def is_text(answer: Answer[Any], context: Context) -> bool:
        return answer.text is not None

    def is_short(answer: Answer[Any], context: Context) -> bool:
        return answer.text is not None and len(answer.text) < 100

    def not_small(answer: Answer[Any], context: Context) -> bool:
        return context.tier is not tiers[0]

    paths = {"budget": Path(budget_s=5.0), "direct": Path(direct="small")}
    accepts = Cascade(tiers=tiers, validators=[is_text, is_short], paths=paths)(bare)
    escalates = Cascade(tiers=tiers, validators=[is_text, not_small], paths=paths)(bare)
    accepts_in_time, direct = accepts.on("budget"), accepts.on("direct")
    escalates_in_time = escalates.on("budget")

    async def together() -> None:
        await asyncio.gather(*(accepts_in_time("?") for _ in range(CONCURRENCY)))

    return {
        "bare async function": lambda: bare(tiers[0], "?"),
        "accepted on tier 1 of 3": lambda: accepts("?"),
        "accepted, with a budget": lambda: accepts_in_time("?"),
        "escalated once": lambda: escalates("?"),
        "escalated once, with a budget": lambda: escalates_in_time("?"),
        "direct path": lambda: direct("?"),
        f"accepted, with a budget, {CONCURRENCY} at once (each)": together,
    }


def validator_calls() -> dict[str, Call]:
    """Each free built-in on a 10-field object or a 2 kB text."""
    from cascade import ToolCall
    from cascade import validators as v

    tokens = [
        TokenLogprob(word + " ", -0.05, ((word + " ", -0.05), ("x", -3.5))) for word in TEXT.split()
    ]
    text = Answer(TEXT, finish_reason="stop", logprobs=tokens)
    json_text = json.dumps(FIELDS)
    json_tokens = [TokenLogprob(json_text[i : i + 4], -0.05) for i in range(0, len(json_text), 4)]
    data = Answer(json_text, finish_reason="stop", logprobs=json_tokens)
    tools = [{"type": "function", "function": {"name": "file", "parameters": SCHEMA}}]
    call = Answer(None, tool_calls=[ToolCall("1", "file", json_text)], finish_reason="tool_calls")
    query = Answer("SELECT id, total FROM orders WHERE status = 'sent' ORDER BY id LIMIT 10")
    code = Answer("def f(x: int) -> int:\n    return x + 1\n" * 20)
    judged: list[tuple[Validator, Answer[Any]]] = [
        (v.finish_reason(), data),
        (v.json_value(), data),
        (v.json_schema(SCHEMA, engine="jsonschema").named("json_schema (jsonschema)"), data),
        (v.json_schema(SCHEMA).named("json_schema (best installed)"), data),
        (v.tool_call(tools=tools), call),
        (v.logprob("mean").at(0.5), text),
        (v.logprob("p10").at(0.5).named("logprob(p10)"), text),
        (v.margin("mean").at(0.5), text),
        (v.entropy("mean").at(0.5), text),
        (v.field_logprob("$.status").at(0.5), data),
        (v.length(max_chars=5000), text),
        (v.not_refusal(), text),
        (v.no_secrets(), text),
        (v.grounded(source=TEXT).at(0.5), text),
        (v.numbers_from_context(source=TEXT), text),
        (v.python_parses(), code),
        (v.sql_parses(), query),
    ]
    return {validator.name: _judging(validator, answer) for validator, answer in judged}


def _judging(validator: Validator, answer: Answer[Any]) -> Call:
    verdict = validator.judge_inline(answer, Context())
    if verdict.status == "abstained":
        raise SystemExit(f"{validator.name} abstains ({verdict.reason}): it would be timed idle")

    async def judge() -> None:
        validator.judge_inline(answer, Context())

    return judge


def peer_calls() -> dict[str, Call]:
    """The peers that are installed; the others are named on stderr."""
    calls: dict[str, Call] = {}
    for distribution, make in PEERS.items():
        try:
            importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            print(f"{distribution} is not installed: left out", file=sys.stderr)
            continue
        calls.update(make())
    return calls


def import_ms(runs: int = 9) -> float:
    """The median time of `import cascade` in a fresh interpreter, less the interpreter's own."""

    def started(code: str) -> float:
        before = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - before

    pairs = [(started("import cascade"), started("pass")) for _ in range(runs)]
    return statistics.median(loaded - empty for loaded, empty in pairs) * 1e3


def report(engine: dict[str, float], peers: dict[str, float]) -> str:
    """The table of roads, and each goal with what was measured."""
    rows = [("road", "us a call", "x bare")]
    bare = engine["bare async function"]
    for name, us in {**engine, **peers}.items():
        rows.append((name, f"{us:,.1f}", f"{us / bare:,.0f}"))
    goals = {
        "accepted on tier 1 of 3": ACCEPTED_GOAL_US,
        "accepted, with a budget": BUDGET_GOAL_US,
        "escalated once": ESCALATED_GOAL_US,
    }
    lines = [table("One call", rows), ""]
    for name, goal in goals.items():
        lines.append(
            f"goal: {name} under {goal} us: {engine[name]:.1f} {_met(engine[name] < goal)}"
        )
    for road, peer in (("accepted", "accepted on tier 1 of 3"), ("escalated", "escalated once")):
        if f"cascadeflow, {road}" in peers:
            ratio = peers[f"cascadeflow, {road}"] / engine[peer]
            lines.append(
                f"goal: {road} {RATIO_GOAL} times less than cascadeflow: "
                f"{ratio:.0f} times {_met(ratio >= RATIO_GOAL)}"
            )
    return "\n".join(lines)


def _met(met: bool) -> str:
    return "(met)" if met else "(MISSED)"


async def measure(*, with_peers: bool) -> dict[str, dict[str, float]]:
    """Microseconds a call: of the engine's roads, the peers and the validators."""
    engine_roads = engine_calls()
    peers = peer_calls() if with_peers else {}
    measured = await microseconds_per_call({**engine_roads, **peers})
    engine = {name: measured[name] for name in engine_roads}
    together = next(name for name in engine if name.endswith("(each)"))
    engine[together] /= CONCURRENCY
    return {
        "engine": engine,
        "peers": {name: measured[name] for name in peers},
        "validators": await microseconds_per_call(validator_calls()),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--no-peers", action="store_true", help="leave the other libraries out")
    options = parser.parse_args()
    figures = asyncio.run(measure(with_peers=not options.no_peers))
    import_time = import_ms()
    if options.json:
        print(json.dumps({**figures, "import_ms": import_time}, indent=2))
        return
    print(report(figures["engine"], figures["peers"]))
    rows = [
        ("validator", "us"),
        *((name, f"{us:.1f}") for name, us in figures["validators"].items()),
    ]
    print("\n" + table("One verdict (10-field object or 2 kB text)", rows))
    print(f"\nimport cascade: {import_time:.0f} ms; goal: under {IMPORT_GOAL_MS}", end=" ")
    print(_met(import_time < IMPORT_GOAL_MS))


if __name__ == "__main__":
    main()
