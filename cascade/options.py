"""Checks of the options users write, so that a slip fails at construction with its mend."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import ParamSpec

from cascade.errors import ConfigError, did_you_mean

P = ParamSpec("P")


def named_options(init: Callable[P, None]) -> Callable[P, None]:
    """Make an `__init__` answer an unknown keyword with the nearest one it knows."""
    _, *parameters = inspect.signature(init).parameters.values()
    known = [parameter.name for parameter in parameters]
    by_place = sum(parameter.kind is not parameter.KEYWORD_ONLY for parameter in parameters)

    @functools.wraps(init)
    def checked(*args: P.args, **kwargs: P.kwargs) -> None:
        if len(args) > by_place + 1:  # the one is self
            raise ConfigError(
                f"{type(args[0]).__name__} takes options by name; write {known[by_place]}=..."
            )
        for name in kwargs:
            if name not in known:
                owner = type(args[0]).__name__
                raise ConfigError(f"{owner} has no option {name!r}; {did_you_mean(name, known)}")
        init(*args, **kwargs)

    return checked


def check_seconds(name: str, value: float | None) -> None:
    """Raises ConfigError unless `value` is None or a finite number of seconds above 0."""
    if value is not None and not (_is_number(value) and value > 0):
        raise ConfigError(
            f"{name}={value!r} is not a time; give seconds above 0, or leave it out for no limit"
        )


def check_threshold(name: str, value: float) -> None:
    """Raises ConfigError unless `value` is a score between 0 and 1."""
    if not (_is_number(value) and 0 <= value <= 1):
        raise ConfigError(
            f"the threshold of {name} is {value!r}; give a score between 0 and 1 "
            "(scores are scaled so that 1 is surely good)"
        )


def check_weight(name: str, value: float) -> None:
    """Raises ConfigError unless `value` is a finite number above 0."""
    if not (_is_number(value) and value > 0):
        raise ConfigError(f"the weight of {name} is {value!r}; give a number above 0")


def check_count(name: str, value: int, *, least: int) -> None:
    """Raises ConfigError unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"{name}={value!r} is not a whole number of {least} or more")


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond every float
        return False
