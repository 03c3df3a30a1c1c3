"""Conditions of rules in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, cast

__all__ = ["said"]

Condition: TypeAlias = Any


def said(condition: Condition) -> str:
    """A condition in words."""
    if isinstance(condition, Mapping):
        inner = cast("Mapping[str, Condition]", condition)
        if "not" in inner:
            return _one_of("is not", "is none of", inner["not"])
        return "is unknown" if inner.get("unknown") else "is known"
    return _one_of("is", "is one of", condition)


def _one_of(one: str, several: str, condition: Condition) -> str:
    if not isinstance(condition, list | tuple | set | frozenset):
        return _said(one, condition)
    values = list(cast("Iterable[Condition]", condition))
    if all(_is_plain(value) for value in values) and len(values) > 1:
        return f"{several} {', '.join(map(_shown, values))}"
    return " or ".join(_said(one, value) for value in values)


def _is_plain(value: Condition) -> bool:
    return not (value is None or isinstance(value, Mapping) or _is_comparison(value))


def _is_comparison(value: Condition) -> bool:
    return isinstance(value, str) and value.lstrip().startswith(("<", ">", "!=", "="))


def _said(verb: str, value: Condition) -> str:
    if isinstance(value, Mapping):
        return said(cast("Condition", value))
    if _is_comparison(value):
        return str(value) if verb == "is" else f"not {value}"
    return f"{verb} {_shown(value)}"


def _shown(value: Condition) -> str:
    if value is None:
        return "unknown"
    return str(value).lower() if isinstance(value, bool) else str(value)
