"""HTML and SVG from functions: whatever is not markup already is escaped."""

from __future__ import annotations

import re
from html import escape
from typing import Final, TypeAlias

__all__ = ["Child", "Html", "el", "join", "name"]

# Markup cannot hold these, and no name needs them.
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_VOID: Final = frozenset({"br", "link", "meta"})


class Html(str):
    """Markup: text that must not be escaped again."""

    __slots__ = ()


Child: TypeAlias = "Html | str | int | float | None"


def el(tag: str, *children: Child, **attributes: str | float | bool | None) -> Html:
    """An element. `class_` is written `class`, `aria_label` is written `aria-label`.

    An attribute of None or False is left out, and one of True has no value.
    """
    written = "".join(map(_attribute, attributes, attributes.values()))
    if tag in _VOID:
        return Html(f"<{tag}{written}>")
    return Html(f"<{tag}{written}>{join(*children)}</{tag}>")


def join(*children: Child) -> Html:
    """Markup and text, one after the other."""
    return Html("".join(_text(child) for child in children))


def name(text: str) -> Html:
    """A user's name for something; whichever way it is written, it does not turn what follows."""
    return el("bdi", text)


def _text(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    return escape(_clean(str(child)), quote=False)


def _attribute(key: str, value: str | float | bool | None) -> str:
    key = key.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    return f" {key}" if value is True else f' {key}="{escape(_clean(_number(value)))}"'


def _number(value: str | float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _clean(text: str) -> str:
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)
