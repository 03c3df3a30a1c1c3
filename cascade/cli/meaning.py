"""What `cascade check` says of faults, budgets and money: in words, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cascade.breaker import Breaker
from cascade.cli.output import usd
from cascade.retry import Retries
from cascade.routing import Plan
from cascade.spend import Cap, Spend
from cascade.spend_store import SQLiteStore
from cascade.tier import Tier

__all__ = [
    "about_own_spend",
    "about_spend",
    "about_tier",
    "about_way",
    "spend_facts",
    "tier_facts",
    "way_facts",
]

_LIMITS = {
    "concurrency": "{} at once",
    "requests_per_min": "{} requests per minute",
    "tokens_per_min": "{} tokens per minute",
    "max_queue": "{} waiting",
}
_CAP = ("per", "scope", "path", "key", "cascade")


def about_tier(tier: Tier) -> Iterator[str]:
    """Lines about what happens when its calls fail or are too many; none where nothing does."""
    fates = [_retries(tier.retries)] if tier.retries.times else []
    if tier.breaker is not None:
        fates.append(_breaker(tier.breaker))
    if fates:
        yield f"when calls fail: {'; '.join(fates)}"
    if tier.deployments:
        names = (one.name or f"{tier.name}-{n}" for n, one in enumerate(tier.deployments, 1))
        yield f"deployments, in this order: {', '.join(names)}"
    if tier.limits is not None:
        given = (text.format(getattr(tier.limits, n)) for n, text in _LIMITS.items()
                 if getattr(tier.limits, n) is not None)  # fmt: skip
        yield f"at most {', '.join(given) or 'any number'}"


def _retries(retries: Retries) -> str:
    times = "1 retry" if retries.times == 1 else f"{retries.times} retries"
    return f"{times}, each after at most {retries.cap_s:g} s"


def _breaker(breaker: Breaker) -> str:
    in_a_row = "" if breaker.consecutive is None else f", or {breaker.consecutive} in a row"
    return (
        f"its circuit opens for {breaker.open_s:g} s when {breaker.failure_rate:.0%} of "
        f"{breaker.min_calls} or more calls fail{in_a_row}"
    )


def tier_facts(tier: Tier) -> dict[str, Any]:
    """The same as JSON."""
    return {
        "latency_s": tier.latency_s,
        "timeout_s": tier.timeout_s,
        "first_token_s": tier.first_token_s,
        "retries": tier.retries.times,
        "breaker": None if tier.breaker is None else _options(tier.breaker, "clock"),
        "limits": None if tier.limits is None else _options(tier.limits),
        "deployments": [
            {"name": one.name, "model": one.model, "base_url": one.base_url}
            for one in tier.deployments
        ],
    }


def _options(options: Any, *without: str) -> dict[str, Any]:
    return {name: getattr(options, name) for name in options.__slots__ if name not in without}


def about_way(plan: Plan) -> str:
    """The ladder of a path, its budget, and what it does to meet it."""
    ladder = " > ".join(rung.tier.name for rung in plan.rungs)
    parts = [ladder, "no budget" if plan.budget_s is None else f"a budget of {plan.budget_s} s"]
    if plan.fast is not None:
        parts.append(f"{plan.rungs[plan.fast].tier.name} alone when nothing fits it")
    if plan.hedge == "deadline":
        parts.append("hedged as late as the budget allows")
    elif plan.hedge != "never":
        parts.append(f"hedged after {plan.hedge} s")
    return ", ".join(parts)


def way_facts(plan: Plan) -> dict[str, Any]:
    """The same as JSON."""
    return {
        "budget_s": plan.budget_s,
        "ladder": [rung.tier.name for rung in plan.rungs],
        "fast": None if plan.fast is None else plan.rungs[plan.fast].tier.name,
        "hedge": plan.hedge,
    }


def about_spend(spend: Spend) -> Iterator[str]:
    """Lines about the caps and where they are counted."""
    where = "a file" if isinstance(spend.store, SQLiteStore) else "memory"
    yield f"spend, counted in {where}"
    for cap in spend.caps:
        yield f"  at most {usd(cap.usd)} {_share(cap)}"
    if spend.near_last is not None:
        yield f"  from {spend.near:.0%} of a cap on: no tier above {spend.near_last}"


def about_own_spend(own: Spend | None, shared: Spend | None) -> Iterator[str]:
    """Lines about what a cascade does otherwise than [spend] says; none where it does not."""
    if shared is None:
        return
    if own is None:
        yield "not held to the caps of [spend]"
    elif own.near_last != shared.near_last:
        which = "the whole ladder" if own.near_last is None else f"no tier above {own.near_last}"
        yield f"from {own.near:.0%} of a cap on: {which}"


def _share(cap: Cap) -> str:
    per = "in total" if cap.per == "total" else f"per {cap.per}"
    each = "" if cap.scope == "all" else f" for each {_word(cap.scope)}"
    only = "".join(
        f", {_word(name)} {value} only"
        for name in ("path", "key", "cascade")
        if (value := getattr(cap, name)) is not None
    )
    return f"{per}{each}{only}"


def _word(scope: str) -> str:
    return "tenant" if scope == "key" else scope


def spend_facts(spend: Spend | None) -> dict[str, Any] | None:
    """The same as JSON. None: nothing is capped."""
    if spend is None:
        return None
    return {
        "store": "sqlite" if isinstance(spend.store, SQLiteStore) else "memory",
        "near": float(spend.near),
        "near_last": spend.near_last,
        "caps": [
            {"usd": f"{cap.usd:f}", **{name: getattr(cap, name) for name in _CAP}}
            for cap in spend.caps
        ],
    }
