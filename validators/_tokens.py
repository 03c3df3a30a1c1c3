"""The token log-probabilities of an answer, checked, and the statistics over them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from cascade.context import Context
from cascade.errors import ConfigError, did_you_mean
from cascade.types import Answer, TokenLogprob

__all__ = [
    "LEAST_LOGPROB",
    "ROUNDING",
    "Statistic",
    "Tokens",
    "mass",
    "read_tokens",
    "statistic_named",
]

LEAST_LOGPROB: Final = -20.0
"""Natural log; below it a logprob says "very unlikely" and no more.

Providers write -9999.0 or minus infinity for a token outside of the likeliest ones that they keep.
How unlikely is not said, and one such token must not decide the mean of a thousand others.
"""

ROUNDING: Final = 1e-3
"""A logprob above 0 by no more than this is 0 that was rounded; above it, it is none."""

Statistic: TypeAlias = Callable[[Sequence[float]], float]


class Tokens(NamedTuple):
    """The tokens that wrote an answer, and their natural logprobs in LEAST_LOGPROB..0."""

    tokens: Sequence[TokenLogprob]
    logprobs: Sequence[float]


def read_tokens(answer: Answer[Any], context: Context) -> Tokens | str:
    """The answer's tokens; or why there are none, as a reason code. Read once per answer."""
    given = answer.logprobs
    if given is None:
        return "no_logprobs"
    cached = context.cache.get(read_tokens)
    if cached is not None and cached[0] is given:
        found: Tokens | str = cached[1]
        return found
    found = _read(given)
    context.cache[read_tokens] = (given, found)
    return found


def _read(given: Any) -> Tokens | str:
    try:
        tokens: list[TokenLogprob] = list(given)
        # What ends an answer writes nothing, and vLLM gives it the logprob -9999.0.
        while tokens and not tokens[-1].token and not tokens[-1].utf8:
            tokens.pop()
        logprobs = [token.logprob for token in tokens]
        if not all(logprob <= ROUNDING for logprob in logprobs):  # NaN is not
            return "bad_logprobs"
        clamped = [min(0.0, max(LEAST_LOGPROB, float(logprob))) for logprob in logprobs]
    except (AttributeError, TypeError, ValueError):
        return "bad_logprobs"
    return Tokens(tokens, clamped) if tokens else "no_logprobs"


def mass(logprob: float) -> float:
    """The probability of a listed token.

    Raises:
        ValueError: the logprob is NaN or above 0.
        TypeError: it is no number.
    """
    if not logprob <= ROUNDING:
        raise ValueError("not a logprob")
    return min(1.0, math.exp(logprob))


_STATISTICS: Final[dict[str, Statistic]] = {
    "mean": lambda values: math.fsum(values) / len(values),
    "min": min,
    "max": max,
    "sum": math.fsum,
}
_STATISTICS["perplexity"] = _STATISTICS["mean"]
_QUANTILE: Final = re.compile(r"p(?!00)([0-9]{2})")


def statistic_named(who: str, name: str, known: Sequence[str]) -> Statistic:
    """The statistic of that name: one of `known`, or a quantile "p01" to "p99".

    Quantiles are interpolated linearly (type 7 of Hyndman and Fan, Sample Quantiles in
    Statistical Packages, 1996), which is numpy's default.

    Raises:
        ConfigError: there is none of that name.
    """
    if isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        if name in known:
            return _STATISTICS[name]
        if quantile := _QUANTILE.fullmatch(name):
            return _quantile(int(quantile[1]) / 100)
    meant = did_you_mean(str(name), [*known, "p10", "p90"])
    raise ConfigError(f'{who}: statistic={name!r}; {meant} (any quantile from "p01" to "p99" is)')


def _quantile(share: float) -> Statistic:
    def quantile(values: Sequence[float]) -> float:
        ordered = sorted(values)
        place = share * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (ordered[above] - ordered[below]) * (place - below)

    return quantile
