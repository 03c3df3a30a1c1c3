"""What rules do to the ladder: the rungs they leave a call, and the plan that is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from cascade.errors import ConfigError
from cascade.routing import Plan, Rung, rungs_when_near
from cascade.rules import Rule
from cascade.tier import Tier
from cascade.validation import Validator

__all__ = ["RoutePlans", "RungOf"]

RungOf: TypeAlias = Callable[[Tier, str | None, tuple[Validator, ...]], Rung]
"""The rung of a tier on a path, with more validators than the cascade's."""


@dataclass(frozen=True, slots=True)
class RoutePlans:
    """Makes the plans that rules ask for, each once.

    Attributes:
        tiers: the whole ladder.
        plans: the plan of each path, and of none.
        rung: makes the rungs.
    """

    tiers: tuple[Tier, ...]
    plans: Mapping[str | None, Plan]
    rung: RungOf
    _places: dict[Any, tuple[int, ...]] = field(default_factory=dict[Any, tuple[int, ...]])
    _made: dict[Any, Plan] = field(default_factory=dict[Any, Plan])
    _rungs: dict[Any, Rung] = field(default_factory=dict[Any, Rung])

    def place(self, tier: str) -> int:
        """Where a tier stands on the ladder."""
        return next(i for i, one in enumerate(self.tiers) if one.name == tier)

    def path_for(self, asked: str | None, rule: Rule | None) -> str | None:
        """The path a call uses."""
        return asked if rule is None or rule.path is None else rule.path

    def places(self, asked: str | None, rule: Rule | None, floor: int = 0) -> tuple[int, ...]:
        """The rungs a call may use, as places on the ladder.

        Args:
            floor: the place below which it must not begin.

        Raises:
            ConfigError: none is left.
        """
        key = (asked, None if rule is None else rule.name, floor)
        if key not in self._places:
            self._places[key] = self._find_places(asked, rule, floor)
        return self._places[key]

    def _find_places(self, asked: str | None, rule: Rule | None, floor: int) -> tuple[int, ...]:
        plan = self.plans[self.path_for(asked, rule)]
        on_path = tuple(self.place(rung.tier.name) for rung in plan.rungs)
        allowed = on_path if rule is None else self._by_rule(rule, on_path)
        forbidden = {self.place(tier) for tier in rule.forbid} if rule is not None else set[int]()
        kept = tuple(p for p in allowed if p >= floor and p not in forbidden)
        if not kept and any(p not in forbidden for p in allowed):  # all of those below the floor
            kept = tuple(p for p in range(floor, len(self.tiers)) if p not in forbidden)[:1]
        if not kept and rule is not None:
            raise ConfigError(self._nothing_left(asked, rule, floor, allowed))
        return kept

    def _by_rule(self, rule: Rule, on_path: tuple[int, ...]) -> tuple[int, ...]:
        top = len(self.tiers) - 1
        if rule.tier is not None:
            return (self.place(rule.tier),)
        if rule.bypass:
            return (top,)
        if not rule.fixes_rungs:
            return on_path
        lowest, highest = (0, top) if len(on_path) == 1 else (on_path[0], on_path[-1])
        first = lowest if rule.first is None else self.place(rule.first)
        last = highest if rule.last is None else self.place(rule.last)
        if first > last:  # the path's bound gives way to the rule's
            first = last = last if rule.first is None else first
        return tuple(range(first, last + 1))

    def _nothing_left(
        self, asked: str | None, rule: Rule, floor: int, allowed: tuple[int, ...]
    ) -> str:
        where = f"rule {rule.name!r}" + (f" on path {asked!r}" if asked else "")
        names = ", ".join(self.tiers[p].name for p in allowed)
        above = f", nor above the floor {self.tiers[floor].name!r}" if floor else ""
        return (
            f"{where} forbids every rung it could use ({names}{above}); allow one of them, or let "
            "its conditions leave out the path or the stakes where it cannot hold"
        )

    def of(
        self, asked: str | None, rule: Rule | None, places: tuple[int, ...], reason: str | None
    ) -> Plan:
        """The plan for what was decided."""
        key = (asked, None if rule is None else rule.name, places, reason)
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._make(asked, rule, places, reason)
        return made

    def _make(
        self, asked: str | None, rule: Rule | None, places: tuple[int, ...], reason: str | None
    ) -> Plan:
        path = self.path_for(asked, rule)
        plan = self.plans[path]
        ladder = [self.tiers[place] for place in places]
        names = [tier.name for tier in ladder]
        fast = None if plan.fast is None else plan.rungs[plan.fast].tier.name
        return replace(
            plan,
            rungs=tuple(self.rung_of(tier, path, rule) for tier in ladder),
            budget_s=plan.budget_s if rule is None else rule.budget_s or plan.budget_s,
            fast=names.index(fast) if fast in names else None,
            reasks=0 if rule is not None and rule.bypass else plan.reasks,
            rungs_when_near=rungs_when_near(self.tiers, ladder, plan.spend),
            rule=None if rule is None else rule.name,
            rule_reason=reason,
        )

    def rung_of(self, tier: Tier, path: str | None, rule: Rule | None) -> Rung:
        """The rung of a tier, with what the rule wants validated besides.

        Raises:
            ConfigError: a validator of the rule has no threshold.
        """
        more = () if rule is None else rule.validators
        key = (tier.name, path, rule.name if rule is not None and more else None)
        if key not in self._rungs:
            self._rungs[key] = self.rung(tier, path, more)
        return self._rungs[key]
