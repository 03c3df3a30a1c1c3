"""Cascades from the tables of a configuration file."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path as FilePath

from cascade.auditing import Audit
from cascade.config.audit_tables import build_audit
from cascade.config.mistakes import ConfigFileError, Mistakes, place_of
from cascade.config.routing import RoutingBuilder
from cascade.config.spending import build_spend
from cascade.config.tables import CascadeTable, ConfigTables, PathTable
from cascade.config.tiers import build_tier
from cascade.config.validators import ValidatorBuilder
from cascade.decorator import Cascade
from cascade.errors import ConfigError, did_you_mean
from cascade.observing import Observer, Recorder
from cascade.routing import Path
from cascade.spend import Spend
from cascade.tier import Tier

__all__ = ["Config", "import_modules"]


class Config:
    """What a `cascade.toml` says, and the tiers and cascades made from it.

    Attributes:
        file: the file it was read from.
        tables: what stands in it.
    """

    def __init__(self, file: FilePath, tables: ConfigTables) -> None:
        self.file = file
        self.tables = tables
        self._tiers: dict[str, Tier] = {}
        self._spend: Spend | None = None
        self._recorders: list[Recorder] | None = None
        self._telemetry: list[Observer] | None = None

    def cascade(self, name: str | None = None) -> Cascade:
        """The cascade of that name. None: the only one.

        Raises:
            ConfigError: there is no such cascade, there are several to choose from, or it says
                something that cannot work; all mistakes at once.
        """
        mistakes = Mistakes(str(self.file))
        built = self.build(self.chosen(name), mistakes)
        if built is None:
            raise ConfigFileError(str(self.file), mistakes.found)
        return built

    def chosen(self, name: str | None) -> str:
        """The name of the cascade meant. Raises ConfigError when there is none or a choice."""
        names = list(self.tables.cascades)
        if name is None and len(names) > 1:
            raise ConfigError(f"{self.file} has several cascades; name one of {', '.join(names)}")
        if name is not None and name not in names:
            raise ConfigError(f"{self.file} has no cascade {name!r}; {did_you_mean(name, names)}")
        return names[0] if name is None else name

    def build(self, name: str, mistakes: Mistakes) -> Cascade | None:
        """The cascade of that name. None when anything in it is wrong, which `mistakes` notes."""
        table = self.tables.cascades[name]
        place = place_of("cascades", name)
        before = mistakes.met
        asked: dict[str, Tier] = {}

        def tier(name: str) -> Tier:
            asked[name] = self.tier(name)
            return asked[name]

        tiers = self._ladder(place, table, tier, mistakes)
        self._check_paths(place, table, mistakes)
        spend = self._spend_of(place, table, mistakes)
        observers = [*self.recorders(mistakes), *self.telemetry(mistakes)]
        builder = ValidatorBuilder(self.file.parent, tier, mistakes)
        validators = builder.build_all(f"{place}.validators", table.validators)
        routing = RoutingBuilder(place, self.file.parent, builder, mistakes).build(table)
        if spend is not None:
            self._check_prices(asked, mistakes)
        if mistakes.met > before:
            return None
        audit: Audit | None = None
        if table.audit is not None:
            with mistakes.at(f"{place}.audit"):
                audit = build_audit(table.audit, self.file.parent, observers)
        built: Cascade | None = None
        with mistakes.at(place):
            built = Cascade(
                name=name,
                tiers=tiers,
                validators=validators,
                paths={path: _path(one) for path, one in table.paths.items()},
                on_exhausted=table.on_exhausted,
                feedback=table.feedback,
                reasks=table.reasks,
                thresholds=table.thresholds,
                policy=None if table.policy is None else self.file.parent / table.policy,
                spend=spend,
                observers=observers,
                audit=audit,
                **routing,
            )
        return built if mistakes.met == before else None

    def without_routers(self) -> Config:
        """What the file says but for learned routers, whose files need not be there."""
        cascades = {
            name: table.model_copy(update={"router": None})
            for name, table in self.tables.cascades.items()
        }
        return Config(self.file, self.tables.model_copy(update={"cascades": cascades}))

    def spend(self, mistakes: Mistakes) -> Spend | None:
        """What holds all cascades of the file to its caps. None: it has none, or mistakes."""
        table = self.tables.spend
        if self._spend is None and table is not None:
            self._spend = build_spend(table, self.tables, self.file.parent, mistakes)
        return self._spend

    def recorders(self, mistakes: Mistakes) -> Sequence[Recorder]:
        """What records the calls of all cascades of the file. Empty: nothing, or mistakes."""
        table = self.tables.ledger
        if self._recorders is None and table is not None:
            from cascade.config.recording import build_recorders

            self._recorders = build_recorders(table, self.file.parent, mistakes) or None
        return self._recorders or ()

    def telemetry(self, mistakes: Mistakes) -> Sequence[Observer]:
        """What traces and measures the calls of all cascades of the file. Empty as `recorders`."""
        table = self.tables.telemetry
        if self._telemetry is None and table is not None:
            from cascade.config.telemetry import build_telemetry

            recorders = self.recorders(mistakes)
            self._telemetry = build_telemetry(table, recorders, mistakes) or None
        return self._telemetry or ()

    def tier(self, name: str) -> Tier:
        """The tier of that name.

        Raises:
            ConfigError: there is none, or it says something that cannot work.
        """
        if name not in self.tables.tiers:
            raise ConfigError(
                f"there is no [tiers.{name}]; {did_you_mean(name, self.tables.tiers)}"
            )
        if name not in self._tiers:
            self._tiers[name] = build_tier(name, self.tables, self.file.parent)
        return self._tiers[name]

    def _spend_of(self, place: str, table: CascadeTable, mistakes: Mistakes) -> Spend | None:
        """What holds one cascade to the caps of the file. None: nothing does, or mistakes."""
        shared = self.spend(mistakes)
        if self.tables.spend is None:
            for option in sorted(table.model_fields_set & {"near_last", "spend"}):
                mistakes.add(f"{place}.{option}", "it has no effect without [spend]; leave it out")
        elif not table.spend and table.near_last is not None:
            mistakes.add(
                f"{place}.near_last", "it has no effect with spend = false; leave out one of them"
            )
        if shared is None or not table.spend:
            return None
        if table.near_last is None:
            return shared
        return shared.with_near_last(table.near_last or None)

    def _ladder(
        self,
        place: str,
        table: CascadeTable,
        tier: Callable[[str], Tier],
        mistakes: Mistakes,
    ) -> list[Tier]:
        ladder: list[Tier] = []
        for number, name in enumerate(table.tiers):
            known = name in self.tables.tiers
            with mistakes.at(place_of("tiers", name) if known else f"{place}.tiers[{number}]"):
                ladder.append(tier(name))
        return ladder

    def _check_prices(self, asked: Mapping[str, Tier], mistakes: Mistakes) -> None:
        """What is asked has a price, judges included: the caps have to count it."""
        for name, tier in asked.items():
            if tier.price is None:
                is_auto = self.tables.tiers[name].price == "auto"
                why = f"no price is listed for {tier.model!r}" if is_auto else "it has no price"
                mistakes.add(
                    place_of("tiers", name),
                    f"{why}, so its calls cannot be held to the caps of [spend]; write "
                    "price = { input = ..., output = ... }, zeros if it is free",
                )

    def _check_paths(self, place: str, table: CascadeTable, mistakes: Mistakes) -> None:
        for name, path in table.paths.items():
            own = f"{place}.{place_of('paths', name)}"
            for option in ("direct", "first", "last", "fast"):
                tier = getattr(path, option)
                if tier is not None and tier not in table.tiers:
                    hint = did_you_mean(tier, table.tiers)
                    mistakes.add(f"{own}.{option}", f"{tier!r} is no tier of this cascade; {hint}")
            with mistakes.at(own):
                _path(path)


def _path(table: PathTable) -> Path:
    return Path(
        budget_s=table.budget_s,
        direct=table.direct,
        first=table.first,
        last=table.last,
        fast=table.fast,
        hedge=table.hedge,
        on_exhausted=table.on_exhausted,
        thresholds=table.thresholds,
        stakes=table.stakes,
        task=table.task,
        feature=table.feature,
    )


def import_modules(file: FilePath, names: Sequence[str]) -> None:
    """Import what the file asks for.

    The file's folder becomes importable, in the last place: modules beside the file are found,
    and none of them stands in for an installed one. It stays so, because modules go on importing
    while they run.

    Raises:
        ConfigError: a module is not there or raises.
    """
    folder = str(file.resolve().parent)
    if names and folder not in sys.path:
        sys.path.append(folder)
    mistakes = Mistakes(str(file))
    for number, name in enumerate(names):
        try:
            importlib.import_module(name)
        except Exception as error:
            mistakes.add(
                f"imports[{number}]",
                f"{name!r} cannot be imported: {type(error).__name__}: {error}",
            )
    mistakes.check()
