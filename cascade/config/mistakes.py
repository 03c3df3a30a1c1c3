"""Mistakes in a configuration file: each with its place, all of them told at once."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from cascade.errors import ConfigError

__all__ = ["ConfigFileError", "Mistake", "Mistakes", "place_of"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class Mistake(NamedTuple):
    """What is wrong, and where: `place` is a dotted path of keys. "" is the file as a whole."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class ConfigFileError(ConfigError):
    """A configuration file that cannot work.

    Attributes:
        file: the file, as it was named.
        mistakes: all that were found.
    """

    def __init__(self, file: str, mistakes: Sequence[Mistake]) -> None:
        self.file = file
        self.mistakes = tuple(mistakes)
        if len(self.mistakes) == 1:
            super().__init__(f"{file}: {self.mistakes[0]}")
        else:
            lines = "".join(f"\n  {mistake}" for mistake in self.mistakes)
            super().__init__(f"{file} has {len(self.mistakes)} mistakes:{lines}")


class Mistakes:
    """Collects mistakes, so that one run shows all of them.

    Attributes:
        found: each mistake once.
        met: how often one was met, the same one again included.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Mistake] = []
        self.met = 0

    def add(self, place: str, message: str) -> None:
        """Note one; the same one only once, as shared tiers are met once a cascade."""
        self.met += 1
        mistake = Mistake(place, message)
        if mistake not in self.found:
            self.found.append(mistake)

    @contextmanager
    def at(self, place: str) -> Generator[None]:
        """Note a ConfigError of the block as a mistake at `place`, and go on after the block."""
        try:
            yield
        except ConfigError as error:
            self.add(place, str(error))

    def check(self) -> None:
        """Raises ConfigFileError if any was found."""
        if self.found:
            raise ConfigFileError(self.file, self.found)


def place_of(*keys: str | int) -> str:
    """A place in TOML's own notation: `cascades.support.validators[1]`."""
    place = ""
    for key in keys:
        if isinstance(key, int):
            place += f"[{key}]"
        else:
            shown = key if _BARE_KEY.fullmatch(key) else f'"{key}"'
            place += f".{shown}" if place else shown
    return place
