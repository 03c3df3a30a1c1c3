"""The charts, as SVG that fits any width: places are percentages, and text keeps its size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

from cascade.report.figures import Latency, Share
from cascade.report.markup import Html, el, join
from cascade.report.words import clock

__all__ = ["Axis", "Line", "bar", "dot_range", "quantile_bar", "trend"]

Values: TypeAlias = Sequence[float | None]

_GRID: Final = 1000  # units of the stretched drawing, both ways
_STEPS_S: Final = (
    *(60, 300, 900, 1_800, 3_600, 10_800, 21_600, 43_200),
    *(86_400, 172_800, 604_800, 1_209_600, 2_419_200, 7_257_600, 31_536_000),
)
_MOST_MARKS: Final = 8


class Axis(NamedTuple):
    """Time: when the first bucket starts, how wide each is, and how many there are."""

    start_at: float
    width_s: float
    buckets: int

    def marks(self) -> Iterator[tuple[float, str]]:
        """Where marks stand, from 0 to 1, and what they say."""
        span_s = self.width_s * self.buckets
        step = next((s for s in _STEPS_S if span_s / s <= _MOST_MARKS), span_s / _MOST_MARKS)
        at = math.ceil(self.start_at / step) * step
        while at < self.start_at + span_s:
            yield (at - self.start_at) / span_s, clock(at, step)
            at += step


class Line(NamedTuple):
    """One value a bucket. `look`: the name of its style. None: the bucket has none."""

    name: str
    values: Values
    look: str


def trend(
    title: str,
    describe: str,
    axis: Axis,
    lines: Sequence[Line],
    unit: Callable[[float], str],
    band: tuple[Values, Values] | None = None,
) -> Html:
    """Lines over time, from 0 up, and a band between two lines.

    Args:
        unit: how a value is written at the axis.
    """
    drawn = [value for line in lines for value in line.values if value is not None]
    drawn += [value for value in (band[1] if band else ()) if value is not None]
    marks = _scale(max(drawn, default=0.0))
    top = marks[-1]
    paths = [_area(band, top)] if band else []
    paths += [_path(line, top) for line in lines]
    return el(
        "svg",
        el("title", title),
        el("desc", describe),
        join(*(_across(mark / top, unit(mark)) for mark in marks)),
        join(*(_down(n, *mark) for n, mark in enumerate(axis.marks()))),
        el(
            "svg",
            *paths,
            viewBox=f"0 0 {_GRID} {_GRID}",
            preserveAspectRatio="none",
        ),
        join(*(_dots(line, top) for line in lines)),
        class_="trend",
        role="img",
        aria_label=f"{title}. {describe}",
    )


def bar(share: float | None, look: str = "accent") -> Html:
    """A horizontal bar. None: an empty one."""
    return _strip(el("rect", width=_percent(share or 0.0), height="100%", class_=look))


def dot_range(share: Share) -> Html:
    """A share as a dot in its interval, on a track from 0 to 100 %."""
    if share.rate is None:
        return _strip()
    return _strip(
        el("rect", x=_percent(share.low), width=_percent(share.high - share.low), y="30%",
           height="40%", class_="range"),
        el("circle", cx=_percent(share.rate), cy="50%", r=4, class_="accent"),
    )  # fmt: skip


def quantile_bar(latency: Latency, longest_s: float, budget_s: float | None) -> Html:
    """p50 as a bar, up to p95 a lighter one, up to p99 a line; the budget as a mark."""
    p50, p95, p99 = latency.p50_s, latency.p95_s, latency.p99_s
    if p50 is None or p95 is None or p99 is None or longest_s <= 0:
        return _strip()
    mark = None
    if budget_s is not None and budget_s <= longest_s:
        place = _percent(budget_s / longest_s)
        mark = el("line", x1=place, x2=place, y1="-3", y2="15", class_="budget")
    return _strip(
        el("rect", width=_percent(p99 / longest_s), y="42%", height="16%", class_="range"),
        el("rect", width=_percent(p95 / longest_s), y="20%", height="60%", class_="range"),
        el("rect", width=_percent(p50 / longest_s), height="100%", class_="accent"),
        mark,
    )


def _strip(*children: Html | None) -> Html:
    """A small drawing beside its numbers, which say it all: no reader needs to be told of it."""
    return el("svg", *children, class_="strip", aria_hidden="true")


def _scale(highest: float) -> list[float]:
    """Round marks from 0 to at least `highest`."""
    if highest <= 0:
        return [0.0, 1.0]
    rough = highest / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(n for n in (1, 2, 2.5, 5, 10) if n * power >= rough * 0.999999)
    return [step * n for n in range(math.ceil(highest / step - 1e-9) + 1)]


def _across(share: float, text: str) -> Html:
    y = _percent(1 - share)
    look = "grid zero" if share == 0 else "grid"
    return join(
        el("line", x1="0", x2="100%", y1=y, y2=y, class_=look),
        el("text", text, x="-8", y=y, dy="0.32em", text_anchor="end"),
    )


def _down(number: int, share: float, text: str) -> Html:
    x = _percent(share)
    every_other = " minor" if number % 2 else ""
    return join(
        el("line", x1=x, x2=x, y1="100%", y2="100%", class_="mark"),
        el(
            "text",
            text,
            x=x,
            y="100%",
            dy="1.5em",
            text_anchor="middle",
            class_=f"time{every_other}",
        ),
    )


def _runs(values: Values) -> Iterator[list[tuple[int, float]]]:
    """The values with their places, in pieces that have no gap."""
    run: list[tuple[int, float]] = []
    for place, value in enumerate(values):
        if value is not None:
            run.append((place, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _points(run: Sequence[tuple[int, float]], of: int, top: float) -> str:
    return " ".join(
        f"{(place + 0.5) / of * _GRID:.1f},{(1 - value / top) * _GRID:.1f}" for place, value in run
    )


def _path(line: Line, top: float) -> Html:
    pieces = [f"M{_points(run, len(line.values), top)}" for run in _runs(line.values)]
    return el("path", d=" ".join(pieces), class_=f"line {line.look}") if pieces else Html()


def _area(band: tuple[Values, Values], top: float) -> Html:
    low, high = band
    pieces: list[str] = []
    for upper in _runs(high):
        first, last = upper[0][0], upper[-1][0]
        lower = [(n, value) for n in range(last, first - 1, -1) if (value := low[n]) is not None]
        pieces.append(f"M{_points([*upper, *lower], len(high), top)}Z")
    return el("path", d=" ".join(pieces), class_="band") if pieces else Html()


def _dots(line: Line, top: float) -> Html:
    """Values without a neighbour, which no line would show."""
    alone = [run[0] for run in _runs(line.values) if len(run) == 1]
    of = len(line.values)
    return join(*(
        el("circle", cx=_percent((place + 0.5) / of), cy=_percent(1 - value / top), r=3,
           class_=line.look)
        for place, value in alone
    ))  # fmt: skip


def _percent(share: float) -> str:
    return f"{share * 100:.6g}%"
