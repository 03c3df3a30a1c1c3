"""How the requests of one command are to be answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cascade.errors import ConfigError
from cascade.types import Fact

__all__ = ["Way", "declared"]


class Way(NamedTuple):
    """How requests go through a cascade.

    Attributes:
        path: the name of a path. None: the whole ladder without a budget.
        budget_s: seconds each request may take, where its path gives it longer. None: as the
            path says.
        signals: facts that the calls declare. None: nothing.
    """

    path: str | None = None
    budget_s: float | None = None
    signals: Mapping[str, Fact] | None = None


def declared(given: Sequence[str] | None) -> dict[str, Fact]:
    """What `--signal NAME=VALUE` says: a number, true or false where it looks like one, else text.

    Raises:
        ConfigError: one is not NAME=VALUE.
    """
    return dict(map(_declared, given or ()))


def _declared(given: str) -> tuple[str, Fact]:
    name, mark, value = given.partition("=")
    if not mark or not name:
        raise ConfigError(f"--signal {given!r} should be NAME=VALUE, such as stakes=high")
    if value in ("true", "false"):
        return name, value == "true"
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value
