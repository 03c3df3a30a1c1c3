"""Tool calls: known tools, arguments of the right shape, and as many calls as asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.options import check_count
from cascade.types import UNSET, Answer, ToolCall, Verdict
from cascade.validation import Check, Validator
from cascade.validators.json_text import read_json
from cascade.validators.jsons import judged_by
from cascade.validators.schemas import Formats, Schema, compile_schema

__all__ = ["tool_call"]

_ANY_ARGUMENTS: Final[Mapping[str, Any]] = {"type": "object"}
_SHOWN_CHARS: Final = 60


def tool_call(
    tools: Sequence[Mapping[str, Any]] | None = None,
    *,
    required: bool | str | None = None,
    max_calls: int | None = None,
    formats: Formats = False,
) -> Validator:
    """Passes when every tool call names a known tool and fits its JSON Schema.

    Arguments are read as strict JSON; an empty text counts as no arguments, `{}`. An answer of
    text alone passes unless a call is required.

    Args:
        tools: tool definitions in the wire format of OpenAI or Anthropic. None: those of the
            request, compiled once for each distinct list.
        required: True when a tool must be called, or the name of the one that must. None: what
            the request's `tool_choice` demands.
        max_calls: how many calls one answer may hold. None: any number.
        formats: which "format" keywords are asserted; see `json_schema`.

    Reasons: no_tool_call, missing_tool, too_many_calls, unknown_tool, arguments_not_json,
    arguments_invalid. Abstains with no_tools when no tools are known, with bad_tools when those of
    the request cannot be read, and with timeout as `json_schema` does.

    Raises:
        ConfigError: a tool has no name or a schema that is invalid, or `required` names none of
            the tools.
    """
    if max_calls is not None:
        check_count("tool_call: max_calls", max_calls, least=1)
    if required is not None and not isinstance(required, bool | str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"tool_call: required={required!r}; write true or a tool's name")
    fixed = None if tools is None else _compiled(tools, formats)
    if fixed is not None and isinstance(required, str) and required not in fixed:
        raise ConfigError(
            f"tool_call: required={required!r} is none of the tools: {', '.join(sorted(fixed))}"
        )

    def judge(answer: Answer[Any], context: Context) -> Verdict | bool:
        params: Mapping[str, Any] = {} if context.request is None else context.request.params
        try:
            known = _of_request(params, formats) if fixed is None else fixed
        except ConfigError:
            return Verdict.abstained("bad_tools")
        if not known:
            return Verdict.abstained("no_tools")
        needed = _demanded(params) if required is None else required
        return _presence(answer, needed, max_calls) or _first_fault(answer, known) or True

    return Check("tool_call", judge, scored=False)


def _presence(answer: Answer[Any], needed: bool | str, max_calls: int | None) -> Verdict | None:
    """The verdict on which tools are called, and how often. None: nothing is wrong with that."""
    calls = answer.tool_calls
    if not calls and (needed or not answer.text):
        return Verdict.failed("no_tool_call", feedback="The answer calls no tool; call one.")
    if isinstance(needed, str) and all(call.name != needed for call in calls):
        return Verdict.failed("missing_tool", feedback=f"The tool {needed!r} must be called.")
    if max_calls is not None and len(calls) > max_calls:
        return Verdict.failed(
            "too_many_calls",
            feedback=f"The answer calls {len(calls)} tools; at most {max_calls} are allowed.",
        )
    return None


def _first_fault(answer: Answer[Any], known: Mapping[str, Schema]) -> Verdict | None:
    for call in answer.tool_calls:
        verdict = _judged(call, known)
        if verdict is not None:
            return verdict
    return None


def _judged(call: ToolCall, known: Mapping[str, Schema]) -> Verdict | None:
    name = str(call.name)
    shown = ascii(name if len(name) <= _SHOWN_CHARS else name[:_SHOWN_CHARS] + "...")
    schema = known.get(name)
    if schema is None:
        said = f"There is no tool {shown}; there are: {', '.join(sorted(known))}."
        return Verdict.failed("unknown_tool", feedback=said)
    read = read_json(str(call.arguments) or "{}", prose=False)
    if read.value is UNSET:
        said = f"The arguments of {shown} are not JSON. {read.detail}"
        return Verdict.failed("arguments_not_json", feedback=said)
    verdict = judged_by(schema, read.value)
    if verdict is not None and verdict.status == "failed":
        said = f"The arguments of {shown} are wrong. {verdict.feedback}"
        return Verdict.failed("arguments_invalid", feedback=said)
    return verdict


def _demanded(params: Mapping[str, Any]) -> bool | str:
    """What a request's tool_choice demands, in the wire format of OpenAI or Anthropic."""
    choice = params.get("tool_choice")
    if not isinstance(choice, Mapping):
        return choice == "required"
    said = cast("Mapping[str, Any]", choice)
    function = said.get("function")
    named = cast("Mapping[str, Any]", function) if isinstance(function, Mapping) else said
    name = named.get("name")
    return name if isinstance(name, str) else said.get("type") == "any"


def _of_request(params: Mapping[str, Any], formats: Formats) -> Mapping[str, Schema]:
    tools = params.get("tools")
    if not tools:
        return {}
    try:
        # The same tools come with every request: found again by what they say.
        text = json.dumps(tools, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        raise ConfigError("tool_call: the request's tools are not JSON") from None
    return _compiled_text(text, formats if isinstance(formats, bool) else tuple(formats))


@lru_cache(maxsize=64)
def _compiled_text(tools: str, formats: Formats) -> Mapping[str, Schema]:
    return _compiled(json.loads(tools), formats)


def _compiled(tools: Sequence[Mapping[str, Any]], formats: Formats) -> dict[str, Schema]:
    known: dict[str, Schema] = {}
    if not isinstance(tools, list | tuple):
        raise ConfigError(f"tool_call: tools is a {type(tools).__name__}; give a list")
    for number, tool in enumerate(tools):
        name, schema = _definition(tool)
        if not name:
            raise ConfigError(
                f"tool_call: tool {number} has no name; write "
                '{"type": "function", "function": {"name": ..., "parameters": {...}}}'
            )
        if name in known:
            raise ConfigError(f"tool_call: two tools are named {name!r}; rename one")
        known[name] = compile_schema(schema, formats=formats, name=f"tool_call: {name}")
    return known


def _definition(tool: object) -> tuple[str | None, Mapping[str, Any]]:
    """The name and the arguments' schema of one tool definition."""
    if not isinstance(tool, Mapping):
        return None, _ANY_ARGUMENTS
    definition = cast("Mapping[str, Any]", tool)
    function = definition.get("function", definition)
    if not isinstance(function, Mapping):
        return None, _ANY_ARGUMENTS
    said = cast("Mapping[str, Any]", function)
    name = said.get("name")
    schema = said.get("parameters") or said.get("input_schema") or _ANY_ARGUMENTS
    if not isinstance(schema, Mapping):
        raise ConfigError(f"tool_call: the parameters of {name!r} are no JSON Schema")
    return (name if isinstance(name, str) else None), cast("Mapping[str, Any]", schema)
