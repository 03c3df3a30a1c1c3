"""Laws of the three-valued logic, over every kind of verdict a validator can give."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.logic import all_of, any_of, count_of, inverse_of, mean_of, optional_of
from cascade.types import UNSET, Status, Verdict

scores = st.floats(0, 1)
decided = st.builds(
    Verdict,
    st.sampled_from(["passed", "failed"]),
    st.none() | scores,
    st.just("r"),
    validator=st.just("v"),
)
unknown = st.builds(Verdict.abstained, st.just("blind"))
verdicts = st.one_of(decided, unknown)
several = st.lists(verdicts, min_size=1, max_size=5)


def named(verdict: Verdict, place: int) -> Verdict:
    verdict.validator = f"v{place}"
    return verdict


def completions(given: Sequence[Verdict]) -> list[list[Verdict]]:
    """Every way in which the abstentions might have been decided, at the ends of the scale."""
    ends = [Verdict.passed(1.0), Verdict.failed(score=0.0)]
    return [
        list(choice)
        for choice in itertools.product(*(ends if v.status == "abstained" else [v] for v in given))
    ]


def agreed(statuses: Sequence[Status]) -> Status:
    """What is sure whichever way the unknown turns out; else abstained."""
    return statuses[0] if len(set(statuses)) == 1 else "abstained"


# What Kleene's tables say


@given(several)
def test_and_is_what_all_completions_agree_on(given_: list[Verdict]) -> None:
    def plain(case: list[Verdict]) -> Status:
        return "passed" if all(v.status == "passed" for v in case) else "failed"

    assert all_of(given_).status == agreed([plain(case) for case in completions(given_)])


@given(several)
def test_or_is_what_all_completions_agree_on(given_: list[Verdict]) -> None:
    def plain(case: list[Verdict]) -> Status:
        return "passed" if any(v.status == "passed" for v in case) else "failed"

    assert any_of(given_).status == agreed([plain(case) for case in completions(given_)])


@given(several, st.data())
def test_at_least_is_what_all_completions_agree_on(given_: list[Verdict], data: Any) -> None:
    least = data.draw(st.integers(1, len(given_)))

    def plain(case: list[Verdict]) -> Status:
        return "passed" if sum(v.status == "passed" for v in case) >= least else "failed"

    assert count_of(given_, least).status == agreed([plain(case) for case in completions(given_)])


weights = st.floats(1e-6, 1e6)


@given(st.lists(st.tuples(verdicts, weights), min_size=1, max_size=5), scores)
def test_a_mean_is_what_all_completions_agree_on(
    pairs: list[tuple[Verdict, float]], at: float
) -> None:
    given_, weighs = [v for v, _ in pairs], [w for _, w in pairs]
    cases: list[Status] = [mean_of(case, weighs, at).status for case in completions(given_)]
    assert mean_of(given_, weighs, at).status == agreed(cases)


@given(st.lists(st.tuples(decided, weights), min_size=1, max_size=5), scores)
def test_a_mean_of_known_scores_is_their_mean(
    pairs: list[tuple[Verdict, float]], at: float
) -> None:
    counts = [float(v.status == "passed") if v.score is None else v.score for v, _ in pairs]
    mean = sum(c * w for c, (_, w) in zip(counts, pairs, strict=True)) / sum(w for _, w in pairs)
    verdict = mean_of([v for v, _ in pairs], [w for _, w in pairs], at)
    assert verdict.score == pytest.approx(mean)
    assert verdict.threshold == at
    assert verdict.score is not None
    assert (verdict.status == "passed") == (verdict.score >= at)


@pytest.mark.parametrize("weighs", [(0.1, 0.2, 0.7), (1 / 3, 1 / 7, 1 / 11), (1e-6, 1, 1e6)])
def test_a_perfect_mean_reaches_a_threshold_of_one(weighs: tuple[float, ...]) -> None:
    perfect = [Verdict.passed() for _ in weighs]
    assert mean_of(perfect, weighs, 1.0).status == "passed"
    assert mean_of([*perfect[1:], Verdict.abstained("blind")], weighs, 1.0).status == "abstained"


def test_a_mean_takes_no_undecided_composition_at_its_word() -> None:
    """The score of `a | b` is not known while b is not: b could lift it."""
    undecided = any_of([Verdict.failed(score=0.1), Verdict.abstained("blind")])
    undecided.parts = (Verdict.failed(score=0.1), Verdict.abstained("blind"))
    assert undecided.score == 0.1
    assert mean_of([undecided], [1], 0.5).status == "abstained"


# The laws that make it an algebra

rules: list[Callable[[Sequence[Verdict]], Verdict]] = [all_of, any_of]


@pytest.mark.parametrize("rule", rules)
@given(given_=several, seed=st.randoms(use_true_random=False))
def test_the_order_of_the_parts_changes_nothing(rule: Any, given_: Any, seed: Any) -> None:
    shuffled = list(given_)
    seed.shuffle(shuffled)
    one, other = rule(given_), rule(shuffled)
    assert (one.status, one.score) == (other.status, other.score)


@pytest.mark.parametrize("rule", rules)
@given(a=several, b=several)
def test_the_grouping_of_the_parts_changes_nothing(rule: Any, a: Any, b: Any) -> None:
    flat, grouped = rule([*a, *b]), rule([rule(a), rule(b)])
    assert (flat.status, flat.score) == (grouped.status, grouped.score)


@given(several)
def test_de_morgan(given_: list[Verdict]) -> None:
    inverses = [inverse_of(v) for v in given_]
    for one, other in (
        (inverse_of(all_of(given_)), any_of(inverses)),
        (inverse_of(any_of(given_)), all_of(inverses)),
    ):
        assert (one.status, one.score) == (other.status, other.score)


@given(verdicts)
def test_a_double_no_is_a_yes(verdict: Verdict) -> None:
    twice = inverse_of(inverse_of(verdict))
    assert twice.status == verdict.status
    assert twice.score == (None if verdict.score is None else pytest.approx(verdict.score))


@given(several, st.data())
def test_more_information_never_turns_a_decision_round(given_: list[Verdict], data: Any) -> None:
    least, at = data.draw(st.integers(1, len(given_))), data.draw(scores)
    weighs = [data.draw(weights) for _ in given_]
    more = [data.draw(decided) if v.status == "abstained" else v for v in given_]
    compositions: list[Callable[[Sequence[Verdict]], Verdict]] = [
        all_of,
        any_of,
        lambda vs: count_of(vs, least),
        lambda vs: mean_of(vs, weighs, at),
        lambda vs: inverse_of(vs[0]),
    ]
    for rule in compositions:
        before, after = rule(given_).status, rule(more).status
        assert before in ("abstained", after)


@given(several, st.data())
def test_scores_stay_scores(given_: list[Verdict], data: Any) -> None:
    least, at = data.draw(st.integers(1, len(given_))), data.draw(scores)
    weighs = [data.draw(weights) for _ in given_]
    made = [
        all_of(given_),
        any_of(given_),
        count_of(given_, least),
        mean_of(given_, weighs, at),
        inverse_of(given_[0]),
        optional_of(given_[0]),
    ]
    assert all(v.score is None or 0 <= v.score <= 1 for v in made)


@given(several)
def test_the_score_of_an_and_is_the_lowest_and_of_an_or_the_highest(given_: list[Verdict]) -> None:
    known = [v.score for v in given_ if v.score is not None]
    assert all_of(given_).score == min(known, default=None)
    assert any_of(given_).score == max(known, default=None)


# An abstention passes only where the user said so


@given(verdicts)
def test_optional_passes_an_abstention_and_tells_why(verdict: Verdict) -> None:
    made = optional_of(named(verdict, 1))
    assert (made.status == "failed") == (verdict.status == "failed")
    assert made.score == verdict.score
    if verdict.status == "abstained":
        assert (made.status, made.reason) == ("passed", "v1:blind")


# Reasons and values


@given(several)
def test_a_composition_that_does_not_pass_says_whose_fault_it_is(given_: list[Verdict]) -> None:
    for place, verdict in enumerate(given_):
        named(verdict, place)
    for made in (all_of(given_), any_of(given_), count_of(given_, 1)):
        if made.status == "passed":
            assert made.reason == ""
        else:
            blamed = next(v for v in given_ if f"{v.validator}:{v.reason}" == made.reason)
            assert blamed.status == made.status


def parsed(value: Any, status: Status = "passed") -> Verdict:
    return Verdict(status, 1.0, value=value)


def test_what_was_parsed_goes_through_a_composition_that_passes() -> None:
    plain, one, two = Verdict.passed(), parsed(1), parsed(2)
    assert all_of([one, two, plain]).value == 2
    assert any_of([plain, one, two]).value == 1
    assert count_of([one, two, plain], 2).value == 2
    assert mean_of([one, plain], [1, 1], 0.5).value == 1
    assert optional_of(one).value == 1
    assert all_of([plain, plain]).value is UNSET
    assert inverse_of(parsed(1, "failed")).value is UNSET


def test_what_a_failed_part_parsed_does_not_become_the_value() -> None:
    assert any_of([parsed("bad", "failed"), Verdict.passed()]).value is UNSET
    assert count_of([parsed("bad", "failed"), Verdict.passed()], 1).value is UNSET
    assert mean_of([parsed("bad", "failed"), Verdict.passed()], [1, 1], 0.5).value is UNSET
