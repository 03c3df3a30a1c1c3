"""calibrated."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.composition import weighted
from cascade.context import Context
from cascade.errors import ConfigError
from cascade.types import Answer, Verdict
from cascade.validation import Check
from cascade.validators import calibrated, logprob


def scoring(score: Any, **options: Any) -> Check:
    return Check("inner", lambda answer, context: score, **options)


def mapped(score: Any, mapping: Any) -> Verdict:
    return calibrated(scoring(score), mapping).judge_inline(Answer("a"), Context())


POINTS = [[0.2, 0.1], [0.6, 0.5], [0.8, 0.9]]


@pytest.mark.parametrize(
    ("score", "probability"),
    [(0.0, 0.1), (0.2, 0.1), (0.4, 0.3), (0.6, 0.5), (0.75, 0.8), (0.8, 0.9), (1.0, 0.9)],
)
def test_points_are_joined_by_lines_and_level_beyond(score: float, probability: float) -> None:
    assert mapped(score, POINTS).score == pytest.approx(probability)


@pytest.mark.parametrize("score", [0.01, 0.3, 0.5, 0.99])
def test_platt_works_on_the_log_odds(score: float) -> None:
    assert mapped(score, {"platt": [1.0, 0.0]}).score == pytest.approx(score)
    odds = 2 * math.log(score / (1 - score)) - 1
    assert mapped(score, {"platt": [2, -1]}).score == pytest.approx(1 / (1 + math.exp(-odds)))


@pytest.mark.parametrize("a", [1, 1000])
def test_platt_at_the_ends_neither_breaks_nor_claims_certainty_of_its_own(a: int) -> None:
    assert mapped(0.0, {"platt": [a, 0]}).score == pytest.approx(0.0, abs=2e-6)
    assert mapped(1.0, {"platt": [a, 0]}).score == pytest.approx(1.0, abs=2e-6)
    assert mapped(1.0, {"platt": [1, -13.8]}).score == pytest.approx(0.5, abs=0.01)


def test_a_function() -> None:
    assert mapped(0.5, lambda score: score**2).score == 0.25


@pytest.mark.parametrize(
    "mapping",
    [
        [],
        [[0.5, 0.5]],
        [[0.5, 0.5], [0.5, 0.6]],
        [[0.6, 0.5], [0.5, 0.6]],
        [[0.1, 0.5], [0.5, 0.4]],
        [[-0.1, 0.5], [0.5, 0.6]],
        [[0.1, 0.5], [1.5, 0.6]],
        [[0.1, 0.5], [0.5, 1.6]],
        [[0.1, 0.5], [0.5]],
        [[0.1, 0.5], [0.5, math.nan]],
        [[0.1, 0.5], [0.5, True]],
        [[0.1, 0.5], "ab"],
        {"platt": [0, 1]},
        {"platt": [-1, 1]},
        {"platt": [1]},
        {"platt": [1, math.inf]},
        {"platt": "12"},
        {"plat": [1, 0]},
        {"platt": [1, 0], "isotonic": []},
        {},
        None,
        "linear",
        pytest.param(lambda score: 1 - score, id="decreases"),
        pytest.param(lambda score: 2 * score, id="leaves the range"),
        pytest.param(lambda score: math.nan, id="not a number"),
        pytest.param(lambda score: 1 / score, id="raises"),
    ],
)
def test_a_mapping_that_is_no_calibration_is_refused(mapping: Any) -> None:
    with pytest.raises(ConfigError, match="calibrated"):
        calibrated(scoring(0.5), mapping)


def test_a_function_that_breaks_its_word_later_abstains() -> None:
    said = [0.5] * 101 + [math.nan]
    values = iter(said)
    check = calibrated(scoring(0.5), lambda _: next(values)).at(0.1)
    found = check.judge_inline(Answer("a"), Context())
    assert (found.status, found.reason) == ("abstained", "bad_calibration")


def test_the_threshold_is_held_against_the_probability() -> None:
    check = calibrated(scoring(0.75), POINTS)
    assert check.name == "calibrated_inner"
    assert check.missing_thresholds() == ["calibrated_inner"]
    assert check.at(0.8).judge_inline(Answer("a"), Context()).status == "passed"
    assert check.at(0.85).judge_inline(Answer("a"), Context()).status == "failed"


def test_the_other_verdict_is_kept() -> None:
    inner = Verdict.scored(0.6, feedback="Vague.", value=[7])
    found = mapped(inner, POINTS)
    assert (found.score, found.feedback, found.value) == (0.5, "Vague.", [7])
    (part,) = found.parts
    assert (part.validator, part.score) == ("inner", 0.6)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (None, "undecided"),
        (Verdict.abstained("no_logprobs"), "no_logprobs"),
        (1.5, "score_out_of_range"),
        (Verdict("failed", None, "invalid"), "no_score"),
    ],
)
def test_without_a_score_it_abstains_for_the_same_reason(said: Any, reason: str) -> None:
    found = mapped(said, POINTS)
    assert (found.status, found.score, found.reason) == ("abstained", None, reason)
    assert len(found.parts) == 1


@pytest.mark.anyio
async def test_an_async_and_paid_validator_stays_so() -> None:
    async def score(answer: Answer[Any], context: Context) -> float:
        return 0.6

    check = calibrated(Check("asks", score, cost="paid"), POINTS)
    assert (check.paid, check.inline) == (True, False)
    assert (await check.judge(Answer("a"))).score == 0.5
    assert not calibrated(scoring(0.5), POINTS).paid
    assert calibrated(scoring(0.5), POINTS).inline


@pytest.mark.anyio
async def test_a_validator_in_a_thread_is_waited_for() -> None:
    check = calibrated(scoring(0.6, blocking=True), POINTS)
    assert not check.inline
    assert (await check.judge(Answer("a"))).score == 0.5


def test_it_judges_the_tiers_of_the_other() -> None:
    check = calibrated(scoring(0.5).for_tiers("small"), POINTS)
    assert check.fitted("small", {}) is not None
    assert check.fitted("large", {}) is None


def test_a_composed_score_can_be_calibrated() -> None:
    mean = weighted({scoring(0.9): 1, scoring(0.3).named("other"): 1}, at=0.5)
    found = calibrated(mean, POINTS).judge_inline(Answer("a"), Context())
    assert found.score == pytest.approx(0.5)


def test_another_curve_or_another_version_of_the_other_is_another_version() -> None:
    curves: list[Any] = [POINTS, [[0.2, 0.1], [0.6, 0.5]], {"platt": [1, 0]}]
    versions = [calibrated(scoring(0.5), curve).version for curve in curves]
    versions.append(calibrated(scoring(0.5, version="2"), POINTS).version)
    assert len(set(versions)) == len(versions)
    assert calibrated(scoring(0.5), POINTS).version == versions[0]
    of_several = weighted({scoring(0.5, version="2"): 1}, at=0.5)
    assert calibrated(of_several, POINTS).version == versions[-1]
    assert calibrated(scoring(0.5), lambda score: score).version == ""


def test_thresholds_without_effect_and_parts_for_some_tiers_are_refused() -> None:
    with pytest.raises(ConfigError, match="has no effect"):
        calibrated(logprob().at(0.5), POINTS)
    with pytest.raises(ConfigError, match="for certain tiers"):
        calibrated(scoring(0.5) | scoring(0.6).for_tiers("small"), POINTS)
    with pytest.raises(ConfigError, match="no validator is named"):
        calibrated("nobody", POINTS)


rising = st.lists(st.floats(0, 1), min_size=2, max_size=6, unique=True).map(sorted)
probabilities = st.lists(st.floats(0, 1), min_size=6, max_size=6).map(sorted)
curves = st.builds(
    lambda xs, ys: [[x, y] for x, y in zip(xs, ys, strict=False)], rising, probabilities
) | st.builds(lambda a, b: {"platt": [a, b]}, st.floats(0.01, 50), st.floats(-50, 50))


@given(curves, st.floats(0, 1), st.floats(0, 1))
def test_a_better_score_never_means_less(mapping: Any, one: float, other: float) -> None:
    low, high = (mapped(score, mapping).score for score in sorted((one, other)))
    assert low is not None
    assert high is not None
    assert 0 <= low <= high + 1e-12
    assert high <= 1
