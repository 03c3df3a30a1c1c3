"""From the signals of a call to its plan: the rules, then a router, and last the floor.

What rules do to the ladder is worked out when a cascade is built, and each plan is made once: a
call pays for looking at its signals, and for nothing where there are no rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from cascade.errors import ConfigError, did_you_mean
from cascade.explaining import Explanation, Tried
from cascade.logs import warn
from cascade.observing import Labels
from cascade.route_plans import RoutePlans
from cascade.routing import Plan
from cascade.rules import Choice, Router, Rule, check_names
from cascade.signals import Reader, Signals, detect_task
from cascade.types import Fact

__all__ = ["STAKES", "Routes"]

ROUTER: Final = "router"
"""What stands in `Result.rule` where a router chose the first rung."""

STAKES: Final = {"low": 0, "normal": 1, "high": 2}
"""How grave the words are that floors say nothing of."""


class _Matched(NamedTuple):
    """What the rules say: the one that decides, the stakes, and the rule or path that set them."""

    rule: Rule | None
    stakes: str | None
    marked_by: str | None


class Routes:
    """Decides how each call of one cascade runs.

    Attributes:
        is_needed: whether anything but its path can decide how a call runs, or declares signals.
        floor_at: the places of the floors on the ladder, by stakes.

    Args:
        plans: makes the plans.
        rules: in order; the first that matches decides.
        floors: by stakes, the lowest tier they allow.
        router: chooses the first rung where no rule fixed one. None: the path's.
        reader: reads the signals.
        reads_text: whether a policy looks at what calls say, beside rules and router.

    Raises:
        ConfigError: a rule or a floor does not fit the ladder or the paths.
    """

    def __init__(
        self,
        plans: RoutePlans,
        rules: Sequence[Rule],
        floors: Mapping[str, str],
        router: Router | None,
        reader: Reader,
        *,
        reads_text: bool = False,
    ) -> None:
        self.rules = tuple(rules)
        self.floors = dict(floors)
        self.router = router
        self.reader = reader
        self.plans = plans
        self.floor_at = self._checked_floors()
        self._has_told = False
        self._check_effect(reads_text=reads_text)
        self._check_rules()
        self.is_needed = bool(self.rules or floors or router or any(reader.by_path.values()))

    def _check_effect(self, *, reads_text: bool) -> None:
        """Refuse options that could never do anything."""
        if isinstance(self.router, type) or not isinstance(self.router, Router | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                "router has no method choose(signals, text, tiers); give an object that has one, "
                "such as LearnedRouter.load('router.json')"
            )
        if self.rules or self.router is not None:
            return
        for option, given in (
            ("signals", self.reader.functions),
            ("request_from", self.reader.request_from and not reads_text),
        ):
            if given:
                raise ConfigError(
                    f"{option} has no effect without rules or a router; add some, or leave it out"
                )

    def _checked_floors(self) -> dict[str, int]:
        names = [tier.name for tier in self.plans.tiers]
        for stakes, tier in self.floors.items():
            if tier not in names:
                raise ConfigError(
                    f"floors: the floor of {stakes!r} stakes is {tier!r}, which is no tier of this "
                    f"cascade; {did_you_mean(tier, names)}"
                )
        return {stakes: names.index(tier) for stakes, tier in self.floors.items()}

    def _check_rules(self) -> None:
        tiers = [tier.name for tier in self.plans.tiers]
        paths = [path for path in self.plans.plans if path is not None]
        seen: set[str] = set()
        for rule in self.rules:
            if rule.name in seen:
                raise ConfigError(f"two rules are named {rule.name!r}; give each its own name")
            if rule.name == ROUTER and self.router is not None:
                raise ConfigError(f"a rule is named {ROUTER!r}, as the router is; rename it")
            seen.add(rule.name)
            check_names(rule, tiers, paths)
            if not rule.is_mark:
                self._check_plans(rule)

    def _check_plans(self, rule: Rule) -> None:
        """Make what the rule can ask for now, so that a mistake shows here and not in a call."""
        on_path, stakes = rule.conditions.get("path"), rule.conditions.get("stakes")
        for path in self.plans.plans:
            if on_path is not None and path not in on_path:
                continue
            for tier in self.plans.tiers:
                self.plans.rung_of(tier, self.plans.path_for(path, rule), rule)
            self.plans.places(path, rule)
            for word, floor in self.floor_at.items():
                # Stakes of its own or of its path raise what it matched on.
                if stakes is None or word in stakes or word in self.marks_of(rule):
                    self.plans.places(path, rule, floor)

    def choose(
        self,
        path: str | None,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        labels: Labels,
    ) -> tuple[Plan, Labels]:
        """How a call runs, and what there is to say of it.

        Args:
            path: the one that was asked for. None: none.

        Raises:
            ConfigError: the call declares a signal that is computed.
        """
        signals = self.reader.read(path, args, kwargs, labels.signals)
        plan = self._plan(signals, self._match(signals))
        return plan, Labels(signals.known(), labels.metadata)

    def explain(
        self,
        path: str | None,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        declared: Mapping[str, Fact],
    ) -> Explanation:
        """The same with all that led to it; nothing is asked."""
        signals = self.reader.read(path, args, kwargs, declared)
        tried: list[Tried] = []
        matched = self._match(signals, tried)
        plan = self._plan(signals, matched)
        known = {name: value for name, value in signals.items() if value is not None}
        cues = detect_task(signals.said.text, signals.said.system).cues
        said = self._explained(signals, matched)
        return Explanation(known, tuple(tried), plan, cues, said)

    def _explained(self, signals: Signals, matched: _Matched) -> Any:
        """What the router says of its choice. None: it was not asked, or does not explain it."""
        explain = getattr(self.router, "explain", None)
        places = self._places(signals, matched)
        if explain is None or not self._asks_router(matched.rule, places):
            return None
        return explain(signals.said.text, signals, self._names(places))

    def _match(self, signals: Signals, tried: list[Tried] | None = None) -> _Matched:
        marked_by: str | None = None
        matched: Rule | None = None
        for rule in self.rules:
            matches = rule.matches(signals)
            if tried is not None:
                tried.append(Tried.of(rule, signals, matched=matches))
            if not matches:
                continue
            for mark, by in self.marks_of(rule).items():
                if self._raises(mark, signals):
                    signals.mark(mark)
                    marked_by = by
            if not rule.is_mark:
                matched = rule
                break
        stakes = signals["stakes"] if self.floor_at else None
        return _Matched(matched, stakes if isinstance(stakes, str) else None, marked_by)

    def marks_of(self, rule: Rule) -> dict[str, str]:
        """The stakes that a rule marks its calls with, by its path and itself, and who says so."""
        own = {} if rule.stakes is None else {rule.stakes: f"rule {rule.name!r}"}
        stakes = None if rule.path is None else self.reader.by_path.get(rule.path, {}).get("stakes")
        return {str(stakes): f"path {rule.path!r}", **own} if stakes is not None else own

    def _raises(self, stakes: str, signals: Signals) -> bool:
        """Whether a mark is worth at least what is there: it never lowers stakes."""
        there = signals["stakes"]
        return not isinstance(there, str) or self.rank(stakes) >= self.rank(there)

    def rank(self, stakes: str) -> tuple[int, int]:
        """How grave stakes are: by their floor, then by the word. Any other word is as "normal"."""
        return self.floor_at.get(stakes, -1), STAKES.get(stakes, STAKES["normal"])

    def _plan(self, signals: Signals, matched: _Matched) -> Plan:
        rule, path = matched.rule, signals.path
        places = self._places(signals, matched)
        because = [] if rule is None else [rule.why]
        if self.floor_at and places != self.plans.places(path, rule):
            by = f" ({matched.marked_by})" if matched.marked_by else ""
            floor_name = self.floors[matched.stakes or ""]
            because.append(f"{matched.stakes} stakes{by} raise the floor to {floor_name}")
        if self.router is None or not self._asks_router(rule, places):
            return self.plans.of(path, rule, places, "; ".join(because) or None)
        choice = self._routed(self.router, signals, places)
        plan = self.plans.of(path, rule, self._from(choice, places), "; ".join(because) or None)
        because.append(f"{ROUTER}: {choice.reason}")
        return replace(
            plan,
            rule=ROUTER if rule is None and choice.first is not None else plan.rule,
            rule_reason="; ".join(because),
        )

    def _places(self, signals: Signals, matched: _Matched) -> tuple[int, ...]:
        """The rungs that path, rules and floor leave."""
        floor = self.floor_at.get(matched.stakes or "", 0)
        return self.plans.places(signals.path, matched.rule, floor)

    def _asks_router(self, rule: Rule | None, places: tuple[int, ...]) -> bool:
        return len(places) > 1 and not (rule is not None and rule.fixes_rungs)

    def _names(self, places: tuple[int, ...]) -> list[str]:
        return [self.plans.tiers[place].name for place in places]

    def _routed(self, router: Router, signals: Signals, places: tuple[int, ...]) -> Choice:
        names = self._names(places)
        try:
            choice = router.choose(signals, signals.said.text, names)
            if choice.first is not None and choice.first not in names:
                raise ValueError("no rung of this call")
        except Exception as error:
            if not self._has_told:
                self._has_told = True
                warn("router_failed", cascade=self.reader.cascade, error=type(error).__name__)
            return Choice(None, f"it failed ({type(error).__name__}), so the whole ladder is used")
        return choice

    def _from(self, choice: Choice, places: tuple[int, ...]) -> tuple[int, ...]:
        if choice.first is None:
            return places
        return places[places.index(self.plans.place(choice.first)) :]
