"""What `cascade check` says of a cascade's rules: in words, as JSON, and what is doubtful."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cascade.config.mistakes import Mistake, place_of
from cascade.decorator import Cascade
from cascade.rule_review import review
from cascade.rules import Rule

__all__ = ["about_rules", "of_rules", "rule_facts"]


def about_rules(cascade: Cascade) -> Iterator[str]:
    """Lines about the rules in their order, and the floors."""
    for rule in cascade.rules:
        yield f"rule {rule.name}: if {_condition(rule)}, then {_effects(rule)}"
    if cascade.routes.router is not None:
        yield "a router chooses the first rung where no rule fixes one"
    for stakes, tier in cascade.routes.floors.items():
        yield f"{stakes} stakes: no tier below {tier}"


def rule_facts(cascade: Cascade) -> list[dict[str, Any]]:
    """The same as JSON."""
    return [
        {
            "name": rule.name,
            "when": dict(rule.words) if rule.predicate is None else _function(rule),
            "then": _effects(rule),
            "why": rule.why,
        }
        for rule in cascade.rules
    ]


def of_rules(name: str, cascade: Cascade) -> Iterator[Mistake]:
    """What is doubtful about the rules of the cascade of that name."""
    for number, message in review(cascade.routes, name):
        rule = cascade.rules[number].name
        yield Mistake(place_of("cascades", name, "rules", number), f"rule {rule!r}: {message}")


def _condition(rule: Rule) -> str:
    if rule.predicate is not None:
        return f"{_function(rule)} says so"
    return " and ".join(f"{name} {words}" for name, words in rule.words.items()) or "anything"


def _function(rule: Rule) -> str:
    return str(getattr(rule.predicate, "__name__", "its function"))


def _effects(rule: Rule) -> str:
    between = [f"{word} {tier}" for word, tier in (("from", rule.first), ("to", rule.last)) if tier]
    effects = [
        f"{rule.stakes} stakes" if rule.stakes else "",
        f"path {rule.path}" if rule.path else "",
        f"past the cascade to {rule.tier or 'the strongest'}" if rule.bypass else "",
        f"{rule.tier} alone" if rule.tier and not rule.bypass else "",
        " ".join(between),
        f"never {', '.join(sorted(rule.forbid))}" if rule.forbid else "",
        f"{rule.budget_s} s" if rule.budget_s else "",
        f"also judged by {', '.join(one.name for one in rule.validators)}"
        if rule.validators
        else "",
    ]
    return ", ".join(filter(None, effects)) or "the ladder of its path"
