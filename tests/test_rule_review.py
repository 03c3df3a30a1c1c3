from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade import Cascade, Path, Request, Rule, Signals, Tier
from cascade.rule_review import review

TIERS = [Tier(name, model=f"simulated:sim-{name}") for name in ("small", "medium", "large")]
PATHS = {
    "live": Path(direct="small"),
    "low": Path(last="small"),
    "wide": Path(last="medium"),
    "legal": Path(direct="small", stakes="high"),
}

BEYOND = (
    "its first='large' is not on the ladder of path '{}', so that 'large' alone is asked there; "
    "let its conditions leave out that path"
)


def doubts(*rules: Rule, **options: Any) -> list[tuple[int, str]]:
    cascade = Cascade(tiers=TIERS, rules=rules, paths=PATHS, name="support", **options)
    return [(number, message) for number, message in review(cascade.routes, "support")]


def never(*rules: Rule, **options: Any) -> list[int]:
    """The rules that are said to match nothing, by their numbers."""
    return [n for n, message in doubts(*rules, **options) if "it can never match" in message]


def test_rules_that_are_well_are_left_alone() -> None:
    assert doubts(
        Rule("money", when={"has_numbers": True}, stakes="high"),
        Rule("auto", when={"feature": "autocomplete"}, tier="small"),
        Rule("long", when={"input_tokens": ">8000"}, first="medium"),
        Rule("longest", when={"task": "coding", "input_tokens": ">100"}, first="large"),
        Rule("rest"),
        floors={"high": "large"},
    ) == [(3, BEYOND.format("wide"))]


def test_a_rule_behind_a_wider_one_never_matches() -> None:
    long = Rule("long", when={"input_tokens": ">8000"}, first="medium")
    longer = Rule("longer", when={"input_tokens": ">9000", "task": "coding"}, tier="large")
    assert doubts(long, longer) == [
        (1, "it can never match: 'long' before it matches whatever it would")
    ]
    assert never(longer, long) == []
    assert never(Rule("all"), long, longer) == [1, 2]
    assert never(long, Rule("mine", when=lambda signals: True), longer) == [2]


def test_several_rules_together_leave_nothing() -> None:
    low, high = (
        Rule("low", when={"turns": "<3"}, tier="small"),
        Rule("high", when={"turns": ">=3"}, tier="large"),
    )
    rest = Rule("rest", when={"turns": {"unknown": False}, "feature": "x"}, tier="medium")
    assert doubts(low, high, rest) == [
        (2, "it can never match: 'low' and 'high' before it together match whatever it would")
    ]
    assert never(low, Rule("gap", when={"turns": ">3"}, tier="large"), rest) == []
    assert never(low, high, Rule("unknown", when={"feature": "x"})) == []  # turns may be unknown
    flags = [Rule(str(flag), when={"has_code": flag}) for flag in (True, False)]
    assert never(*flags, Rule("either", when={"has_code": [True, False]})) == [2]
    both = Rule("a", when={"task": "a"}), Rule("not a", when={"task": {"not": "a"}})
    assert never(*both, Rule("b", when={"task": "b"}), Rule("none", when={"task": None})) == [2]


def test_marks_and_functions_stand_in_nobodys_way() -> None:
    mark = Rule("mark", stakes="high")
    rule = Rule("x", when={"chars": 5}, tier="large")
    assert never(mark, rule) == []
    assert never(Rule("mine", when=lambda signals: True), rule) == []
    # After the mark the stakes are others than the first rule saw.
    grave = {"stakes": "high"}
    assert never(Rule("a", when=grave), mark, Rule("b", when=grave)) == []
    assert never(Rule("a", when=grave), Rule("b", when=grave)) == [1]


def test_what_a_cascade_cannot_be_asked_for() -> None:
    assert doubts(Rule("x", when={"cascade": "other"})) == [
        (0, "it can never match: cascade is other, which it cannot be in this cascade")
    ]
    assert never(Rule("x", when={"cascade": "support"}), Rule("y")) == [1]
    everywhere = Rule("x", when={"path": [*PATHS, None]})
    assert never(everywhere, Rule("y")) == [1]


def test_rules_against_the_floor_of_their_stakes() -> None:
    floors = {"high": "large", "grave": "medium"}
    why = (
        "it goes no higher than 'small', below the floor 'large' of high stakes, which goes "
        "before it"
    )
    assert doubts(Rule("x", stakes="high", tier="small"), floors=floors) == [(0, why)]
    assert doubts(Rule("x", when={"stakes": "high"}, last="small"), floors=floors) == [(0, why)]
    either = Rule("x", when={"stakes": ["high", "grave"]}, tier="medium")
    assert doubts(either, floors=floors) == []


def test_the_floor_goes_by_what_the_stakes_have_become() -> None:
    floors = {"high": "large"}
    grave = {"stakes": "high"}
    why = (
        "it goes no higher than 'small', below the floor 'large' of high stakes, which goes "
        "before it"
    )
    assert doubts(Rule("x", when=grave, path="live"), floors=floors) == [(0, why)]
    assert doubts(Rule("x", path="legal"), floors=floors) == [(0, why)]
    assert doubts(Rule("x", when=grave, path="wide", last="large"), floors=floors) == []
    # A mark never lowers them.
    assert doubts(Rule("x", when=grave, stakes="low", tier="small"), floors=floors) == [(0, why)]
    assert doubts(Rule("x", when={"stakes": "low"}, path="live"), floors=floors) == []
    mark = Rule("all", stakes="high")
    assert doubts(mark, Rule("x", tier="small"), floors=floors) == [(1, why)]
    some = Rule("some", when={"turns": ">3"}, stakes="high")
    assert doubts(some, Rule("x", tier="small"), floors=floors) == []


def test_after_a_mark_on_every_call_lower_stakes_are_no_more() -> None:
    def rule(stakes: str) -> Rule:
        return Rule(stakes, when={"stakes": stakes}, tier="medium")

    rules = [rule(stakes) for stakes in ("low", "normal", "mine", "high", "grave")]
    floors = {"grave": "large"}
    assert never(Rule("all", stakes="high"), *rules, floors=floors) == [1, 2, 3]
    assert never(Rule("all", stakes="low"), *rules, floors=floors) == []
    assert never(Rule("all", stakes="grave"), *rules, floors=floors) == [1, 2, 3, 4]
    assert never(Rule("some", when={"turns": 5}, stakes="grave"), *rules, floors=floors) == []
    assert never(Rule("own", when=lambda signals: True, stakes="grave"), *rules) == []
    assert doubts(Rule("all", stakes="high"), rule("low")) == [
        (1, "it can never match: stakes is low, which it cannot be after the marks before it")
    ]


STAKES = st.sampled_from(["low", "normal", "high", "grave", "mine"])


@given(
    st.lists(st.tuples(STAKES | st.none(), STAKES | st.none(), st.booleans()), max_size=5),
    STAKES,
    st.dictionaries(STAKES, st.sampled_from(["medium", "large"]), max_size=2),
)
@settings(deadline=None)
def test_what_is_said_of_stakes_is_so(
    drawn: list[tuple[str | None, str | None, bool]], declared: str, floors: dict[str, str]
) -> None:
    rules = [
        Rule(
            str(n),
            when=None if about is None else {"stakes": about},
            stakes=mark,
            tier="small" if decides or mark is None else None,
        )
        for n, (about, mark, decides) in enumerate(drawn)
    ]
    cascade = Cascade(tiers=TIERS, rules=rules, floors=floors)
    found = cascade.explain("x", signals={"stakes": declared})
    for number, message in review(cascade.routes):
        matched = [one.rule for one in found.tried if one.matched]
        assert "never match" not in message or str(number) not in matched
        if "goes no higher" in message and matched[-1:] == [str(number)]:
            assert found.plan.tier_names[0] != "small"


def test_a_name_that_nobody_computes_is_asked_about() -> None:
    rule = Rule("x", when={"input_toknes": ">5", "customer": "acme"})
    (only,) = doubts(rule)
    assert only[1].startswith("no signal is called 'input_toknes', so it can match only calls that")
    assert only[1].endswith("did you mean 'input_tokens'?")
    assert doubts(Rule("x", when={"vip": True}), signals={"vip": lambda r, s: True}) == []


CONDITION = st.one_of(
    st.sampled_from([">1", "<=1", ">=3", "<3", "!=2", 0, 2, None]),
    st.lists(st.integers(0, 3), min_size=1, max_size=3),
    st.builds(lambda n: {"not": n}, st.integers(0, 3)),
)
WHEN = st.dictionaries(st.sampled_from(["a", "b", "turns"]), CONDITION, max_size=2)
FACT = st.one_of(st.none(), st.integers(0, 4))


@given(
    st.lists(st.tuples(WHEN, st.booleans()), min_size=1, max_size=5),
    st.lists(st.fixed_dictionaries({"a": FACT, "b": FACT, "turns": st.integers(0, 4)}), max_size=9),
)
@settings(deadline=None)
def test_a_rule_said_to_match_nothing_decides_nothing(
    whens: list[tuple[dict[str, Any], bool]], calls: list[dict[str, Any]]
) -> None:
    rules = [
        Rule(str(n), when=when, stakes="high" if mark else None, why="x")
        for n, (when, mark) in enumerate(whens)
    ]
    cascade = Cascade(tiers=TIERS, rules=rules)
    said = {str(n) for n, m in review(cascade.routes) if "never match" in m}
    for facts in calls:
        messages = [{"role": "user", "content": "x"}] * facts["turns"]
        request = Request([{"role": "system", "content": "x"}, *messages])
        explained = cascade.explain(request, signals={"a": facts["a"], "b": facts["b"]})
        assert said.isdisjoint(one.rule for one in explained.tried if one.matched)


@pytest.mark.parametrize("signal", ["stakes", "path"])
def test_signals_that_are_always_known_are_known(signal: str) -> None:
    assert Signals.of("Hello")["stakes"] == "normal"
    assert never(Rule("x", when={signal: {"unknown": False}}), Rule("y")) == (
        [1] if signal == "stakes" else []
    )
