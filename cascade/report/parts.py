"""The building blocks of the page: tables, figures with their data, sections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cascade.report.markup import Child, Html, el, join, name

__all__ = ["Column", "Key", "chart", "note", "section", "table", "tag", "who"]


class Column(NamedTuple):
    """A column: its heading, and what stands in it: "text", "n" (numbers), "wide" or "say"."""

    heading: str
    look: str = "text"


class Key(NamedTuple):
    """What a colour of a chart stands for. `look`: "line", "area" or "dashed"."""

    text: str
    colour: str
    look: str = "line"


def section(id: str, title: str, *parts: Child) -> Html:
    """A part of the page."""
    return el("section", el("h2", title, id=id), *parts, aria_labelledby=id)


def note(text: Child) -> Html:
    """A remark."""
    return el("p", text, class_="note")


def tag(look: str, text: str) -> Html:
    """A word with a colour that repeats what it says."""
    return el("span", text, class_=f"tag {look}")


def who(first: str, *more: str) -> Html:
    """Names of things, from the whole to its part."""
    parts = [name(first)]
    for one in more:
        parts += [el("span", " / ", class_="weak"), name(one)]
    return join(*parts)


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Iterable[Sequence[Child]],
    *,
    parts: Iterable[int] = (),
) -> Html:
    """A table whose first column names the row; it scrolls sideways where it is too wide.

    Args:
        parts: which rows are parts of the row above them.
    """
    inner = frozenset(parts)
    head = el("tr", *(el("th", c.heading, scope="col", class_=_look(c)) for c in columns))
    body = [_row(columns, row, number in inner) for number, row in enumerate(rows)]
    whole = el("table", el("caption", caption), el("thead", head), el("tbody", *body))
    return el("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def chart(title: str, keys: Iterable[Key], drawing: Html, data: Html) -> Html:
    """A drawing with its title, its legend, and the numbers behind it."""
    legend = (
        el("span", key.text, class_=f"key {key.look}", style=f"--look:var(--{key.colour})")
        for key in keys
    )
    return el(
        "figure",
        el("figcaption", el("strong", title), *legend),
        drawing,
        el("details", el("summary", f"Data: {title}"), data),
    )


def _row(columns: Sequence[Column], cells: Sequence[Child], is_part: bool) -> Html:
    made = [
        el("td", cell, class_=_look(column))
        for column, cell in zip(columns[1:], cells[1:], strict=True)
    ]
    return el("tr", el("th", cells[0], scope="row"), *made, class_="part" if is_part else None)


def _look(column: Column) -> str | None:
    return None if column.look == "text" else column.look
