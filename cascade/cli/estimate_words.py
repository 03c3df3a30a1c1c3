"""How `cascade estimate` writes numbers, and the sentences that stand in every estimate."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from typing import Final

from cascade.cli.output import usd

__all__ = ["MODEL", "money", "percent", "whole"]

MODEL: Final = (
    "acceptance depends on the kind of call alone, not on the tiers that were asked before",
    "every tier reads and writes as many tokens; no prompt cache, retry or re-ask is billed",
    "what the strongest tier answers is taken, judged by no paid validator unless one is named",
    "medians are added up, as if a call that is slow on one tier were not slow on the next",
)


def money(amount: Decimal) -> str:
    """USD for people: cents; below a dollar, four digits that count."""
    sign = "-" if amount < 0 else ""
    size = abs(amount)
    if not 0 < size < 1:
        return f"{sign}${_rounded(size, 2)}"
    return f"{sign}{usd(Context(prec=4, rounding=ROUND_HALF_UP).plus(size))}"


def percent(share: Decimal | None, unknown: str = "unknown") -> str:
    """A share for people, to a tenth of a per cent."""
    return unknown if share is None else f"{_rounded(share * 100, 1)} %"


def whole(count: Decimal) -> str:
    """A count for people."""
    return _rounded(count, 0)


def _rounded(number: Decimal, places: int) -> str:
    """Halves up, as people do it."""
    with localcontext(rounding=ROUND_HALF_UP):
        return f"{number:,.{places}f}"
