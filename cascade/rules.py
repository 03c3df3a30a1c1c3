"""Rules: what a call may use of the ladder, by its signals. The first that matches decides."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias, cast, runtime_checkable

from cascade.condition_words import said
from cascade.conditions import ANYTHING, COUNTS, FLAGS, TEXTS, Values, parse
from cascade.errors import ConfigError, did_you_mean
from cascade.logs import warn
from cascade.options import check_seconds, named_options
from cascade.signals import BUILT_IN, Signals
from cascade.types import Fact
from cascade.validation import Judges, Validator, as_validator

__all__ = ["Choice", "Condition", "Router", "Rule", "When", "domain"]

Condition: TypeAlias = Any
"""What a signal has to be: a value; None for "unknown"; ">8000", "<=3", "!=chat" or ">100 and
<=8000"; a list, any of which will do; `{"not": ...}`; or `{"unknown": True}`, the same as None,
which TOML has no word for. An unknown signal meets no other condition."""

When: TypeAlias = Mapping[str, Condition] | Callable[[Signals], bool]
"""Conditions by signal, all of which have to be met; or a function of the signals."""

_KINDS: Final = {"text": TEXTS, "count": COUNTS, "flag": FLAGS}
_OF_KIND: Final = {
    "text": "is text",
    "count": "is a whole number of 0 or more",
    "flag": "is True or False",
}


class Choice(NamedTuple):
    """What a router says of one call.

    Attributes:
        first: the lowest rung to use. None: it would rather not say, so the whole ladder.
        reason: why, in words without content.
    """

    first: str | None
    reason: str


@runtime_checkable
class Router(Protocol):
    """Chooses the first rung where the rules fixed none: the place of a learned router."""

    def choose(self, signals: Signals, text: str, tiers: Sequence[str]) -> Choice:
        """The rung to begin with.

        It runs in the event loop before any model is asked: it has to be quick and must not wait.

        Args:
            signals: the call's signals.
            text: the last user message; of a long one both ends. "" when the call has no text.
            tiers: the names of the rungs there are to choose from, cheapest first.
        """
        ...


class Rule:
    """If the signals are so, then the call uses the ladder so. Immutable.

    Of a cascade's rules the first that matches decides, and where none does, the call's path. A
    rule that says nothing but `stakes` marks the call and lets the next rules have their say. Where
    a rule and the path differ, the rule's word counts; where high stakes raise the floor
    (`Cascade(floors=...)`), that goes before both.

    Attributes:
        conditions: the values that meet each condition, by signal.
        words: the same for people.
        predicate: the function in their place. None: there is none.

    Args:
        name: how results and logs call it.
        when: conditions by signal, all of which have to be met; or a function of the signals.
            None: it always matches.
        tier: the one tier to ask.
        first: the lowest rung to use.
        last: the highest rung to use.
        forbid: tiers that must not be asked.
        path: the path to use, whichever was asked for, with its budget and all else.
        budget_s: seconds the whole call may take, in place of the path's.
        validators: what its answers must pass besides the cascade's own.
        bypass: whether to go past the cascade: straight to `tier`, or the strongest one, asked
            once. Its answer is still judged.
        stakes: marks the call, as if it had been declared. A mark never lowers stakes.
        why: the reason to show. None: its conditions.

    Raises:
        ConfigError: the options do not fit together, or a condition can never be met.
    """

    __slots__ = (
        "_tests",
        "budget_s",
        "bypass",
        "conditions",
        "first",
        "forbid",
        "last",
        "name",
        "path",
        "predicate",
        "stakes",
        "tier",
        "validators",
        "why",
        "words",
    )

    @named_options
    def __init__(
        self,
        name: str,
        *,
        when: When | None = None,
        tier: str | None = None,
        first: str | None = None,
        last: str | None = None,
        forbid: Iterable[str] = (),
        path: str | None = None,
        budget_s: float | None = None,
        validators: Iterable[Validator | Judges | str] = (),
        bypass: bool = False,
        stakes: str | None = None,
        why: str | None = None,
    ) -> None:
        if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"a rule's name is {name!r}; give it a few words, such as 'long'")
        self.name = name
        self.tier = tier
        self.first = first
        self.last = last
        self.forbid = _names(name, forbid)
        self.path = path
        self.budget_s = budget_s
        self.validators = _validators(name, validators)
        self.bypass = bypass
        self.stakes = stakes
        self.predicate = _predicate(name, when)
        self.conditions: Mapping[str, Values] = _conditions(name, when)
        self.words: Mapping[str, str] = {
            signal: said(condition) for signal, condition in _wanted(when).items()
        }
        self.why = why or self._because()
        self._tests = tuple((signal, _test(v)) for signal, v in self.conditions.items())
        self._check()

    def _check(self) -> None:
        check_seconds(f"rule {self.name!r}: budget_s", self.budget_s)
        between = [n for n in ("first", "last") if getattr(self, n) is not None]
        if between and (self.tier is not None or self.bypass):
            one = "bypass=True" if self.bypass else f"tier={self.tier!r}"
            raise ConfigError(
                f"rule {self.name!r} has {one} and {between[0]} too; with {one} there is one rung, "
                "so leave the other out"
            )
        if self.tier in self.forbid:
            raise ConfigError(f"rule {self.name!r} forbids its own tier {self.tier!r}")
        if self.stakes is not None and (not isinstance(self.stakes, str) or not self.stakes):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                f"rule {self.name!r}: stakes={self.stakes!r}; give a word like 'high'"
            )

    @property
    def is_mark(self) -> bool:
        """Whether it only sets the stakes, so that the next rules are tried too."""
        return self.stakes is not None and not self.fixes_rungs and not (
            self.forbid or self.path or self.budget_s or self.validators
        )  # fmt: skip

    @property
    def fixes_rungs(self) -> bool:
        """Whether it says with which rung to begin or end, so that a router has no say."""
        return self.bypass or not (self.tier is None and self.first is None and self.last is None)

    def matches(self, signals: Signals) -> bool:
        """Whether all its conditions are met. They are looked at up to the first that is not."""
        for signal, test in self._tests:
            if not test(signals[signal]):
                return False
        return self.predicate is None or self.holds(signals)

    def holds(self, signals: Signals) -> bool:
        """What its function says; False where it has none, or it raises."""
        if self.predicate is None:
            return False
        try:
            return bool(self.predicate(signals))
        except Exception as error:
            warn("rule_failed", rule=self.name, error=type(error).__name__)
            return False

    def _because(self) -> str:
        if self.predicate is not None:
            return f"{getattr(self.predicate, '__name__', 'its function')} says so"
        met = ", ".join(f"{signal} {words}" for signal, words in self.words.items())
        return met or "it always matches"

    def __repr__(self) -> str:
        return f"Rule({self.name!r}, {self.why!r})"


def domain(signal: str) -> Values:
    """Every value a signal can have, as far as is known of it."""
    built_in = BUILT_IN.get(signal)
    if built_in is None:
        return ANYTHING
    if signal == "stakes":
        return Values(but=True)
    if built_in.values is not None:
        return Values(texts=frozenset(built_in.values), unknown=True)
    return _KINDS[built_in.kind]


def _test(values: Values) -> Callable[[Fact], bool]:
    if values == Values(texts=values.texts):
        return cast("Callable[[Fact], bool]", values.texts.__contains__)
    return values.__contains__


def _wanted(when: object) -> Mapping[str, Condition]:
    """The conditions by signal. Empty where a function stands in their place."""
    return cast("Mapping[str, Condition]", when) if isinstance(when, Mapping) else {}


def _conditions(name: str, when: object) -> dict[str, Values]:
    found: dict[str, Values] = {}
    for signal, condition in _wanted(when).items():
        where = f"rule {name!r}: {signal}"
        values = parse(where, condition)
        if (values & domain(signal)).is_empty:
            raise ConfigError(f"{where} {said(condition)} can never be met: {_nature(signal)}")
        if signal in BUILT_IN and BUILT_IN[signal].kind == "count":
            values = (values & COUNTS).whole()
            if values.is_empty:
                raise ConfigError(f"{where} {said(condition)} can never be met by a whole number")
        found[signal] = values
    return found


def _nature(signal: str) -> str:
    built_in = BUILT_IN.get(signal)
    if built_in is None:
        return "no value is both"
    if built_in.values is not None:
        return f"{signal} is one of {', '.join(built_in.values)}"
    return f"{signal} {_OF_KIND[built_in.kind]}"


def _predicate(name: str, when: object) -> Callable[[Signals], bool] | None:
    if when is None or isinstance(when, Mapping):
        return None
    if not callable(when):
        raise ConfigError(
            f"rule {name!r}: when is a {type(when).__name__}; give conditions by signal, such as "
            '{"input_tokens": ">8000"}, or a function of the signals'
        )
    if inspect.iscoroutinefunction(when):
        raise ConfigError(f"rule {name!r}: when is async; give a plain function of the signals")
    return cast("Callable[[Signals], bool]", when)


def _names(name: str, given: Iterable[str]) -> frozenset[str]:
    if isinstance(given, str):
        raise ConfigError(f"rule {name!r}: forbid is the text {given!r}; give a list, [{given!r}]")
    return frozenset(given)


def _validators(name: str, given: Iterable[Validator | Judges | str]) -> tuple[Validator, ...]:
    if isinstance(given, Validator | str) or callable(given):
        raise ConfigError(f"rule {name!r}: validators is one validator; put it in a list")
    return tuple(as_validator(one) for one in given)


def check_names(rule: Rule, tiers: Sequence[str], paths: Sequence[str]) -> None:
    """Raises ConfigError when a rule names a tier or a path that is not there."""
    where = f"rule {rule.name!r}"
    for option in ("tier", "first", "last"):
        tier = getattr(rule, option)
        if tier is not None and tier not in tiers:
            raise ConfigError(
                f"{where}: {option}={tier!r} is no tier of this cascade; "
                f"{did_you_mean(tier, tiers)}"
            )
    for tier in sorted(rule.forbid):
        if tier not in tiers:
            raise ConfigError(
                f"{where}: forbid names {tier!r}, which is no tier of this cascade; "
                f"{did_you_mean(tier, tiers)}"
            )
    if rule.path is not None and rule.path not in paths:
        raise ConfigError(
            f"{where}: path={rule.path!r} is no path of this cascade; "
            f"{did_you_mean(rule.path, paths)}"
        )
    if rule.first and rule.last and tiers.index(rule.first) > tiers.index(rule.last):
        raise ConfigError(
            f"{where}: first={rule.first!r} stands above last={rule.last!r} on the ladder; "
            "exchange them"
        )
    asked = rule.conditions.get("path")
    if asked is not None and not asked.but:
        for path in sorted(asked.texts):
            if path not in paths:
                raise ConfigError(
                    f"{where}: there is no path {path!r} to match; {did_you_mean(path, paths)}"
                )
