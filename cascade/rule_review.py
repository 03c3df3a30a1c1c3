"""What is doubtful about a cascade's rules: those that can never match, and those that contradict.

It reasons about the sets of values that meet conditions, and says nothing that does not follow from
them: where a function stands in place of conditions, or a signal may have any value, it keeps
silent. What several rules leave together it looks for by one signal at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from cascade.conditions import NOTHING, Values
from cascade.routes import STAKES, Routes
from cascade.routing import Plan
from cascade.rules import Rule, domain
from cascade.signals import BUILT_IN

__all__ = ["Doubt", "review"]


class Doubt(NamedTuple):
    """What is doubtful about a rule. `number` is its place in the list, from 0."""

    number: int
    message: str


def review(routes: Routes, cascade: str | None = None) -> list[Doubt]:
    """Everything doubtful about a cascade's rules, in their order.

    Args:
        cascade: the cascade's name. None: it has none.
    """
    paths = [path for path in routes.plans.plans if path is not None]
    known: dict[str, Values] = {
        "path": Values(texts=frozenset(paths), unknown=True),
        "cascade": Values(texts=frozenset({cascade} if cascade else ()), unknown=not cascade),
    }
    found: list[Doubt] = []
    for number, rule in enumerate(routes.rules):
        never = _never(rule, known) or _shadowed(routes.rules, number, known)
        messages = (
            [never]
            if never
            else [*_against_floor(rule, routes, known), *_against_path(rule, routes)]
        )
        messages += _misspelt(rule, routes.reader.functions)
        found += [Doubt(number, message) for message in messages]
        if rule.stakes is not None and rule.is_mark and not (rule.conditions or rule.predicate):
            known["stakes"] = _marked(rule.stakes, _domain("stakes", known), routes)
    return found


def _marked(mark: str, stakes: Values, routes: Routes) -> Values:
    """What stakes can be after a mark that every call is given: that, or what is graver."""
    lesser = {w for w in (*STAKES, *routes.floor_at) if routes.rank(w) <= routes.rank(mark)}
    left = stakes & ~Values(texts=frozenset(lesser))
    if routes.rank("") <= routes.rank(mark):  # as any word that nothing is said of
        left = left & Values(texts=frozenset((*STAKES, *routes.floor_at)))
    return left | Values(texts=frozenset((mark,)))


def _domain(signal: str, known: Mapping[str, Values]) -> Values:
    return known.get(signal) or domain(signal)


def _allowed(rule: Rule, signal: str, known: Mapping[str, Values]) -> Values:
    """The values a signal can have where a rule matches."""
    values = _domain(signal, known)
    return values & rule.conditions[signal] if signal in rule.conditions else values


def _never(rule: Rule, known: Mapping[str, Values]) -> str | None:
    for signal, words in rule.words.items():
        if _allowed(rule, signal, known).is_empty:
            where = "after the marks before it" if signal == "stakes" else "in this cascade"
            return f"it can never match: {signal} {words}, which it cannot be {where}"
    return None


def _shadowed(rules: Sequence[Rule], number: int, known: Mapping[str, Values]) -> str | None:
    """Why earlier rules leave nothing to this one. None: that is not so, or cannot be told."""
    rule = rules[number]
    earlier = [one for place, one in enumerate(rules[:number]) if _decides(rules, place, number)]
    for signal in dict.fromkeys(name for one in earlier for name in one.conditions):
        covering = [one for one in earlier if _implied(rule, one, known, but=signal)]
        left = _allowed(rule, signal, known)
        together = _union((_allowed(one, signal, known) for one in covering), signal)
        if not left.is_empty and left <= together:
            return _by(_needed(covering, left, signal, known))
    always = next((one for one in earlier if not one.conditions), None)
    return None if always is None else _by([always])


def _decides(rules: Sequence[Rule], place: int, number: int) -> bool:
    """Whether what meets the conditions of `rules[place]` never comes as far as `number`."""
    one = rules[place]
    if one.is_mark or one.predicate is not None:
        return False
    # Stakes may be others by then: a mark stands in between.
    marked = any(between.stakes is not None for between in rules[place:number])
    return not (marked and "stakes" in one.conditions)


def _implied(rule: Rule, other: Rule, known: Mapping[str, Values], *, but: str) -> bool:
    """Whether where `rule` matches, `other` does too, as far as all signals but one go."""
    return all(
        _allowed(rule, signal, known) <= _allowed(other, signal, known)
        for signal in other.conditions
        if signal != but
    )


def _union(sets: Iterable[Values], signal: str) -> Values:
    whole = NOTHING
    for values in sets:
        whole |= values
    built_in = BUILT_IN.get(signal)
    return whole.whole() if built_in is not None and built_in.kind == "count" else whole


def _needed(
    covering: Sequence[Rule], left: Values, signal: str, known: Mapping[str, Values]
) -> list[Rule]:
    """One of them where one is enough, else all that take part of what is left."""
    parts = [(one, _allowed(one, signal, known)) for one in covering]
    alone = next((one for one, values in parts if left <= values), None)
    if alone is not None:
        return [alone]
    return [one for one, values in parts if not (left & values).is_empty]


def _by(rules: Sequence[Rule]) -> str:
    names = " and ".join(repr(one.name) for one in rules)
    verb = "matches" if len(rules) == 1 else "together match"
    return f"it can never match: {names} before it {verb} whatever it would"


def _against_floor(rule: Rule, routes: Routes, known: Mapping[str, Values]) -> Iterator[str]:
    """A rule whose rungs all stand below the floor of the stakes that its calls have."""
    top = _highest(rule, routes)
    if top is None:
        return
    words = _stakes_of(rule, routes, known)
    floors = [routes.floor_at.get(word, 0) for word in words]
    if floors and min(floors) > top:
        tiers = routes.plans.tiers
        yield (
            f"it goes no higher than {tiers[top].name!r}, below the floor "
            f"{tiers[min(floors)].name!r} of {' or '.join(words)} stakes, which goes before it"
        )


def _stakes_of(rule: Rule, routes: Routes, known: Mapping[str, Values]) -> list[str]:
    """The stakes that calls can have where a rule decides, or the least of them. Empty: any."""
    marks = list(routes.marks_of(rule))
    met = _allowed(rule, "stakes", known)
    if not met.but:
        return sorted({max((*marks, word), key=routes.rank) for word in met.texts})
    return [max(marks, key=routes.rank)] if marks else []


def _highest(rule: Rule, routes: Routes) -> int | None:
    """The highest rung that a rule leaves, whatever path was asked for. None: it fixes none."""
    name = rule.tier or rule.last
    if name is not None:
        return routes.plans.place(name)
    return None if rule.path is None else max(routes.plans.places(None, rule))


def _against_path(rule: Rule, routes: Routes) -> Iterator[str]:
    """A rule whose first or last rung goes beyond what a path allows, on which it can match."""
    asked = rule.conditions.get("path")
    for path, plan in routes.plans.plans.items():
        used = routes.plans.path_for(path, rule)
        if used is None or used != path or (asked is not None and path not in asked):
            continue
        yield from _beyond(rule, routes, used, plan)


def _beyond(rule: Rule, routes: Routes, path: str, plan: Plan) -> Iterator[str]:
    place = routes.plans.place
    lowest, highest = place(plan.rungs[0].tier.name), place(plan.rungs[-1].tier.name)
    if lowest == highest:
        return  # a direct path, in whose place rules may put another ladder
    for option, is_beyond in (
        ("first", rule.first is not None and place(rule.first) > highest),
        ("last", rule.last is not None and place(rule.last) < lowest),
    ):
        if is_beyond:
            tier = getattr(rule, option)
            yield (
                f"its {option}={tier!r} is not on the ladder of path {path!r}, so that {tier!r} "
                "alone is asked there; let its conditions leave out that path"
            )


def _misspelt(rule: Rule, functions: Mapping[str, object]) -> Iterator[str]:
    for signal in rule.conditions:
        if signal not in BUILT_IN and signal not in functions:
            close = get_close_matches(signal, [*BUILT_IN, *functions], n=1, cutoff=0.8)
            if close:
                yield (
                    f"no signal is called {signal!r}, so it can match only calls that declare "
                    f"that; did you mean {close[0]!r}?"
                )
