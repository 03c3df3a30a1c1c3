"""The report as one file: whole, escaped, and the same every time."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cascade.cli.output import as_json
from cascade.report.markup import el, join, name
from cascade.report.page import page
from cascade.report.words import day_time
from tests.report.ledgers import attempt, call, figures

EVIL = '<script>alert("x")</script>&\u202e'


class Tags(HTMLParser):
    """Counts tags, and notes what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        for key, value in attrs:
            if key in ("src", "href") and value and not value.startswith(("data:", "#")):
                self.fetched.append(value)
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert tags.open == []
    return tags


def some_calls(evil: str = "p") -> list[object]:
    made: list[object] = [
        call(n, attempt("small", "accepted", 1), path=evil, tenant=evil, cascade=evil)
        for n in range(30)
    ]
    broken = attempt("small", "rejected", 1), attempt("large", "failed", 1)
    made.append(call(30, *broken, path=evil, cascade=evil))
    return made


def test_names_are_text_and_nothing_is_fetched(tmp_path: Path) -> None:
    found = figures(tmp_path, some_calls(EVIL))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    text = page(found)
    tags = parsed(text)
    assert "script" not in tags.seen
    assert tags.fetched == []
    assert "&lt;script&gt;" in text
    assert text == page(found)


def test_an_empty_ledger_says_so(tmp_path: Path) -> None:
    text = page(figures(tmp_path, [], {"nobody": True}))
    parsed(text)
    assert "holds no calls of this period" in text


def test_each_drawing_has_a_name_and_its_numbers(tmp_path: Path) -> None:
    text = page(figures(tmp_path, some_calls()))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    drawings = re.findall(r"<svg[^>]*role=\"img\"[^>]*>", text)
    assert drawings
    assert all("aria-label" in one for one in drawings)
    assert text.count("<figure>") == text.count("<summary>Data: ")


def test_the_same_as_json_keeps_money_exact(tmp_path: Path) -> None:
    found = figures(tmp_path, some_calls())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    told = json.loads(as_json(asdict(found)))
    assert Decimal(told["totals"]["bill"]["cost_usd"]) == 41
    assert told["totals"]["requests"] == 31


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_stays_text(text: str, attribute: str) -> None:
    made = el("p", text, name(text), title=attribute)
    tags = parsed(made)
    assert tags.seen == {"p", "bdi"}
    assert join(made, text).startswith("<p")


def test_a_time_in_short_has_its_year_only_where_it_could_be_mistaken() -> None:
    at = 1_780_000_000.0  # 2026-05-28T20:26:40Z
    assert day_time(at, at + 7 * 86_400) == "28\N{NO-BREAK SPACE}May 20:26"
    assert day_time(at, at + 364 * 86_400) == "28\N{NO-BREAK SPACE}May 2026 20:26"
