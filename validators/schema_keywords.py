"""JSON Schema keywords that are judged our own way: in bounded time, and numbers exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final, cast

from cascade.validators.patterns import search

__all__ = ["OVERRIDES", "pointer", "shortened"]

_MAX_CHARS: Final = 200


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if isinstance(value, str) and not search(pattern, value):
        yield ValidationError(f"{shortened(repr(value))} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], value: Any, schema: Any
) -> Iterator[Any]:
    if not isinstance(value, dict):
        return
    members = cast("dict[str, Any]", value)
    for pattern, part in patterns.items():
        for name, member in members.items():
            if search(pattern, name):
                yield from validator.descend(member, part, path=name, schema_path=pattern)


def _multiple_of(validator: Any, divisor: Any, value: Any, schema: Any) -> Iterator[Any]:
    """Exact: 0.07 is a multiple of 0.01, which binary floating point denies."""
    from jsonschema.exceptions import ValidationError

    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if (_exact(value) / _exact(divisor)).denominator != 1:
        yield ValidationError(f"{value!r} is not a multiple of {divisor!r}")


def _exact(number: float) -> Fraction:
    return Fraction(number) if isinstance(number, int) else Fraction(repr(number))


def _unique_items(validator: Any, unique: bool, value: Any, schema: Any) -> Iterator[Any]:
    """In linear time, where comparing each with each would let a long list block."""
    from jsonschema.exceptions import ValidationError

    if unique and isinstance(value, list | tuple):
        items = cast("Sequence[Any]", value)
        if len({_frozen(item) for item in items}) < len(items):
            yield ValidationError("an item stands twice in a list of unique ones")


def _frozen(value: Any) -> Any:
    """A hashable that is equal for values equal in JSON: 1 is 1.0, but true is not 1."""
    if isinstance(value, bool):
        return (bool, value)
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return frozenset((name, _frozen(member)) for name, member in members.items())
    if isinstance(value, list | tuple):
        return (list, *map(_frozen, cast("Sequence[Any]", value)))
    return value


def pointer(path: Iterable[Any]) -> str:
    """A JSON pointer (RFC 6901); the whole document is called "the top level"."""
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in path)
    return shortened("".join(f"/{step}" for step in steps)) or "the top level"


def shortened(text: str) -> str:
    """A quotation for a message: bounded, and it encodes whatever is in it."""
    short = text if len(text) <= _MAX_CHARS else text[:_MAX_CHARS] + "..."
    return short.encode("utf-8", "backslashreplace").decode()


OVERRIDES: Final[Mapping[str, Any]] = {
    "multipleOf": _multiple_of,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "uniqueItems": _unique_items,
}
"""By keyword, in the form that `jsonschema.validators.extend` takes."""
