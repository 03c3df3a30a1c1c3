"""Validators from the entries of a configuration file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from cascade import registry
from cascade.composition import at_least, weighted
from cascade.config.entries import (
    AllEntry,
    AnyEntry,
    AtLeastEntry,
    Entry,
    NotEntry,
    UseEntry,
    ValidatorEntry,
    WeightedEntry,
)
from cascade.config.mistakes import Mistakes
from cascade.errors import ConfigError
from cascade.tier import Tier
from cascade.validation import Judges, Validator

__all__ = ["NESTED_ENTRY", "ValidatorBuilder", "entries_of", "nested_entry", "parts_of"]

NESTED_ENTRY: Final = "validator"
"""The option that holds a validator itself, as in `{ use = "calibrated", validator = {...} }`."""

_FILE_OPTIONS: Final = {"json_schema": ("schema",)}

_ENTRY: Final[TypeAdapter[ValidatorEntry]] = TypeAdapter(ValidatorEntry)


class ValidatorBuilder:
    """Builds validators from entries.

    Args:
        folder: where relative paths in options start.
        tier: the tier of a name, for the option `tier`; raises ConfigError for an unknown one.
        mistakes: collects what cannot be built.
    """

    def __init__(self, folder: Path, tier: Callable[[str], Tier], mistakes: Mistakes) -> None:
        self._folder = folder
        self._tier = tier
        self._mistakes = mistakes

    def build_all(self, place: str, entries: Sequence[ValidatorEntry]) -> list[Validator]:
        """The validators of those entries that can be built; the others are noted as mistakes."""
        built: list[Validator] = []
        for number, entry in enumerate(entries):
            with self._mistakes.at(f"{place}[{number}]"):
                built.append(self.build(entry))
        return built

    def build(self, entry: ValidatorEntry) -> Validator:
        """The validator of one entry. Raises ConfigError."""
        if isinstance(entry, str):
            return registry.build(entry, {})
        made = self._bare(entry)
        if entry.name is not None:
            made = made.named(entry.name)
        if entry.tiers is not None:
            made = made.for_tiers(*entry.tiers)
        return made.optional() if entry.optional else made

    def _bare(self, entry: Entry) -> Validator:
        match entry:
            case UseEntry():
                return self._use(entry)
            case AllEntry():
                first, *others = map(self.build, entry.all)
                return _joined(first, others, lambda a, b: a & b)
            case AnyEntry():
                first, *others = map(self.build, entry.any)
                return _joined(first, others, lambda a, b: a | b)
            case NotEntry():
                return ~self.build(entry.not_)
            case AtLeastEntry():
                return at_least(entry.at_least, *map(self.build, entry.of))
            case WeightedEntry():
                parts: dict[Validator | Judges, float] = {
                    self.build(part): part.weight for part in entry.weighted
                }
                if len(parts) < len(entry.weighted):
                    raise ConfigError("weighted has the same validator twice; add up its weights")
                return weighted(parts, at=entry.at)
            case _:
                raise TypeError(f"no validator is made from a {type(entry).__name__}")

    def _use(self, entry: UseEntry) -> Validator:
        options = {option: self._resolved(option, value) for option, value in entry.options.items()}
        for option in _FILE_OPTIONS.get(entry.use, ()):
            if isinstance(options.get(option), str):
                options[option] = str(self._folder / options[option])
        return registry.build(entry.use, options)

    def _resolved(self, option: str, value: Any) -> Any:
        if option == "tier" and isinstance(value, str):
            return self._tier(value)
        if option == NESTED_ENTRY:
            return self.build(nested_entry(value))
        return value


def _joined(
    first: Validator,
    others: Sequence[Validator],
    join: Callable[[Validator, Validator], Validator],
) -> Validator:
    for other in others:
        first = join(first, other)
    return first


def nested_entry(value: Any) -> ValidatorEntry:
    """The entry in an option's value. Raises ConfigError when it is none."""
    try:
        return _ENTRY.validate_python(value)
    except ValidationError:
        raise ConfigError(
            f"the option {NESTED_ENTRY!r} should be a validator's name, or a table such as "
            '{ use = "logprob" }'
        ) from None


def parts_of(entry: ValidatorEntry) -> Sequence[ValidatorEntry]:
    """The entries that an entry is made of."""
    match entry:
        case AllEntry():
            return entry.all
        case AnyEntry():
            return entry.any
        case NotEntry():
            return [entry.not_]
        case AtLeastEntry():
            return entry.of
        case WeightedEntry():
            return entry.weighted
        case UseEntry() if NESTED_ENTRY in entry.options:
            return [nested_entry(entry.options[NESTED_ENTRY])]
        case _:
            return []


def entries_of(entry: ValidatorEntry) -> Iterator[ValidatorEntry]:
    """An entry, then all those it is made of, however deep."""
    yield entry
    for part in parts_of(entry):
        yield from entries_of(part)
