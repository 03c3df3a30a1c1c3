"""How `cascade explain` shows the route of a request: for people, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from cascade.cli.meaning import about_way, way_facts
from cascade.explaining import Explanation, Met, Tried
from cascade.signals import BUILT_IN, Cue
from cascade.types import Fact

__all__ = ["explanation_row", "one_line", "shown"]

_CUES: Final = 3
_WEIGHED: Final = 5


def shown(explanation: Explanation) -> str:
    """All of it, for people."""
    return "\n".join([
        "signals",
        *_signals(explanation),
        "rules",
        *(_rules(explanation.tried) or ["  none was tried"]),
        *_router(explanation.router),
        "plan",
        f"  {about_way(explanation.plan)}" + _on_path(explanation),
        f"  why: {_why(explanation)}",
    ])  # fmt: skip


def one_line(row: Mapping[str, Any]) -> str:
    """The route of one request of a file."""
    name = f"line {row['line']}" + ("" if row["id"] is None else f" ({row['id']})")
    ladder = " > ".join(row["plan"]["ladder"])
    return f"{name}: {ladder}, {row['rule'] or 'no rule'}: {row['reason']}"


def explanation_row(explanation: Explanation) -> dict[str, Any]:
    """All of it, as JSON."""
    return {
        "signals": dict(explanation.signals),
        "cues": [cue._asdict() for cue in explanation.cues],
        "rules": [
            {
                "rule": tried.rule,
                "matched": tried.matched,
                "marks": tried.marks,
                "conditions": [met._asdict() for met in tried.conditions],
            }
            for tried in explanation.tried
        ],
        "rule": explanation.plan.rule,
        "reason": _why(explanation),
        "router": _router_row(explanation.router),
        "plan": {"path": explanation.plan.path, **way_facts(explanation.plan)},
    }


def _why(explanation: Explanation) -> str:
    plan = explanation.plan
    if plan.rule_reason is not None:
        return plan.rule_reason
    if plan.rule is not None:
        return "the rule says nothing of the ladder"
    return "no rule matched" if explanation.tried else "there are no rules"


def _on_path(explanation: Explanation) -> str:
    path = explanation.plan.path
    return "" if path is None else f", on path {path}"


def _signals(explanation: Explanation) -> Iterator[str]:
    known = explanation.signals
    width = max(map(len, known), default=0)
    for name, value in known.items():
        note = _cues(explanation.cues, value) if name == "detected_task" else ""
        yield f"  {name:<{width}}  {_shown(value)}{note}"
    unknown = [name for name in BUILT_IN if name not in known]
    if unknown:
        yield f"  unknown: {', '.join(unknown)}"


def _cues(cues: tuple[Cue, ...], task: Fact) -> str:
    """What spoke for the task that was detected, the strongest first."""
    speaking = [f"{cue.what} {cue.weight:+g}" for cue in cues if cue.task == task]
    more = f" and {len(speaking) - _CUES} more" if len(speaking) > _CUES else ""
    return f"  ({', '.join(speaking[:_CUES])}{more})" if speaking else ""


def _rules(tried: tuple[Tried, ...]) -> list[str]:
    lines: list[str] = []
    for one in tried:
        verdict = "no" if not one.matched else "yes"
        marks = f", marks {one.marks} stakes" if one.marks else ""
        lines.append(f"  {one.rule}: {verdict}{marks}")
        lines += [f"    {_met(met)}" for met in one.conditions]
    return lines


def _met(met: Met) -> str:
    if met.signal == "when" and met.value is None:
        return f"{met.condition}: {'yes' if met.is_met else 'no'}"
    state = "met" if met.is_met else "not met"
    return f"{met.signal} {met.condition}: {state}, it is {_shown(met.value)}"


def _shown(value: Fact) -> str:
    if value is None:
        return "unknown"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _router(said: Any) -> list[str]:
    """What a learned router says of its choice: of words, the user's own, on their own terminal."""
    row = _router_row(said)
    if row is None:
        return []
    chances = ", ".join(f"{tier} {chance:.2f}" for tier, chance in row["probabilities"].items())
    weighed = ", ".join(
        f"{one['feature']} {one['weight']:+.2f}" for one in row["weighed"][:_WEIGHED]
    )
    return [
        "router",
        f"  right with probability: {chances}",
        f"  unlike its training texts: {row['novelty']:.2f} of the limit",
        f"  what weighed most: {weighed}",
    ]


def _router_row(said: Any) -> dict[str, Any] | None:
    """None: no router was asked, or it explains itself in a way of its own."""
    try:
        return {
            "probabilities": dict(said.probabilities),
            "novelty": float(said.novelty),
            "weighed": [one._asdict() for one in said.weighed],
        }
    except AttributeError:
        return None
