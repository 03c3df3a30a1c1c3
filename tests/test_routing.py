from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import Cascade, ConfigError, Path, Tier, Validator, at_least, weighted
from cascade.routing import Plan, ladder_of
from cascade.validation import Check

NAMES = ["a", "b", "c", "d"]


def score(answer: Any, context: Any) -> float:
    return 0.5


def scored(name: str = "v", at: float | None = None) -> Check:
    return Check(name, score, at=at, scored=True)


def cascade(*validators: Any, tiers: int = 2, **options: Any) -> Cascade:
    return Cascade(tiers=[Tier(n) for n in NAMES[:tiers]], validators=validators, **options)


def thresholds(plan: Plan) -> dict[str, dict[str, Any]]:
    """By tier and validator, what the plan holds an answer against."""
    return {
        rung.tier.name: {
            one.name: getattr(one, "threshold")  # noqa: B009 - not every validator has one
            for validator in (*rung.free, *rung.paid)
            for one in validator.walk()
            if hasattr(one, "threshold")
        }
        for rung in plan.rungs
    }


# The ladder of a path


@given(st.integers(1, 4), st.data())
def test_a_path_uses_the_rungs_from_first_to_last(count: int, data: Any) -> None:
    tiers = [Tier(name) for name in NAMES[:count]]
    choice = st.none() | st.sampled_from(NAMES[:count])
    first, last = data.draw(choice), data.draw(choice)
    low = NAMES.index(first) if first else 0
    high = NAMES.index(last) if last else count - 1
    if low <= high:
        got = ladder_of(tiers, "p", Path(first=first, last=last))
        assert [t.name for t in got] == NAMES[low : high + 1]
    else:
        with pytest.raises(ConfigError, match=r"stands above last=.*exchange them"):
            ladder_of(tiers, "p", Path(first=first, last=last))


@pytest.mark.parametrize("name", NAMES)
def test_a_direct_path_asks_one_tier(name: str) -> None:
    (only,) = cascade(tiers=4, paths={"p": Path(direct=name)}).plan("p").rungs
    assert only.tier.name == name


def test_the_plan_of_a_path_holds_what_the_path_says() -> None:
    made = cascade(
        name="c",
        on_exhausted="best",
        paths={"slow": Path(), "fast": Path(budget_s=0.3, on_exhausted="raise")},
    )
    assert (made.plan().path, made.plan().budget_s, made.plan().cascade) == (None, None, "c")
    assert (made.plan("slow").on_exhausted, made.plan("slow").budget_s) == ("best", None)
    assert (made.plan("fast").on_exhausted, made.plan("fast").budget_s) == ("raise", 0.3)
    assert made.plan("fast").path == "fast"


def test_a_path_prints_what_was_given() -> None:
    assert repr(Path(budget_s=0.3, direct="a")) == "Path(budget_s=0.3, direct='a')"
    assert repr(Path()) == "Path()"


# Thresholds

levels = st.none() | st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])


@given(at=levels, cascade_=levels, cascade_tier=levels, path=levels, path_tier=levels)
def test_the_nearest_threshold_wins(
    at: Any, cascade_: Any, cascade_tier: Any, path: Any, path_tier: Any
) -> None:
    def layer(all_tiers: float | None, tier: float | None) -> dict[str, Any]:
        made: dict[str, Any] = {} if all_tiers is None else {"v": all_tiers}
        return made if tier is None else {**made, "a": {"v": tier}}

    made = cascade(
        Check("v", score, at=at),
        thresholds=layer(cascade_, cascade_tier),
        paths={"p": Path(thresholds=layer(path, path_tier))},
    )

    def nearest(*said: float | None) -> float | None:
        return next((level for level in said if level is not None), None)

    assert thresholds(made.plan("p")) == {
        "a": {"v": nearest(path_tier, path, cascade_tier, cascade_, at)},
        "b": {"v": nearest(path, cascade_, at)},
    }
    assert thresholds(made.plan()) == {
        "a": {"v": nearest(cascade_tier, cascade_, at)},
        "b": {"v": nearest(cascade_, at)},
    }


def test_thresholds_reach_into_compositions() -> None:
    made = cascade(
        ~scored("x") | (scored("y", 0.2) & scored("z", 0.3)).optional(),
        weighted({scored("w"): 1}, at=0.1).named("mean"),
        thresholds={"x": 0.7, "b": {"y": 0.8, "mean": 0.9}},
    )
    assert thresholds(made.plan()) == {
        "a": {"x": 0.7, "y": 0.2, "z": 0.3, "w": None, "mean": 0.1},
        "b": {"x": 0.7, "y": 0.8, "z": 0.3, "w": None, "mean": 0.9},
    }


def test_the_validators_of_a_cascade_stay_as_they_were() -> None:
    given_ = scored(at=0.5)
    cascade(given_, thresholds={"v": 0.9})
    assert given_.threshold == 0.5


@pytest.mark.parametrize(
    "validator", [scored(), ~scored(), scored().optional(), scored() & score, at_least(1, scored())]
)
def test_a_score_without_a_threshold_is_refused_before_any_call(validator: Validator) -> None:
    with pytest.raises(ConfigError, match=r"'v' only gives a score.*tier 'a'.*v\.at\(0\.6\)"):
        cascade(validator)
    cascade(validator, thresholds={"v": 0.5})


def test_a_threshold_for_each_tier_is_threshold_enough() -> None:
    cascade(scored(), thresholds={"a": {"v": 0.5}, "b": {"v": 0.6}})
    with pytest.raises(ConfigError, match="no threshold for tier 'b'"):
        cascade(scored(), thresholds={"a": {"v": 0.5}})
    cascade(scored().for_tiers("a"), thresholds={"a": {"v": 0.5}})


# Which validators judge which tier


def judges(made: Cascade) -> dict[str, list[str]]:
    return {
        rung.tier.name: [v.name for v in (*rung.free, *rung.paid)] for rung in made.plan().rungs
    }


def test_a_validator_for_some_tiers_is_as_if_it_were_not_there_on_others() -> None:
    x, y = scored("x", 0.5), scored("y", 0.5)
    made = cascade(x.for_tiers("a"), y, (x.named("z") & x.for_tiers("b").named("q")).named("both"))
    assert judges(made) == {"a": ["x", "y", "both"], "b": ["y", "both"]}
    both = made.plan().rungs[0].free[-1]
    assert [v.name for v in both.walk()] == ["both", "z"]


def test_a_composition_with_no_part_left_is_gone_whole() -> None:
    x = scored("x", 0.5)
    parts = [x.for_tiers("a"), (x | x).for_tiers("a"), (~x).for_tiers("a")]
    for part in (*parts, ~x.for_tiers("a"), x.for_tiers("a").optional()):
        assert list(judges(cascade(part))["b"]) == []


def test_a_composition_is_free_where_its_paid_part_does_not_judge() -> None:
    paid = Check("paid", score, at=0.5, cost="paid").for_tiers("b")
    low, high = cascade(scored("x", 0.5) & paid).plan().rungs
    assert (len(low.free), len(low.paid)) == (1, 0)
    assert low.free[0].inline
    assert (len(high.free), len(high.paid)) == (0, 1)


def test_weights_go_with_their_validators() -> None:
    x, y = scored("x"), scored("y")
    made = cascade(weighted({x.for_tiers("b"): 3, y: 1}, at=0.5))
    low, high = made.plan().rungs
    assert low.free[0].weights == (1,)  # type: ignore[attr-defined]
    assert high.free[0].weights == (3, 1)  # type: ignore[attr-defined]


def test_a_count_that_a_tier_cannot_reach_is_refused() -> None:
    x = scored("x", 0.5)
    with pytest.raises(ConfigError, match="has only 1 parts left on a tier; see its for_tiers"):
        cascade(at_least(2, x, x.for_tiers("a")))


# What cannot work is refused when the cascade is built


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Path(direct="a", first="b"), "direct='a' and has first or last too"),
        (lambda: Path(budget_s=0), "budget_s=0 is not a time"),
        (lambda: cascade(paths={"p": Path(direct="A")}), "path 'p': direct='A' is no tier"),
        (lambda: cascade(paths={"p": Path(last="z")}), "path 'p': last='z'.*known: 'a', 'b'"),
        (lambda: cascade(paths={"p": {"direct": "a"}}), "path 'p' is a dict; write Path"),
        (
            lambda: cascade(paths={"p": Path(on_exhausted="rise")}),  # type: ignore[arg-type]
            "path 'p': on_exhausted='rise'",
        ),
        (lambda: cascade(on_exhausted="first"), "the cascade: on_exhausted='first'; write"),
        (lambda: cascade(thresholds={"v": 0.5}), "names? the validator 'v'; none are known"),
        (lambda: cascade(scored(), thresholds={"w": 0.5}), "validator 'w'; known: 'v'"),
        (lambda: cascade(scored(), thresholds={"c": {"v": 0.5}}), "the tier 'c'; known"),
        (
            lambda: cascade(scored(), thresholds={"v": 5}),
            "'v' \\(the cascade\\) is 5; give a score",
        ),
        (lambda: cascade(scored(), thresholds={"v": None}), "'v' \\(the cascade\\) is None"),
        (lambda: cascade(scored(), thresholds=[0.5]), "thresholds is a list; write a mapping"),
        (
            lambda: cascade(scored(at=0.5), paths={"p": Path(thresholds=0.5)}),  # type: ignore[arg-type]
            "path 'p': thresholds is a float; write a mapping",
        ),
        (
            lambda: cascade(scored(), thresholds={"a": {"a": {"v": 0.5}}}),
            "the cascade, tier 'a': thresholds name the tier 'a'",
        ),
        (
            lambda: cascade(scored(), ~scored(), thresholds={"v": 0.5}),
            "'v' names 2 validators; tell them apart with .named",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_its_mend(make: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()
