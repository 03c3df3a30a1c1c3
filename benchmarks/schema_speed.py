"""What judging JSON costs: each validator, and jsonschema beside jsonschema-rs.

    python benchmarks/schema_speed.py

All in one process, in turns: read the ratios, the microseconds are this machine's. Each figure is a
whole judgement, from the text to the verdict.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from pydantic import BaseModel
from timing import Call, microseconds_per_call, table

from cascade import Answer
from cascade.validation import Validator
from cascade.validators import finish_reason, json_schema, json_value, pydantic_model, tool_call

FIELDS: dict[str, Any] = {
    "team": "billing",
    "urgent": True,
    "priority": 2,
    "score": 0.75,
    "customer": "C-1042",
    "subject": "An invoice that was paid twice",
    "tags": ["invoice", "refund", "duplicate"],
    "due": None,
    "amount": 129.9,
    "note": "x" * 1_800,  # about 2 kB in all
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "team": {"enum": ["billing", "tech", "sales"]},
        "urgent": {"type": "boolean"},
        "priority": {"type": "integer", "minimum": 1, "maximum": 5},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "customer": {"type": "string", "minLength": 3},
        "subject": {"type": "string", "maxLength": 200},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 10},
        "due": {"type": ["string", "null"]},
        "amount": {"type": "number"},
        "note": {"type": "string"},
    },
    "required": list(FIELDS),
    "additionalProperties": False,
}


class Ticket(BaseModel):
    """The same as SCHEMA, for pydantic."""

    team: str
    urgent: bool
    priority: int
    score: float
    customer: str
    subject: str
    tags: list[str]
    due: str | None
    amount: float
    note: str


def calls() -> dict[str, Call]:
    """Each judgement by its title."""
    text = json.dumps(FIELDS)
    prose = f"Here is the ticket:\n```json\n{text}\n```\nAnything else?"
    wrong = json.dumps({**FIELDS, "priority": 9})
    reference = json_schema(SCHEMA, engine="jsonschema")
    fast = json_schema(SCHEMA, engine="jsonschema-rs")

    def judging(validator: Validator, said: str) -> Call:
        answer = Answer(said, finish_reason="stop")
        return lambda: validator.judge(answer)

    return {
        "finish_reason": judging(finish_reason(), text),
        "json_value, bare": judging(json_value(), text),
        "json_value, in prose": judging(json_value(), prose),
        "json_value, mended": judging(json_value(repair=True), text[:-1] + ",}"),
        "json_schema, jsonschema": judging(reference, text),
        "json_schema, jsonschema-rs": judging(fast, text),
        "json_schema, jsonschema, rejected": judging(reference, wrong),
        "json_schema, jsonschema-rs, rejected": judging(fast, wrong),
        "pydantic_model": judging(pydantic_model(Ticket), text),
        "tool_call, text only": judging(tool_call([{"name": "t", "parameters": SCHEMA}]), text),
    }


def main() -> None:
    """Measure and print."""
    times = asyncio.run(microseconds_per_call(calls()))
    rows = [("judgement", "microseconds"), *((name, f"{us:.1f}") for name, us in times.items())]
    print(table("A 10-field object of 2 kB", rows))


if __name__ == "__main__":
    main()
