"""What `cascade check` warns of: files that can work, but hardly as they were meant."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import pairwise
from typing import Final

from cascade.config import Config
from cascade.config.mistakes import Mistake, place_of
from cascade.config.tables import CascadeTable, TierTable, UseEntry, ValidatorEntry
from cascade.config.validators import entries_of, parts_of
from cascade.decorator import Cascade
from cascade.providers import PROVIDERS, split_model
from cascade.tier import Tier
from cascade.types import Usage

__all__ = ["advice"]

_TYPICAL: Final = Usage(1000, 300)  # to compare prices of input and output in one sum
_NEED_LOGPROBS: Final = frozenset({"entropy", "field_logprob", "logprob", "margin"})


def advice(config: Config, cascades: Mapping[str, Cascade]) -> list[Mistake]:
    """Warnings about a file whose cascades could be built."""
    used = {tier.name: tier for cascade in cascades.values() for tier in cascade.tiers}
    used.update((name, config.tier(name)) for name in _asked_by_validators(config))
    found = [*_unused(config, used)]
    for name, tier in used.items():
        found += _of_tier(config.tables.tiers[name], tier, config)
    for name, cascade in cascades.items():
        table = config.tables.cascades[name]
        found += _of_ladder(name, cascade)
        found += _of_paths(name, cascade)
        found += _of_validators(name, table, cascade)
    return found


def _asked_by_validators(config: Config) -> Iterator[str]:
    for table in config.tables.cascades.values():
        for entry in table.validators:
            for one in entries_of(entry):
                asked = one.options.get("tier") if isinstance(one, UseEntry) else None
                if isinstance(asked, str):
                    yield asked


def _unused(config: Config, used: Mapping[str, Tier]) -> Iterator[Mistake]:
    tables = config.tables
    for name in tables.tiers:
        if name not in used:
            yield Mistake(place_of("tiers", name), "no cascade uses this tier")
    shared = {tier.provider for tier in tables.tiers.values()}
    for name in tables.providers:
        if name not in shared:
            yield Mistake(place_of("providers", name), "no tier uses this provider")


def _of_tier(table: TierTable, tier: Tier, config: Config) -> Iterator[Mistake]:
    place = place_of("tiers", tier.name)
    variable = _key_variable(table, config)
    if variable is not None and not os.environ.get(variable):
        yield Mistake(
            place, f"the environment variable {variable} is not set, so calls to it will fail"
        )
    if tier.price is None:
        yield Mistake(place, "it has no price, so the cost of every call that asks it is unknown")
    if split_model(tier.model or "") is None:
        yield Mistake(
            place,
            f"model={tier.model!r} names no provider, so that only functions with an SDK of their "
            "own can ask it; write it like 'openai:MODEL'",
        )


def _key_variable(table: TierTable, config: Config) -> str | None:
    """The environment variable that a tier's key comes from. None: it needs none."""
    if table.provider is not None:
        shared = config.tables.providers[table.provider]
        kind, own, base_url = shared.kind, shared.api_key_env, shared.base_url
    else:
        named = split_model(table.model)
        if named is None:
            return None
        kind, own, base_url = named[0], table.api_key_env, table.base_url
    return own or (None if base_url else PROVIDERS[kind].key_env)


def _of_ladder(name: str, cascade: Cascade) -> Iterator[Mistake]:
    place = place_of("cascades", name)
    for lower, higher in pairwise(cascade.tiers):
        cheap, dear = _typical_cost_usd(lower), _typical_cost_usd(higher)
        if cheap is not None and dear is not None and cheap > dear:
            yield Mistake(
                f"{place}.tiers",
                f"{lower.name!r} costs more than {higher.name!r} after it; a ladder goes from the "
                "cheapest tier to the dearest",
            )
    if not cascade.validators and len(cascade.tiers) > 1:
        yield Mistake(
            place, "it has no validators, so every answer is accepted and only failures escalate"
        )


def _typical_cost_usd(tier: Tier) -> Decimal | None:
    return None if tier.price is None else tier.price.cost_usd(_TYPICAL)


def _of_paths(name: str, cascade: Cascade) -> Iterator[Mistake]:
    for path in cascade.paths:
        plan = cascade.plan(path)
        for rung in plan.rungs:
            timeout_s = rung.tier.timeout_s
            if plan.budget_s is not None and timeout_s is not None and plan.budget_s < timeout_s:
                yield Mistake(
                    place_of("cascades", name, "paths", path),
                    f"its budget of {plan.budget_s} s ends before the timeout_s={timeout_s} of "
                    f"tier {rung.tier.name!r}, which can then take all of it",
                )


def _of_validators(name: str, table: CascadeTable, cascade: Cascade) -> Iterator[Mistake]:
    for number, entry in enumerate(table.validators):
        place = f"{place_of('cascades', name)}.validators[{number}]"
        for use, tiers in _uses(entry, None):
            for tier in cascade.tiers:
                if use in _NEED_LOGPROBS and (tiers is None or tier.name in tiers):
                    yield from _without_logprobs(place, use, tier)


def _uses(
    entry: ValidatorEntry, tiers: frozenset[str] | None
) -> Iterator[tuple[str, frozenset[str] | None]]:
    """The names in an entry, each with the tiers it judges."""
    if isinstance(entry, str):
        yield entry, tiers
        return
    if entry.tiers is not None:
        tiers = frozenset(entry.tiers) if tiers is None else tiers & frozenset(entry.tiers)
    if isinstance(entry, UseEntry):
        yield entry.use, tiers
    for part in parts_of(entry):
        yield from _uses(part, tiers)


def _without_logprobs(place: str, use: str, tier: Tier) -> Iterator[Mistake]:
    named = split_model(tier.model or "")
    if named is None:
        return
    abstains = f"so {use} abstains on its answers, which is not passing"
    if named[0] == "anthropic":
        yield Mistake(place, f"tier {tier.name!r} gives no log-probabilities, {abstains}")
    elif tier.params.get("logprobs") is not True and named[0] != "recorded":
        yield Mistake(
            place,
            f"tier {tier.name!r} is not asked for log-probabilities, {abstains}; add "
            "params = { logprobs = true } to the tier, unless every request asks for them",
        )
