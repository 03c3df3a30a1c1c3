"""Conditions of rules in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, cast

__all__ = ["said"]

Condition: TypeAlias = Any


def said(condition: Condition) -> str:
    """A condition in words."""
    return _said(condition, holds=True)


def _said(condition: Condition, *, holds: bool) -> str:
    """The words for that it is met, or that it is not."""
    if isinstance(condition, Mapping):
        inner = cast("Mapping[str, Condition]", condition)
        if "not" in inner:
            return _said(inner["not"], holds=not holds)
        return "is unknown" if inner.get("unknown") is holds else "is known"
    if isinstance(condition, list | tuple | set | frozenset):
        return _any_said(list(cast("Iterable[Condition]", condition)), holds=holds)
    if _is_comparison(condition):
        if holds:
            return str(condition)
        return f"not ({condition})" if " and " in condition else f"not {condition}"
    return f"is {_shown(condition)}" if holds else f"is not {_shown(condition)}"


def _any_said(values: list[Condition], *, holds: bool) -> str:
    """The words for that any of them is met, or that none is."""
    if all(_is_plain(value) for value in values) and len(values) > 1:
        return f"is {'one' if holds else 'none'} of {', '.join(map(_shown, values))}"
    return (" or " if holds else " and ").join(_said(value, holds=holds) for value in values)


def _is_plain(value: Condition) -> bool:
    return not (value is None or isinstance(value, Mapping) or _is_comparison(value))


def _is_comparison(value: Condition) -> bool:
    return isinstance(value, str) and value.lstrip().startswith(("<", ">", "!=", "="))


def _shown(value: Condition) -> str:
    if value is None:
        return "unknown"
    return str(value).lower() if isinstance(value, bool) else str(value)
