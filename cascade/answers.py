"""Understanding what a call returned: a plain value, an `Answer`, or an SDK's response object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import NoneType
from typing import Any

from cascade.errors import CascadeExhausted
from cascade.types import Answer, Result

Reader = Callable[[Any], Answer[Any]]

# The types that surely are no SDK's: the common case must not pay for the search.
_PLAIN = frozenset({str, bytes, int, float, bool, NoneType, dict, list, tuple, set, frozenset})


def understand(value: Any) -> Answer[Any]:
    """The `Answer` in whatever a call returned.

    An `Answer` is returned as it is. A response object of the OpenAI SDK (chat completions and
    responses) or the Anthropic SDK (messages) keeps its text, tool calls, finish reason, refusal,
    log-probabilities and usage; `value` and `raw` are then the response object itself. So does the
    `Result` of another cascade, without the usage: that is on the bill already. Anything else is a
    plain value.

    Raises:
        BadResponseError: an SDK response object that has no answer in it.
        CascadeExhausted: a `Result` that is not accepted: it must not be accepted here instead.
    """
    if type(value) is Answer:
        return value
    if type(value) in _PLAIN:
        return Answer(value)
    if isinstance(value, Answer):
        return value  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, Result):
        return _read_result(value)  # pyright: ignore[reportUnknownArgumentType]
    reader = _reader(value)
    return Answer(value) if reader is None else reader(value)


def _reader(value: Any) -> Reader | None:
    """How to read a response object. None: it is a plain value."""
    # By the module of a base class, so that subclasses (parsed completions, instrumented
    # responses) are understood too, and neither SDK has to be installed.
    for base in type(value).__mro__:
        if base.__module__.partition(".")[0] == "openai":
            if base.__name__ in ("ChatCompletion", "ParsedChatCompletion"):
                return _read_openai_chat
            if base.__name__ in ("Response", "ParsedResponse"):
                return _read_openai_response
        if base.__module__.partition(".")[0] == "anthropic" and base.__name__ in (
            "Message",
            "BetaMessage",
        ):
            return _read_anthropic
    return None


def _read_result(result: Result[Any]) -> Answer[Any]:
    if not result.accepted or result.answer is None:
        raise CascadeExhausted("the cascade inside of this call accepted no answer", result=result)
    return replace(result.answer, value=result, raw=result, usage=None)


def _read_openai_chat(response: Any) -> Answer[Any]:
    from cascade.providers.openai import read_completion

    return _as_returned(read_completion(_body(response)), response)


def _read_openai_response(response: Any) -> Answer[Any]:
    from cascade.providers.openai import read_response

    return _as_returned(read_response(_body(response)), response)


def _read_anthropic(response: Any) -> Answer[Any]:
    from cascade.providers.anthropic import read_message

    return _as_returned(read_message(_body(response)), response)


def _body(response: Any) -> dict[str, Any]:
    # As Python objects, since a user's parsed model need not be serialisable; and the SDKs' models
    # accept more than they declare, which is not worth a warning.
    body: dict[str, Any] = response.model_dump(mode="python", warnings=False)
    return body


def _as_returned(answer: Answer[Any], response: Any) -> Answer[Any]:
    answer.value = answer.raw = response
    return answer
