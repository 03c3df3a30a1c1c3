"""What a router learns from a ledger: the requests of real calls, and which tiers were good enough.

A ledger knows of each call only the tiers that were asked. So a label is, in this order: what an
outcome says of the accepted answer, or an audit of the strongest tier's; that validators accepted
an answer (right) or rejected it (wrong); and, of a tier dearer than one that was right, that it
would have been right too. A call of which that leaves a tier unknown teaches nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from cascade.errors import ConfigError
from cascade.evals.ledger_runs import TELLERS, Told, told_of
from cascade.learn.examples import Examples
from cascade.ledger.stored import StoredCall
from cascade.signals import Said
from cascade.types import Fact, Request

__all__ = ["examples_of"]


def examples_of(
    calls: Iterable[StoredCall],
    tiers: Mapping[str, str],
    where: Mapping[str, Sequence[str]] | None = None,
) -> Examples:
    """The calls that tell how right each tier was, read with their content.

    Costs that are not known, as of a tier that was not asked, are the mean of the tier's others.

    Args:
        tiers: the tier's name in the ledger by the tier's name, cheapest first.
        where: the values that dataset (the cascade) or task (the signal) may have.

    Raises:
        ConfigError: nothing is left, or the cost of a tier is known of no call.
    """
    if len(tiers) < 2:
        raise ConfigError("a router chooses between two tiers or more; name them in --tiers")
    names = list(tiers.values())
    known: dict[str, list[float]] = defaultdict(list)
    kept: list[tuple[StoredCall, Request, list[float], dict[str, float]]] = []
    dropped = 0
    for call in calls:
        if not _passes(call, where or {}):
            continue
        costs = _costs(call)
        for name, cost_usd in costs.items():
            known[name].append(cost_usd)
        request = _request(call)
        correct = _correct(call, names)
        if request is None or correct is None:
            dropped += 1
        else:
            kept.append((call, request, correct, costs))
    _check(names, known, len(kept), dropped)
    mean = {name: sum(known[name]) / len(known[name]) for name in names}
    return Examples(
        tuple(tiers),
        tuple((call.cascade or "", "", call.id) for call, *_ in kept),
        tuple(Said(request).text for _, request, *_ in kept),
        tuple(_known(call) for call, *_ in kept),
        tuple(tuple(correct) for _, _, correct, _ in kept),
        tuple(tuple(costs.get(name, mean[name]) for name in names) for *_, costs in kept),
        dropped,
        tuple(request for _, request, *_ in kept),
    )


def _request(call: StoredCall) -> Request | None:
    """What was asked. None: it is not stored, or has no text."""
    if call.request is None:
        return None
    request = Request(call.request["messages"], **call.request["params"])
    return request if Said(request).text else None


def _known(call: StoredCall) -> dict[str, Fact]:
    """The signals that were looked at, and the path."""
    return {**({} if call.path is None else {"path": call.path}), **call.signals}


def _check(names: Sequence[str], known: Mapping[str, object], kept: int, dropped: int) -> None:
    if missing := [name for name in names if name not in known]:
        raise ConfigError(
            f"the ledger knows no cost of {', '.join(missing)}; --tiers names tiers that were asked"
        )
    if not kept:
        raise ConfigError(
            f"none of the ledger's {dropped} calls tells how right every tier was and what was "
            'asked; requests are stored where content = "all"'
        )


def _passes(call: StoredCall, where: Mapping[str, Sequence[str]]) -> bool:
    facts = {"dataset": call.cascade or "", "task": str(call.signals.get("task", ""))}
    return all(facts.get(field, "") in allowed for field, allowed in where.items())


def _costs(call: StoredCall) -> dict[str, float]:
    """By tier what all its asks cost; without those of which that is unknown."""
    costs: dict[str, float] = defaultdict(float)
    unknown: set[str] = set()
    for attempt in call.attempts:
        if attempt.outcome == "skipped":
            continue
        if attempt.cost_usd is None:
            unknown.add(attempt.tier)
        else:
            costs[attempt.tier] += float(attempt.cost_usd)
    return {tier: cost_usd for tier, cost_usd in costs.items() if tier not in unknown}


def _correct(call: StoredCall, names: Sequence[str]) -> list[float] | None:
    """How right each tier was. None: of one of them nobody knows."""
    told = told_of(call.outcomes, TELLERS)
    labels = _seen(call, told)
    if told is not None and told.best is not None:
        labels.setdefault(names[-1], told.best)
    found: list[float] = []
    for name in names:
        label = labels.get(name)
        if label is None and found and found[-1] == 1.0:
            label = 1.0
        if label is None:
            return None
        found.append(label)
    return found


def _seen(call: StoredCall, told: Told | None) -> dict[str, float]:
    """By tier, how right its answer was; of several asks of a tier the last."""
    labels: dict[str, float] = {}
    for attempt in call.attempts:
        if attempt.outcome == "rejected":
            labels[attempt.tier] = 0.0
        elif attempt.outcome == "accepted":
            labels[attempt.tier] = 1.0 if told is None else told.score
        elif attempt.outcome != "skipped":
            labels.pop(attempt.tier, None)
    return labels
