"""Reading the fields of a request body, with errors a wire format can answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from cascade.simulated.http import HttpRequest

Body = Mapping[str, Any]


class WireError(Exception):
    """A request the API refuses.

    `param` names the field at fault and `code` the machine-readable reason; None when the real
    API gives none.
    """

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code


def read_body(request: HttpRequest) -> Body:
    """The JSON object of a request. Raises WireError (400) when there is none."""
    try:
        body = request.json()
    except (ValueError, RecursionError):
        raise WireError(400, "We could not parse the JSON body of your request.") from None
    if not isinstance(body, dict):
        raise WireError(400, "The body of the request must be a JSON object.")
    return cast(Body, body)


def optional(body: Body, name: str, kind: type | tuple[type, ...], article: str) -> Any:
    """The field, or None when it is missing or null. Raises WireError (400) for another type."""
    value = body.get(name)
    unwanted_bool = isinstance(value, bool) and kind is not bool
    if value is not None and (unwanted_bool or not isinstance(value, kind)):
        raise WireError(400, f"Invalid type for '{name}': expected {article}.", name)
    return value


def required(body: Body, name: str, kind: type | tuple[type, ...], article: str) -> Any:
    """The field. Raises WireError (400) when it is missing, null or of another type."""
    value = optional(body, name, kind, article)
    if value is None:
        raise WireError(400, f"Missing required parameter: '{name}'.", name)
    return value


def whole_number(body: Body, name: str, low: int, high: int | None = None) -> int | None:
    """The integer, or None when missing. Raises WireError (400) outside `low`..`high`."""
    value: int | None = optional(body, name, int, "an integer")
    if value is not None and (value < low or (high is not None and value > high)):
        bound = f"at least {low}" if high is None else f"between {low} and {high}"
        raise WireError(400, f"Invalid '{name}': must be {bound}.", name)
    return value


def temperature(body: Body, high: float) -> float:
    """The temperature; 0 when missing, so that an unsampled prompt always gets the same reply."""
    value: float = optional(body, "temperature", (int, float), "a number") or 0.0
    if not 0 <= value <= high:
        raise WireError(
            400, f"Invalid 'temperature': must be between 0 and {high:g}.", "temperature"
        )
    return value


def objects(body: Body, name: str) -> list[Body]:
    """The field as a list of objects; empty when missing. Raises WireError (400) otherwise."""
    values: Sequence[object] = optional(body, name, list, "an array") or []
    for value in values:
        if not isinstance(value, dict):
            raise WireError(400, f"Invalid type for '{name}': expected an array of objects.", name)
    return [cast(Body, value) for value in values]


def messages(body: Body) -> tuple[tuple[str, str], ...]:
    """The chat as (role, text) pairs. Raises WireError (400) when there is none."""
    required(body, "messages", list, "an array")
    found = objects(body, "messages")
    if not found:
        raise WireError(400, "Invalid 'messages': at least one message is required.", "messages")
    return tuple((_role(item), text_of(item)) for item in found)


def _role(message: Body) -> str:
    # Anthropic clients send a tool's result inside a user message.
    role: str = required(message, "role", str, "a string")
    parts: object = message.get("content")
    first: object = (
        next(iter(cast("list[object]", parts)), None) if isinstance(parts, list) else None
    )
    is_result = isinstance(first, dict) and cast(Body, first).get("type") == "tool_result"
    return "tool" if is_result else role


def text_of(message: Body, name: str = "content") -> str:
    """The text of a message; parts that are not text stand in it as JSON."""
    content = optional(message, name, (str, list), "a string or an array")
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(_part_text(part) for part in content)


def _part_text(part: object) -> str:
    if isinstance(part, Mapping):
        text = cast(Body, part).get("text")
        if isinstance(text, str):
            return text
    return json.dumps(part, sort_keys=True)
