"""The parameters of an OpenAI-format request, as the Anthropic Messages API knows them.

Nothing is lost on the way: a parameter means the same there, or the request is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from cascade.errors import BadRequestError
from cascade.providers._failures import refuse
from cascade.providers._reading import as_list, as_mapping, as_text

__all__ = ["DEFAULT_MAX_TOKENS", "translate_params"]

DEFAULT_MAX_TOKENS: Final = 4096
"""The Messages API wants a limit on the output; this is the one where a request names none."""

# Without a counterpart, each with the values that ask for nothing beyond what is done anyway.
_REFUSED: Final[Mapping[str, tuple[Any, ...]]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": (),
    "functions": (),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"], ("text",)),
    "moderation": (),
    "n": (1,),
    "prediction": (),
    "presence_penalty": (0,),
    "prompt_cache_key": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": (),
    "reasoning_effort": (),
    "seed": (),
    "store": (False,),
    "stream_options": (),
    "top_logprobs": (0,),
    "verbosity": (),
    "web_search_options": (),
}
_TOOL_CHOICES: Final = {"auto": "auto", "none": "none", "required": "any"}

Params = dict[str, Any]


def translate_params(who: str, params: Mapping[str, Any]) -> Params:
    """The Messages API's parameters. What this module has never heard of is passed on as it is.

    Raises:
        BadRequestError: a parameter has no counterpart.
    """
    given = {name: value for name, value in params.items() if value is not None}
    for name in sorted(_REFUSED.keys() & given.keys()):
        if given.pop(name) not in _REFUSED[name]:
            raise _no_counterpart(who, name)
    limit = given.pop("max_tokens", DEFAULT_MAX_TOKENS)
    sent: Params = {"max_tokens": given.pop("max_completion_tokens", limit)}
    for name, translate in _TRANSLATED.items():
        if name in given:
            translate(who, given, sent)
    return {**sent, **given}


def _stop(who: str, given: Params, sent: Params) -> None:
    stop = given.pop("stop")
    sent["stop_sequences"] = [stop] if isinstance(stop, str) else stop


def _metadata(who: str, given: Params, sent: Params) -> None:
    metadata = dict(as_mapping(given.pop("metadata", None)))
    for name in ("safety_identifier", "user"):
        if name in given:
            metadata["user_id"] = given.pop(name)
    if metadata.keys() - {"user_id"}:
        raise _no_counterpart(who, "metadata", "only its user_id has one")
    if metadata:
        sent["metadata"] = metadata


def _response_format(who: str, given: Params, sent: Params) -> None:
    wanted = as_mapping(given.pop("response_format"))
    if wanted.get("type") == "text":
        return
    schema = as_mapping(wanted.get("json_schema")).get("schema")
    if wanted.get("type") != "json_schema" or not isinstance(schema, Mapping):
        raise _no_counterpart(who, "response_format", "only json_schema and text have one")
    config = as_mapping(given.pop("output_config", None))
    sent["output_config"] = {**config, "format": {"type": "json_schema", "schema": schema}}


def _tools(who: str, given: Params, sent: Params) -> None:
    tools = given.pop("tools")
    if not isinstance(tools, list | tuple):
        raise _no_counterpart(who, "tools", "give a list of tools")
    sent["tools"] = [_tool(who, tool) for tool in as_list(tools)]


def _tool(who: str, tool: Any) -> Any:
    outer = as_mapping(tool)
    if "custom" in outer:
        raise _no_counterpart(who, "tools", "custom tools have none; use function tools")
    if "function" not in outer:
        return tool  # one of Anthropic's own
    function = {k: v for k, v in as_mapping(outer["function"]).items() if v is not None}
    schema = function.pop("parameters", {"type": "object", "properties": {}})
    around = {k: v for k, v in outer.items() if k not in ("type", "function")}
    return {**function, "input_schema": schema, **around}


def _tool_choice(who: str, given: Params, sent: Params) -> None:
    choice = given.pop("tool_choice", None)
    named = as_text(as_mapping(as_mapping(choice).get("function")).get("name"))
    native: Params
    if named is not None:
        native = {"type": "tool", "name": named}
    elif isinstance(choice, Mapping):
        native = dict(as_mapping(choice))
    else:
        native = {"type": "auto" if choice is None else _TOOL_CHOICES.get(str(choice))}
    if native.get("type") not in ("auto", "any", "none", "tool"):
        raise _no_counterpart(who, "tool_choice", "give auto, none, required or one function")
    parallel = given.pop("parallel_tool_calls", True)
    if parallel is False and native["type"] != "none" and as_list(sent.get("tools")):
        native["disable_parallel_tool_use"] = True
    if choice is not None or len(native) > 1:
        sent["tool_choice"] = native


# In this order: the choice of a tool looks at the tools.
_TRANSLATED: Final[Mapping[str, Callable[[str, Params, Params], None]]] = {
    "stop": _stop,
    "metadata": _metadata,
    "user": _metadata,
    "safety_identifier": _metadata,
    "response_format": _response_format,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": _tool_choice,
}


def _no_counterpart(who: str, name: str, detail: str = "") -> BadRequestError:
    more = f" ({detail})" if detail else ""
    return refuse(
        who,
        f"the Anthropic Messages API has no counterpart for {name}{more}; "
        f"leave it out for this tier: Tier(..., drop_params=[{name!r}])",
    )
