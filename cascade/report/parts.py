"""The building blocks of the page: tables, figures with their data, sections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from cascade.report.markup import Child, Html, el, join, name

__all__ = ["Column", "Key", "chart", "note", "section", "table", "tag", "who"]

_BESIDE_NAME: Final = 2  # so many values have room beside the name of their row on a phone


class Column(NamedTuple):
    """A column: its heading, and what stands in it.

    `look`: "text"; "n", a number; "when", a time; "say", sentences; or "wide", a drawing of the
    number beside it, which is left out on a phone.
    """

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


def note(text: Child, *, of_drawings: bool = False) -> Html:
    """A remark; one on the drawings in a table is left out where they are."""
    return el("p", text, class_="note wide" if of_drawings else "note")


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

    On a phone, the name of a row stands above its values where there are more than two of them.

    Args:
        parts: which rows are parts of the row above them.
    """
    inner = frozenset(parts)
    heads = (
        el("th", c.heading, scope="col", role="columnheader", class_=_look(c)) for c in columns
    )
    body = [_row(columns, row, number in inner) for number, row in enumerate(rows)]
    values = sum(column.look not in ("wide", "say") for column in columns[1:])
    whole = el(
        "table",
        el("caption", caption),
        el("thead", el("tr", *heads, role="row"), role="rowgroup"),
        el("tbody", *body, role="rowgroup"),
        role="table",  # said, because where it is laid out as a grid a browser may forget it
        class_="tall" if values > _BESIDE_NAME else None,
        style=f"--values:{values}",
    )
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
        el("td", cell, role="cell", class_=_look(column))
        for column, cell in zip(columns[1:], cells[1:], strict=True)
    ]
    named = el("th", cells[0], scope="row", role="rowheader")
    return el("tr", named, *made, role="row", class_="part" if is_part else None)


def _look(column: Column) -> str | None:
    return None if column.look == "text" else column.look
