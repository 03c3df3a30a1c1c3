"""Replies to prompts outside the workload: labelled text, schema-shaped JSON, tool calls."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from typing import Any

from cascade.simulated.chat import ChatRequest, Tool, ToolCall

NUMBER = re.compile(r"\d+")
IDENTIFIER = re.compile(r"\b[A-Z]{1,4}-?\d+\b|\b\d{2,}\b")
REMARKS = (
    "No model was asked; this text stands in for an answer.",
    "This is a stand-in for an answer, written without a model.",
    "An actual model would answer here; this one only simulates the call.",
)
MAX_DEPTH = 6


def text_reply(rng: random.Random, model: str) -> str:
    """A short text that says it is simulated."""
    return f"[simulated reply of {model}] {rng.choice(REMARKS)}"


def json_reply(rng: random.Random, request: ChatRequest) -> str:
    """A JSON object that says it is simulated, or an instance of the request's schema."""
    if request.schema is None:
        return json.dumps({"simulated": True, "reply": text_reply(rng, request.model)})
    return json.dumps(instance(request.schema, last_user_text(request)))


def wanted_tool(request: ChatRequest) -> Tool | None:
    """The tool the request calls for.

    A forced tool, else the first one all words of whose name stand in the last message. None when
    none is wanted, or when the last message is not the user's (the tool has answered).
    """
    if request.tool_choice == "none" or not request.tools or request.messages[-1][0] != "user":
        return None
    if request.tool_choice == "required":
        return request.tools[0]
    if request.tool_choice != "auto":
        return next((tool for tool in request.tools if tool.name == request.tool_choice), None)
    words = set(re.findall(r"[a-z]+", request.messages[-1][1].lower()))
    named = (tool for tool in request.tools if _name_words(tool.name) <= words)
    return next(named, None)


def call(rng: random.Random, tool: Tool, request: ChatRequest) -> ToolCall:
    """A call of `tool` with arguments that fit its schema, taken from the prompt where they can."""
    arguments = instance(tool.parameters or {"type": "object"}, last_user_text(request))
    return ToolCall(f"call_sim{rng.getrandbits(64):016x}", tool.name, json.dumps(arguments))


def last_user_text(request: ChatRequest) -> str:
    """The newest user message; empty when there is none."""
    return next((text for role, text in reversed(request.messages) if role == "user"), "")


def instance(schema: Mapping[str, Any], text: str) -> Any:
    """A value of the schema's shape, with numbers and identifiers taken from `text`.

    Understands const, default, enum, the first of anyOf and oneOf, references to $defs, types
    and minItems; no other constraints. None stands where the schema nests deeper than it follows.
    """
    return _instance(schema, text, schema.get("$defs", {}), 0)


def _instance(
    schema: Mapping[str, Any], text: str, defs: Mapping[str, Mapping[str, Any]], depth: int
) -> Any:
    def inner(part: Mapping[str, Any]) -> Any:
        return _instance(part, text, defs, depth + 1)

    if depth > MAX_DEPTH:
        return None
    if target := defs.get(str(schema.get("$ref", "")).removeprefix("#/$defs/")):
        return inner(target)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if choices := schema.get("enum"):
        return choices[0]
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return inner(options[0])
    kind = _type(schema)
    if kind == "object":
        fields: dict[str, Any] = schema.get("properties", {})
        return {name: inner(field) for name, field in fields.items()}
    if kind == "array":
        return [inner(schema.get("items", {})) for _ in range(min(schema.get("minItems", 0), 8))]
    return _plain_value(kind, text)


def _type(schema: Mapping[str, Any]) -> str:
    given: Any = schema.get("type", "object" if "properties" in schema else "string")
    return given if isinstance(given, str) else str(next(iter(given), "string"))


def _plain_value(kind: str, text: str) -> Any:
    if kind in ("integer", "number"):
        number = NUMBER.search(text)
        return int(number[0][:15]) if number else 0
    if kind == "string":
        identifier = IDENTIFIER.search(text)
        return identifier[0] if identifier else "simulated"
    return True if kind == "boolean" else None


def _name_words(name: str) -> set[str]:
    # The verb a tool's name begins with is seldom in the customer's words.
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    return set(words) - {"get", "find", "look", "lookup", "fetch", "search", "up"} or set(words)
