"""Tiers and cascades from the tables of a configuration file."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any

from cascade.config.mistakes import ConfigFileError, Mistakes, place_of
from cascade.config.tables import CascadeTable, ConfigTables, PathTable, PriceTable, TierTable
from cascade.config.validators import ValidatorBuilder
from cascade.decorator import Cascade
from cascade.errors import AuthenticationError, ConfigError, did_you_mean
from cascade.providers import PROVIDERS
from cascade.routing import Path
from cascade.tier import Tier
from cascade.types import NO_USAGE, Price, Secret

__all__ = ["Config", "EnvironmentKey", "import_modules"]


class EnvironmentKey(Secret):
    """The key in an environment variable, read at each call, so that it may change."""

    __slots__ = ()

    def reveal(self) -> str:
        """The key.

        Raises:
            AuthenticationError: the variable is not set.
        """
        key = os.environ.get(self._value)
        if not key:
            raise AuthenticationError(
                f"the environment variable {self._value} is not set; set it to the key",
                usage=NO_USAGE,
            )
        return key

    def __repr__(self) -> str:
        return f"EnvironmentKey({self._value!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EnvironmentKey) and other._value == self._value

    def __hash__(self) -> int:
        return hash((EnvironmentKey, self._value))


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
        before = len(mistakes.found)
        tiers = self._ladder(place, table, mistakes)
        self._check_paths(place, table, mistakes)
        builder = ValidatorBuilder(self.file.parent, self.tier, mistakes)
        validators = builder.build_all(f"{place}.validators", table.validators)
        if len(mistakes.found) > before:
            return None
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
            )
        return built

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
            self._tiers[name] = self._made(name, self.tables.tiers[name])
        return self._tiers[name]

    def _ladder(self, place: str, table: CascadeTable, mistakes: Mistakes) -> list[Tier]:
        ladder: list[Tier] = []
        for number, name in enumerate(table.tiers):
            known = name in self.tables.tiers
            with mistakes.at(place_of("tiers", name) if known else f"{place}.tiers[{number}]"):
                ladder.append(self.tier(name))
        return ladder

    def _check_paths(self, place: str, table: CascadeTable, mistakes: Mistakes) -> None:
        for name, path in table.paths.items():
            own = f"{place}.{place_of('paths', name)}"
            for option in ("direct", "first", "last"):
                tier = getattr(path, option)
                if tier is not None and tier not in table.tiers:
                    hint = did_you_mean(tier, table.tiers)
                    mistakes.add(f"{own}.{option}", f"{tier!r} is no tier of this cascade; {hint}")
            with mistakes.at(own):
                _path(path)

    def _made(self, name: str, table: TierTable) -> Tier:
        return Tier(
            name,
            price=None if table.price is None else _price(table.price),
            params=table.params,
            drop_params=table.drop_params,
            timeout_s=table.timeout_s,
            **self._connection(table),
        )

    def _connection(self, table: TierTable) -> dict[str, Any]:
        """Where the tier's model is: from its own table, or from the provider it names."""
        if table.provider is None:
            return {
                "model": self._located(table.model),
                "base_url": table.base_url,
                "api_key": table.api_key_env and EnvironmentKey(table.api_key_env),
                "headers": table.headers,
            }
        if table.provider not in self.tables.providers:
            hint = did_you_mean(table.provider, self.tables.providers)
            raise ConfigError(f"there is no [providers.{table.provider}]; {hint}")
        provider = self.tables.providers[table.provider]
        _check_shared(table, provider.kind)
        return {
            "model": f"{provider.kind}:{table.model}",
            "base_url": provider.base_url,
            "api_key": provider.api_key_env and EnvironmentKey(provider.api_key_env),
            "headers": {**provider.headers, **table.headers},
        }

    def _located(self, model: str) -> str:
        """A model; where it is a file of recorded runs, one that starts at this file's folder."""
        kind, _, name = model.partition(":")
        return f"{kind}:{self.file.parent / name}" if kind == "recorded" and name else model


def _check_shared(table: TierTable, kind: str) -> None:
    """Refuse what would be said twice. Raises ConfigError."""
    for option in ("base_url", "api_key_env"):
        if getattr(table, option) is not None:
            raise ConfigError(
                f"{option} stands beside provider={table.provider!r}; "
                f"leave it out, or write it in [providers.{table.provider}]"
            )
    if kind not in PROVIDERS:
        raise ConfigError(
            f"[providers.{table.provider}] has kind={kind!r}; {did_you_mean(kind, PROVIDERS)}"
        )
    if table.model.startswith(f"{kind}:"):
        raise ConfigError(
            f"model={table.model!r} names the wire format, as provider={table.provider!r} does "
            f"already; write model={table.model.removeprefix(f'{kind}:')!r}"
        )


def _price(table: PriceTable) -> Price:
    return Price(
        input=table.input,
        output=table.output,
        cached_input=table.cached_input,
        cache_write=table.cache_write,
        reasoning=table.reasoning,
    )


def _path(table: PathTable) -> Path:
    return Path(
        budget_s=table.budget_s,
        direct=table.direct,
        first=table.first,
        last=table.last,
        on_exhausted=table.on_exhausted,
        thresholds=table.thresholds,
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
