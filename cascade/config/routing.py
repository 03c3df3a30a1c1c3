"""Rules, floors and signals from the tables of a configuration file."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.config.mistakes import Mistakes
from cascade.config.rule_tables import RouterTable, RuleTable
from cascade.config.tables import CascadeTable
from cascade.config.validators import ValidatorBuilder
from cascade.errors import ConfigError, did_you_mean
from cascade.rules import Rule

if TYPE_CHECKING:
    from cascade.learn import LearnedRouter

__all__ = ["RoutingBuilder", "find_function"]


class RoutingBuilder:
    """Builds what decides the routes of one cascade.

    Args:
        place: where the cascade stands in the file.
        folder: where its modules are looked for, after all others.
        validators: builds the validators that rules add.
        mistakes: collects what cannot be built.
    """

    def __init__(
        self, place: str, folder: Path, validators: ValidatorBuilder, mistakes: Mistakes
    ) -> None:
        self._place = place
        self._folder = folder
        self._validators = validators
        self._mistakes = mistakes

    def build(self, table: CascadeTable) -> dict[str, Any]:
        """The options of the `Cascade`; what cannot be built is left out and noted."""
        options: dict[str, Any] = {
            "rules": self._rules(table),
            "floors": table.floors,
            "signals": {
                name: found
                for name, function in table.signals.items()
                if (found := self._function(f"{self._place}.signals.{name}", function)) is not None
            },
        }
        if table.request_from is not None:
            options["request_from"] = self._function(
                f"{self._place}.request_from", table.request_from
            )
        with self._mistakes.at(f"{self._place}.router"):
            options["router"] = self._router(table)
        for stakes, tier in table.floors.items():
            self._check(f"{self._place}.floors.{stakes}", "tier", tier, table.tiers)
        return options

    def _router(self, table: CascadeTable) -> LearnedRouter | None:
        if table.router is None:
            return None
        from cascade.learn import LearnedRouter

        entry = RouterTable(file=table.router) if isinstance(table.router, str) else table.router
        embed = None if entry.embed is None else find_function(entry.embed, self._folder)
        made = LearnedRouter.load(self._folder / entry.file, value_usd=entry.value_usd, embed=embed)
        known = [head.tier for head in made.model.heads]
        if len(set(known) & set(table.tiers)) < 2:
            raise ConfigError(
                f"{entry.file!r} was trained on the tiers {', '.join(known)}, of which this "
                "cascade has too few to choose from; train it on runs of these tiers"
            )
        return made

    def _rules(self, table: CascadeTable) -> list[Rule]:
        rules: list[Rule] = []
        for number, one in enumerate(table.rules):
            place = f"{self._place}.rules[{number}]"
            for option in ("tier", "first", "last"):
                self._check(f"{place}.{option}", "tier", getattr(one, option), table.tiers)
            for tier in one.forbid:
                self._check(f"{place}.forbid", "tier", tier, table.tiers)
            self._check(f"{place}.path", "path", one.path, list(table.paths))
            with self._mistakes.at(place):
                rules.append(self._rule(place, one))
        return rules

    def _rule(self, place: str, table: RuleTable) -> Rule:
        when: Any = table.conditions()
        if isinstance(table.when, str):
            when = self._function(f"{place}.when", table.when)
        validators = self._validators.build_all(f"{place}.validators", table.validators)
        return Rule(table.name, when=when, validators=validators, **table.options())

    def _check(self, place: str, what: str, name: str | None, known: list[str]) -> None:
        if name is not None and name not in known:
            hint = did_you_mean(name, known)
            self._mistakes.add(place, f"{name!r} is no {what} of this cascade; {hint}")

    def _function(self, place: str, name: str) -> Callable[..., Any] | None:
        found: Callable[..., Any] | None = None
        with self._mistakes.at(place):
            found = find_function(name, self._folder)
        return found


def find_function(name: str, folder: Path) -> Callable[..., Any]:
    """The function that "module:function" names.

    Its module is looked for in `folder` too, after all other places, which stays so.

    Raises:
        ConfigError: there is no such module or function, or the module raises.
    """
    module_name, _, attribute = name.partition(":")
    place = str(folder.resolve())
    if place not in sys.path:
        sys.path.append(place)
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise ConfigError(
            f"{module_name!r} cannot be imported: {type(error).__name__}: {error}"
        ) from None
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise ConfigError(f"{module_name!r} has no function {attribute!r}")
    function: Callable[..., Any] = found
    return function
