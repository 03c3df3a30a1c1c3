"""The report as one HTML file: no network, no script."""

from __future__ import annotations

from importlib.metadata import version

from cascade.report.claims import gaps, headlines, period
from cascade.report.figures import Figures
from cascade.report.markup import Html, el, join, name
from cascade.report.page_cost import cost
from cascade.report.page_faults import faults
from cascade.report.page_latency import latency
from cascade.report.page_quality import quality
from cascade.report.page_routes import routes
from cascade.report.parts import section
from cascade.report.style import STYLE
from cascade.report.words import plural

__all__ = ["page"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(figures: Figures) -> str:
    """The whole file's text."""
    title = "Cascade report" if figures.cascade is None else f"Cascade report: {figures.cascade}"
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        el("link", rel="icon", href="data:,"),
        el("title", title),
        el("style", Html(STYLE)),
    )
    body = el("body", _header(figures, title), el("main", *_main(figures)), _footer(figures))
    return f"<!doctype html>\n{el('html', head, body, lang='en')}\n"


def _header(figures: Figures, title: str) -> Html:
    requests = plural(figures.totals.requests, "request")
    return el(
        "header",
        el("h1", name(title)),
        el("p", f"{requests}, {period(figures)}"),
    )


def _main(figures: Figures) -> list[Html]:
    if not figures.totals.requests:
        return [el("p", "The ledger holds no calls of this period.", class_="lead")]
    tiles = [
        el("div", el("dt", one.name), el("dd", one.value, class_="value"),
           el("dd", one.note, class_="under"))
        for one in headlines(figures)
    ]  # fmt: skip
    return [
        el("dl", *tiles, class_="headlines"),
        cost(figures),
        routes(figures),
        quality(figures),
        latency(figures),
        faults(figures),
        section("gaps", "What the ledger does not say", _list(gaps(figures))),
    ]


def _list(lines: object) -> Html:
    return el("ul", *(el("li", str(line)) for line in lines))  # type: ignore[attr-defined]


def _footer(figures: Figures) -> Html:
    made = f"Made by cascade-engine {version('cascade-engine')} from "
    return el(
        "footer",
        join(made, name(figures.ledger), ". Times are UTC, money is USD. Intervals are 95 % "
             "(Wilson); quantiles are by the nearest rank."),
    )  # fmt: skip
