"""Validators as they stand in a `cascade.toml`: by name, with options, or made of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeAlias

from pydantic import ConfigDict, Discriminator, Field, JsonValue, Tag

from cascade.config.fields import Name, Score, Table

__all__ = [
    "AllEntry",
    "AnyEntry",
    "AtLeastEntry",
    "Entry",
    "NotEntry",
    "UseEntry",
    "ValidatorEntry",
    "WeightedEntry",
]


class Entry(Table):
    """What every validator written as a table may say."""

    name: Name | None = None
    """Another name for it, such as to tell two of a kind apart."""
    tiers: Annotated[list[str], Field(min_length=1)] | None = None
    """The tiers whose answers it judges. Left out: all."""
    optional: bool = False
    """Whether an abstention counts as passed."""


class UseEntry(Entry):
    """A validator by its name, with its options."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue]  # pyright: ignore[reportIncompatibleVariableOverride]

    use: Name
    """The validator's name: a built-in one, or one registered by a module in `imports`."""
    at: Score | None = None
    """The least score that passes. Left out: the validator has no threshold of its own."""

    @property
    def options(self) -> dict[str, Any]:
        """What is handed to the validator's function."""
        given = dict(self.__pydantic_extra__)
        return given if self.at is None else {**given, "at": self.at}


class WeightedPart(UseEntry):
    """A validator with its weight."""

    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """How much its score counts, above 0."""


class AllEntry(Entry):
    """Passes when all of its parts do."""

    all: Annotated[list[ValidatorEntry], Field(min_length=1)]


class AnyEntry(Entry):
    """Passes when one of its parts does."""

    any: Annotated[list[ValidatorEntry], Field(min_length=1)]


class NotEntry(Entry):
    """Passes when its part fails."""

    not_: ValidatorEntry = Field(alias="not")


class AtLeastEntry(Entry):
    """Passes when so many of its parts do."""

    at_least: Annotated[int, Field(ge=1)]
    """How many must pass."""
    of: Annotated[list[ValidatorEntry], Field(min_length=1)]


class WeightedEntry(Entry):
    """Passes when the weighted mean of its parts' scores is at least `at`."""

    weighted: Annotated[list[WeightedPart], Field(min_length=1)]
    at: Score
    """The least mean that passes."""


ENTRIES: Final[Mapping[str, type[Entry]]] = {
    "use": UseEntry,
    "all": AllEntry,
    "any": AnyEntry,
    "not": NotEntry,
    "at_least": AtLeastEntry,
    "weighted": WeightedEntry,
}


def _kind_of_entry(entry: object) -> str | None:
    if isinstance(entry, str):
        return "name"
    if isinstance(entry, Mapping):
        return next((key for key in ENTRIES if key in entry), None)
    return next((key for key, kind in ENTRIES.items() if type(entry) is kind), None)


ValidatorEntry: TypeAlias = Annotated[
    Annotated[Name, Tag("name")]
    | Annotated[UseEntry, Tag("use")]
    | Annotated[AllEntry, Tag("all")]
    | Annotated[AnyEntry, Tag("any")]
    | Annotated[NotEntry, Tag("not")]
    | Annotated[AtLeastEntry, Tag("at_least")]
    | Annotated[WeightedEntry, Tag("weighted")],
    Discriminator(
        _kind_of_entry,
        custom_error_type="validator_entry",
        custom_error_message=(
            "it should be a validator's name, or a table with one of " + ", ".join(ENTRIES)
        ),
    ),
]

# Entries hold entries, which were not all defined when the first of them was.
for _entry in ENTRIES.values():
    _entry.model_rebuild()
