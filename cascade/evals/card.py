"""A policy for people: what it does, what it promises, and what else there was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cascade.policy import Policy

__all__ = ["card", "lines_up"]


def card(policy: Policy) -> str:
    """The policy's card, as text."""
    e = policy.evidence
    head = [
        f"policy {policy.sha256()[:12]}{_if(e.get('created_at'), ', created {}')}",
        f"  tiers       {' > '.join(policy.tiers)} (strong: {policy.strong})",
        f"  signals     {', '.join(policy.signals) or 'none'}",
        f"  slices      {_slices(policy)}",
        f"  first asks  {_starts(policy)}",
        f"  states      {', '.join(policy.states)}",
    ]
    parts = [[*head, *_proof(e), *_promise(e)], _singles(e)]
    if "families" in e:
        parts.append(_families(e))
    return "\n\n".join("\n".join(part) for part in [*parts, *_cautions(e)])


def _if(value: Any, template: str) -> str:
    return template.format(value) if value else ""


def _slices(policy: Policy) -> str:
    if policy.slice_by is None:
        return "none"
    return f"by {policy.slice_by}: {', '.join(name for name in policy.start if name) or 'pooled'}"


def _starts(policy: Policy) -> str:
    distinct = set(policy.start.values())
    if len(distinct) == 1:
        return distinct.pop()
    return ", ".join(f"{name or 'any other'}: {tier}" for name, tier in policy.start.items())


def _proof(e: Mapping[str, Any]) -> list[str]:
    if "certificate" in e:
        return [f"  proof       {e['certificate']['text']}"]
    reached = "" if e["reaches_target"] else ", which nothing reaches"
    return [
        f"  kind        {e['family']}",
        f"  target      {e['target']:.1%} of the strong tier's accuracy{reached}",
        *_router(e.get("router")),
    ]


def _router(router: Mapping[str, bool] | None) -> list[str]:
    """What came of the learned router; nothing, where none was tried."""
    if router is None:
        return []
    if not router["improves"]:
        return ["  router      left out: it does not improve the cross-validated curve"]
    if not router["used"]:
        return ["  router      improves the curve, but another kind is cheapest at this target"]
    return ["  router      learnt from the prompts, and begins the call"]


def _promise(e: Mapping[str, Any]) -> list[str]:
    low, high = e["intervals"]["accuracy"]
    cheap, dear = e["intervals"]["relative_cost"]
    baseline = e["mixture_accuracy"]
    mixed = "none costs as little" if baseline is None else f"{baseline:.2%}"
    how = "certified on" if "certificate" in e else f"{e['folds']}-fold cross-validated on"
    return [
        (
            f"  accuracy    {e['accuracy']:.2%} ({low:.2%} to {high:.2%}), "
            f"{_share(e['quality_vs_strong'])} of the strong tier's"
        ),
        f"  cost        {e['relative_cost']:.1%} of the strong tier's ({cheap:.1%} to {dear:.1%})",
        f"  mixture     {mixed} is what the best random mix of single tiers gets for that money",
        f"  evidence    {how} {e['n']} queries, seed {e['seed']}, data {e['data_sha256'][:12]}",
    ]


def _singles(e: Mapping[str, Any]) -> list[str]:
    rows = [("single tier", "accuracy", "cost")]
    for tier, one in e["single_tiers"].items():
        rows.append((tier, f"{one['accuracy']:.2%}", _share(one["relative_cost"])))
    return lines_up(rows)


def _families(e: Mapping[str, Any]) -> list[str]:
    shares = list(next(iter(e["families"].values()))["cost_at"])
    rows = [("kind of policy", "AUC", *(f"cost at {float(s):.0%}" for s in shares))]
    for name, found in e["families"].items():
        costs = (_share(found["cost_at"][s]) for s in shares)
        rows.append((name, "-" if found["auc"] is None else f"{found['auc']:.3f}", *costs))
    return lines_up(rows)


def _cautions(e: Mapping[str, Any]) -> list[list[str]]:
    if not e["few_queries"]:
        return []
    needed = max(e["queries_for_two_points"], e["n"])
    few = f"{e['n']} queries are few: the accuracy is known to a few points only."
    return [[f"{few} About {needed} would settle it to two."]]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def lines_up(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows as lines with straight columns: the first to the left, the others to the right."""
    table = list(rows)
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
            ]
        ).rstrip()
        for row in table
    ]
