"""How a call would be routed, told step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cascade.routing import Plan
from cascade.rules import Rule
from cascade.signals import Cue, Signals
from cascade.types import Fact

__all__ = ["Explanation", "Met", "Tried"]


class Met(NamedTuple):
    """One condition of a rule, looked at: the signal's value, and whether it is met."""

    signal: str
    condition: str
    value: Fact
    is_met: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """A rule that was tried on a call.

    Attributes:
        rule: its name.
        matched: whether all its conditions are met.
        marks: the stakes it marks the call with. None: it says none, or did not match.
        conditions: each of them. The one of a function is called "when".
    """

    rule: str
    matched: bool
    marks: str | None
    conditions: tuple[Met, ...]

    @classmethod
    def of(cls, rule: Rule, signals: Signals, *, matched: bool) -> Tried:
        """A rule that was tried on these signals, every condition of it."""
        conditions = [
            Met(name, words, signals[name], signals[name] in rule.conditions[name])
            for name, words in rule.words.items()
        ]
        if rule.predicate is not None:
            conditions.append(Met("when", rule.why, None, matched))
        return cls(rule.name, matched, rule.stakes if matched else None, tuple(conditions))


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a call would be routed, and why.

    Attributes:
        signals: every signal that is known of it.
        tried: the rules in order, up to the one that matched.
        plan: how it would run; its rule and reason are on it.
        cues: what spoke for its detected task, and for others.
        router: what the router says of its choice, where it was asked and has a method
            `explain(text, signals, tiers)`. It may hold words of the prompt. None: nothing.
    """

    signals: Mapping[str, Fact]
    tried: tuple[Tried, ...]
    plan: Plan
    cues: tuple[Cue, ...]
    router: Any = field(default=None, repr=False)
