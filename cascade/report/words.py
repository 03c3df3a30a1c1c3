"""Numbers, times and names as people read them, on the page and in the terminal."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from cascade.report.figures import Bill, Share

__all__ = [
    "DASH",
    "clock",
    "count",
    "day_time",
    "duration",
    "interval",
    "moment",
    "money",
    "of_cascade",
    "of_path",
    "percent",
    "plural",
    "rate",
    "route",
    "seconds",
    "spent",
]

DASH: Final = "\N{EN DASH}"
_DAY_S: Final = 86_400
_MOST_OF_A_YEAR_S: Final = 300 * _DAY_S


def money(usd: Decimal | float | None) -> str:
    """USD with three significant digits below a dollar, and cents above. "?": unknown."""
    if usd is None:
        return "?"
    sign, amount = ("-" if usd < 0 else ""), abs(float(usd))
    if amount >= 1 or amount == 0:
        return f"{sign}${amount:,.2f}"
    places = min(12, 2 - math.floor(math.log10(amount)))
    text = f"{amount:.{places}f}".rstrip("0")
    return f"{sign}${text}" + "0" * max(0, 2 - len(text.partition(".")[2]))


def spent(bill: Bill) -> str:
    """The sum of a bill, marked where it is only a lower bound."""
    if not bill.unknown:
        return money(bill.cost_usd)
    return f"≥ {money(bill.cost_usd)}" if bill.cost_usd else "?"


def percent(share: float | None) -> str:
    """A share with one digit. "?": unknown."""
    if share is None:
        return "?"
    text = f"{share:.1%}"
    if text == "0.0%" and share > 0:
        return "<0.1%"
    return ">99.9%" if text == "100.0%" and share < 1 else text


def rate(share: Share) -> str:
    """The rate of a share; a dash where there is nothing to have one."""
    return DASH if share.rate is None else percent(share.rate)


def interval(share: Share) -> str:
    """Its 95 % interval."""
    return f"{share.low * 100:.1f}{DASH}{share.high * 100:.1f}%" if share.of else DASH


def seconds(value: float | None) -> str:
    """Seconds with three significant digits at most. A dash: there are none."""
    if value is None:
        return DASH
    if value < 0.0995:
        return f"{value * 1000:.3g} ms"
    return f"{value:.2f} s" if value < 9.995 else f"{value:,.1f} s"


def count(number: int) -> str:
    """A whole number."""
    return f"{number:,}"


def plural(number: int, one: str, many: str | None = None) -> str:
    """A number of things, as in "1 call", "2 calls"."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def moment(at: float) -> str:
    """Unix time in UTC, to the minute."""
    return f"{_utc(at):%Y-%m-%d %H:%M}"


def day_time(at: float, now: float) -> str:
    """The same in short, for narrow columns; with its year where it is long before `now`."""
    when = _utc(at)
    year = f" {when.year}" if now - at > _MOST_OF_A_YEAR_S else ""
    return f"{when.day}\N{NO-BREAK SPACE}{when:%b}{year} {when:%H:%M}"


def clock(at: float, step_s: float) -> str:
    """Unix time in UTC as a mark of an axis whose marks are so many seconds apart."""
    when = _utc(at)
    if step_s < _DAY_S:
        return f"{when:%H:%M}"
    return f"{when.day} {when:%b}"


def duration(width_s: float) -> str:
    """How long a bucket is, as in "3 hours"."""
    for unit, name in ((_DAY_S, "day"), (3600, "hour"), (60, "minute")):
        if width_s >= unit and width_s % unit == 0:
            number = int(width_s // unit)
            return name if number == 1 else f"{number} {name}s"
    return f"{width_s:,.0f} seconds"


def of_cascade(name: str | None) -> str:
    """A cascade's name."""
    return "(unnamed)" if name is None else name


def of_path(name: str | None) -> str:
    """A path's name."""
    return "(no path)" if name is None else name


def route(cascade: str | None, name: str | None) -> str:
    """A path of a cascade."""
    return f"{of_cascade(cascade)} / {of_path(name)}"


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
