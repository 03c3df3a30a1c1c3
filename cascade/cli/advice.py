"""What `cascade check` warns of: files that can work, but hardly as they were meant."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import pairwise
from typing import Final

from cascade.cli.output import usd
from cascade.cli.rules import of_rules
from cascade.config import Config
from cascade.config.entries import UseEntry, ValidatorEntry
from cascade.config.mistakes import Mistake, place_of
from cascade.config.tables import CascadeTable, TierTable
from cascade.config.tiers import key_variables
from cascade.config.validators import entries_of, parts_of
from cascade.decorator import Cascade
from cascade.providers import split_model, with_provider
from cascade.routing import Plan
from cascade.spend import Cap, Spend
from cascade.spend_store import MemoryStore
from cascade.tier import Tier
from cascade.types import Usage

__all__ = ["advice"]

_TYPICAL: Final = Usage(1000, 300)  # to compare prices of input and output in one sum
_NEED_LOGPROBS: Final = frozenset({"entropy", "field_logprob", "logprob", "margin"})


def advice(
    config: Config, cascades: Mapping[str, Cascade], spend: Spend | None = None
) -> list[Mistake]:
    """Warnings about a file whose cascades could be built; `spend` holds its caps."""
    used = {tier.name: tier for cascade in cascades.values() for tier in cascade.tiers}
    used.update((name, config.tier(name)) for name in _asked_by_validators(config))
    found = [*_unused(config, used)]
    for name, tier in used.items():
        found += _of_tier(config.tables.tiers[name], tier)
    for name, cascade in cascades.items():
        table = config.tables.cascades[name]
        found += _of_ladder(name, cascade)
        found += _of_paths(name, cascade)
        found += of_rules(name, cascade)
        found += _of_validators(name, table, cascade)
    return found if spend is None else [*found, *_of_spend(spend, cascades)]


def _asked_by_validators(config: Config) -> Iterator[str]:
    for name, table in config.tables.cascades.items():
        for _, entry in _entries(name, table):
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
    for tier in tables.tiers.values():
        shared.update(one.provider for one in tier.deployments or ())
    for name in tables.providers:
        if name not in shared:
            yield Mistake(place_of("providers", name), "no tier uses this provider")


def _of_tier(table: TierTable, tier: Tier) -> Iterator[Mistake]:
    place = place_of("tiers", tier.name)
    for variable in key_variables(tier):
        if not os.environ.get(variable):
            yield Mistake(
                place, f"the environment variable {variable} is not set, so calls to it will fail"
            )
    if tier.price is None and table.price == "auto":
        yield Mistake(
            place,
            f"no price is listed for model={tier.model!r}, so the cost of every call that asks it "
            "is unknown; write price = { input = ..., output = ... }",
        )
    elif tier.price is None:
        yield Mistake(place, "it has no price, so the cost of every call that asks it is unknown")
    if split_model(tier.model or "") is None:
        yield Mistake(
            place,
            f"model={tier.model!r} names no provider, so that only functions with an SDK of their "
            f"own can ask it; write it like {with_provider(tier.model or 'MODEL')!r}",
        )
    if table.limits is not None and table.limits.model_fields_set <= {"max_queue"}:
        yield Mistake(place, "its limits limit nothing; add concurrency or leave them out")


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
        place, plan = place_of("cascades", name, "paths", path), cascade.plan(path)
        for message in (*_of_budget(plan), *_of_hedge(plan)):
            yield Mistake(place, message)


def _of_budget(plan: Plan) -> Iterator[str]:
    if plan.budget_s is None:
        return
    for rung in plan.rungs:
        timeout_s, latency_s = rung.tier.timeout_s, rung.tier.latency_s
        if timeout_s is not None and plan.budget_s < timeout_s:
            yield (
                f"its budget of {plan.budget_s} s ends before the timeout_s={timeout_s} of "
                f"tier {rung.tier.name!r}, which can then take all of it"
            )
        if latency_s is not None and plan.budget_s < latency_s:
            yield (
                f"its budget of {plan.budget_s} s is shorter than the latency_s={latency_s} of "
                f"tier {rung.tier.name!r}, which can hardly answer in time"
            )


def _of_hedge(plan: Plan) -> Iterator[str]:
    if plan.hedge == "never":
        return
    if len(plan.rungs) == 1:
        yield "hedge has no effect with one tier on its ladder; leave it out"
    elif plan.budget_s is not None and plan.hedge != "deadline" and plan.hedge >= plan.budget_s:
        yield f"hedge={plan.hedge} s has no effect, as its budget of {plan.budget_s} s is over then"


def _of_spend(spend: Spend, cascades: Mapping[str, Cascade]) -> Iterator[Mistake]:
    for number, cap in enumerate(spend.caps):
        place = f"spend.caps[{number}]"
        for tier in _capped(cap, cascades):
            least = spend.estimate_usd(tier)
            if least > cap.usd:
                yield Mistake(
                    place,
                    f"tier {tier.name!r} can never be asked: {usd(least)} is reserved for its "
                    "answer alone; raise the cap, or set max_tokens in the tier's params",
                )
        if cap.per in ("month", "total") and isinstance(spend.store, MemoryStore):
            yield Mistake(
                place,
                f"per={cap.per!r} is counted in memory, so each start of a program begins at 0; "
                "write store = 'sqlite:spend.db' in [spend]",
            )


def _capped(cap: Cap, cascades: Mapping[str, Cascade]) -> list[Tier]:
    """The tiers that some call under a cap may ask, each once."""
    found: dict[str, Tier] = {}
    for name, cascade in cascades.items():
        if cascade.plan().spend is None:
            continue
        if cap.cascade in (None, name) and (cap.path is None or cap.path in cascade.paths):
            rungs = cascade.plan(cap.path).rungs
            found.update((rung.tier.name, rung.tier) for rung in rungs)
    return list(found.values())


def _entries(name: str, table: CascadeTable) -> Iterator[tuple[str, ValidatorEntry]]:
    """The validators of a cascade and those that its rules add, each with its place."""
    place = place_of("cascades", name)
    for number, entry in enumerate(table.validators):
        yield f"{place}.validators[{number}]", entry
    for which, rule in enumerate(table.rules):
        for number, entry in enumerate(rule.validators):
            yield f"{place}.rules[{which}].validators[{number}]", entry


def _of_validators(name: str, table: CascadeTable, cascade: Cascade) -> Iterator[Mistake]:
    for place, entry in _entries(name, table):
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
