"""Tiers from the tables of a configuration file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from cascade.breaker import Breaker
from cascade.config.tables import (
    BreakerEntry,
    ConfigTables,
    DeploymentTable,
    PriceTable,
    ProviderTable,
    RetriesEntry,
    TierTable,
)
from cascade.delivery import Deployment
from cascade.errors import AuthenticationError, ConfigError, did_you_mean
from cascade.limits import Limits
from cascade.providers import PROVIDERS, split_model
from cascade.retry import Retries
from cascade.tier import Tier
from cascade.types import NO_USAGE, UNSET, Price, Secret, Unset

__all__ = ["EnvironmentKey", "build_tier", "key_variables"]


class EnvironmentKey(Secret):
    """The key in an environment variable, read at each call, so that it may change."""

    __slots__ = ()

    @property
    def variable(self) -> str:
        """The variable's name."""
        return self._value

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


def build_tier(name: str, tables: ConfigTables, folder: Path) -> Tier:
    """The tier of that name, which is in `tables`; relative paths in it start at `folder`.

    Raises:
        ConfigError: it says something that cannot work.
    """
    table = tables.tiers[name]
    connection = _connection(table, tables, folder)
    return Tier(
        name,
        price=_price(table),
        params=table.params,
        drop_params=table.drop_params,
        latency_s=table.latency_s,
        timeout_s=table.timeout_s,
        first_token_s=table.first_token_s,
        deployments=list(_deployments(table, tables, folder)),
        retries=_retries(table.retries),
        breaker=_breaker(table.breaker),
        limits=None if table.limits is None else Limits(**table.limits.given()),
        **connection,
    )


def _connection(table: TierTable, tables: ConfigTables, folder: Path) -> dict[str, Any]:
    """Where the tier's model is: from its own table, or from the provider it names."""
    if table.provider is None:
        return {
            "model": _located(table.model, folder),
            "base_url": table.base_url,
            "api_key": table.api_key_env and EnvironmentKey(table.api_key_env),
            "headers": table.headers,
        }
    provider = _provider(table.provider, tables)
    _check_shared(table, table.provider, provider.kind)
    return {
        "model": f"{provider.kind}:{table.model}",
        "base_url": provider.base_url,
        "api_key": provider.api_key_env and EnvironmentKey(provider.api_key_env),
        "headers": {**provider.headers, **table.headers},
    }


def _deployments(table: TierTable, tables: ConfigTables, folder: Path) -> Iterator[Deployment]:
    for number, one in enumerate(table.deployments or ()):
        try:
            yield _deployment(one, table, tables, folder)
        except ConfigError as error:
            raise ConfigError(f"deployments[{number}]: {error}") from None


def _deployment(
    table: DeploymentTable, tier: TierTable, tables: ConfigTables, folder: Path
) -> Deployment:
    if table.provider is None:
        return Deployment(
            table.name,
            model=table.model and _located(table.model, folder),
            base_url=table.base_url,
            api_key=None if table.api_key_env is None else EnvironmentKey(table.api_key_env),
            headers=table.headers or None,
        )
    provider = _provider(table.provider, tables)
    _check_shared(table, table.provider, provider.kind)
    known = PROVIDERS[provider.kind]
    variable = provider.api_key_env or (None if provider.base_url else known.key_env)
    return Deployment(
        table.name,
        model=f"{provider.kind}:{table.model or _bare_model(tier)}",
        # Said in full, or what this provider leaves out would be taken from the tier.
        base_url=provider.base_url or known.base_url,
        api_key=None if variable is None else EnvironmentKey(variable),
        headers={**provider.headers, **table.headers},
    )


def _bare_model(table: TierTable) -> str:
    """The name of a tier's model without its wire format."""
    return table.model if table.provider is not None else table.model.partition(":")[2]


def _located(model: str, folder: Path) -> str:
    """A model; where it is a file of recorded runs, one that starts at the file's folder."""
    kind, _, name = model.partition(":")
    return f"{kind}:{folder / name}" if kind == "recorded" and name else model


def _provider(name: str, tables: ConfigTables) -> ProviderTable:
    if name not in tables.providers:
        raise ConfigError(f"there is no [providers.{name}]; {did_you_mean(name, tables.providers)}")
    return tables.providers[name]


def _check_shared(table: TierTable | DeploymentTable, name: str, kind: str) -> None:
    """Refuse what would be said twice. Raises ConfigError."""
    for option in ("base_url", "api_key_env"):
        if getattr(table, option) is not None:
            raise ConfigError(
                f"{option} stands beside provider={name!r}; "
                f"leave it out, or write it in [providers.{name}]"
            )
    if kind not in PROVIDERS:
        raise ConfigError(f"[providers.{name}] has kind={kind!r}; {did_you_mean(kind, PROVIDERS)}")
    if table.model is not None and table.model.startswith(f"{kind}:"):
        raise ConfigError(
            f"model={table.model!r} names the wire format, as provider={name!r} does "
            f"already; write model={table.model.removeprefix(f'{kind}:')!r}"
        )


def _price(table: TierTable) -> Price | Literal["auto"] | None:
    return Price(**table.price.given()) if isinstance(table.price, PriceTable) else table.price


def _retries(entry: RetriesEntry | None) -> int | Retries | None:
    return entry if entry is None or isinstance(entry, int) else Retries(**entry.given())


def _breaker(entry: BreakerEntry | None) -> Breaker | Unset | None:
    if entry is None:
        return UNSET
    if isinstance(entry, bool):
        return Breaker() if entry else None
    return Breaker(**entry.given())


def key_variables(tier: Tier) -> list[str]:
    """The environment variables that the keys of a tier from a file come from, each once."""
    own = _variable(tier.model, tier.api_key, tier.base_url)
    found = [own] if not tier.deployments else []
    for one in tier.deployments:
        model = one.model or tier.model
        is_elsewhere = one.base_url is not None or _kind(model) != _kind(tier.model)
        key = one.api_key if is_elsewhere else one.api_key or tier.api_key
        found.append(_variable(model, key, one.base_url if is_elsewhere else tier.base_url))
    return list(dict.fromkeys(variable for variable in found if variable is not None))


def _variable(model: str | None, key: Secret | None, base_url: str | None) -> str | None:
    """Where a key is. None: none is sent."""
    if isinstance(key, EnvironmentKey):
        return key.variable
    kind = _kind(model)
    return None if kind is None or base_url else PROVIDERS[kind].key_env


def _kind(model: str | None) -> str | None:
    named = None if model is None else split_model(model)
    return None if named is None else named[0]
