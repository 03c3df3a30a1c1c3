from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import (  # pyright: ignore[reportMissingTypeStubs]
    threadpool_info,
    threadpool_limits,
)

from cascade.errors import ConfigError
from cascade.evals import tune as tuning
from cascade.evals.card import card
from cascade.evals.families import (
    MOST_TIERS,
    PRICES,
    Curve,
    cross_validated,
    rising,
    useful_tiers,
)
from cascade.evals.measures import figures
from cascade.evals.replay import replay
from cascade.evals.runs import Floats, Runs
from cascade.evals.tune import Settings, tune
from cascade.policy import Policy
from tests.evals.recorded import made_up

QUICK = Settings(target=0.97, folds=3, repeats=1)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return made_up(tmp_path_factory.mktemp("runs"), 800)


@pytest.fixture(scope="module")
def policy(runs: Runs) -> Policy:
    return tune(runs, "large", QUICK)


def test_the_target_is_met_on_queries_it_has_not_seen(policy: Policy, tmp_path: Path) -> None:
    fresh = made_up(tmp_path, 4000, seed=99)
    found = figures(fresh, replay(policy, fresh), "large")
    assert found["quality_vs_strong"] > 0.95
    assert found["relative_cost"] < 0.75
    assert found["accuracy"] > found["mixture_accuracy"] + 0.01


def test_the_evidence_is_what_new_queries_show(policy: Policy, tmp_path: Path) -> None:
    fresh = made_up(tmp_path, 4000, seed=98)
    found = figures(fresh, replay(policy, fresh), "large")
    assert policy.evidence["relative_cost"] == pytest.approx(found["relative_cost"], abs=0.06)
    assert policy.evidence["quality_vs_strong"] == pytest.approx(
        found["quality_vs_strong"], abs=0.03
    )


def test_the_same_seed_tunes_the_same_policy(runs: Runs, policy: Policy) -> None:
    assert tune(runs, "large", QUICK).to_json() == policy.to_json()


def test_a_higher_target_costs_more(runs: Runs, policy: Policy) -> None:
    cheap = tune(runs, "large", replace(QUICK, target=0.85))
    assert cheap.evidence["relative_cost"] < policy.evidence["relative_cost"]


@pytest.mark.parametrize(("many", "prices"), [(801, PRICES), (800, PRICES // 2)])
def test_it_calculates_in_one_thread_and_for_half_the_prices_where_queries_are_many(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, many: int, prices: int
) -> None:
    seen: list[tuple[int, set[int]]] = []

    def watched(*arguments: Any) -> Mapping[str, Curve]:
        seen.append((len(arguments[2]), {pool["num_threads"] for pool in threadpool_info()}))
        return cross_validated(*arguments)

    monkeypatch.setattr(tuning, "MANY_QUERIES", many)
    monkeypatch.setattr(tuning, "cross_validated", watched)
    with threadpool_limits(2):
        tune(runs, "large", QUICK)
        assert {pool["num_threads"] for pool in threadpool_info()} == {2}
    assert seen == [(prices, {1})]


def test_a_margin_stays_above_the_target(runs: Runs, policy: Policy) -> None:
    careful = tune(runs, "large", replace(QUICK, margin=1.5))
    assert careful.evidence["accuracy"] >= policy.evidence["accuracy"]
    assert careful.evidence["relative_cost"] > policy.evidence["relative_cost"]


def test_where_nothing_reaches_the_target_the_strong_tier_answers_alone(runs: Runs) -> None:
    hopeless = tune(runs, "large", replace(QUICK, target=1.5))
    assert hopeless.start == {"": "large"}
    assert list(hopeless.states) == ["large"]
    assert hopeless.evidence["relative_cost"] == pytest.approx(1.0)
    assert hopeless.evidence["reaches_target"] is False


def test_a_cheap_tier_that_is_as_good_answers_alone(tmp_path: Path) -> None:
    equal = made_up(tmp_path, 300, tiers={"cheap": (3.0, 0.001), "dear": (1.0, 0.01)})
    policy = tune(equal, "dear", replace(QUICK, target=0.9))
    assert policy.start[""] == "cheap"
    assert policy.evidence["relative_cost"] < 0.12


def test_slices_of_unlike_gain_get_rules_of_their_own(tmp_path: Path) -> None:
    """In one slice no tier is better: asking another there is money for nothing."""
    runs = made_up(tmp_path, 1600, tasks=("gains", "equal"))
    equal = np.array([name == "equal" for name in runs.slices])
    correct = runs.correct.copy()
    correct[equal, 1:] = correct[equal, :1]
    runs = replace(runs, correct=correct)
    policy = tune(runs, "large", replace(QUICK, target=0.98))
    found = figures(runs, replay(policy, runs), "large")
    assert policy.slice_by == "task"
    assert found["by_slice"]["equal"]["relative_cost"] < 0.15
    assert found["by_slice"]["gains"]["relative_cost"] > 0.3


def test_too_few_queries_are_refused_and_few_are_cautioned(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="30 queries are too few to tune on: record 20 more"):
        tune(made_up(tmp_path, 30), "large", QUICK)
    policy = tune(made_up(tmp_path, 90), "large", QUICK)
    assert policy.evidence["few_queries"]
    assert "90 queries are few" in card(policy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": np.zeros(100)}, "every query has the weight 0"),
        ({"cost_usd": np.zeros((100, 3))}, "large costs nothing in these runs"),
        ({"clusters": np.arange(100) % 9}, "come from 9 clusters, and cross-validation needs 10"),
    ],
)
def test_runs_that_nothing_can_be_learned_from_are_refused(
    runs: Runs, change: dict[str, Floats], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        tune(replace(runs.take(np.arange(100)), **change), "large", QUICK)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", ["no signals", "all right", "constant", "graded", "infinite"])
def test_odd_runs_are_tuned_on(runs: Runs, change: str) -> None:
    odd = runs.take(np.arange(150))
    sure = odd.signals["sure"]
    changed = {
        "no signals": {"signals": {}},
        "all right": {"correct": np.ones_like(odd.correct)},
        "constant": {"signals": {"sure": np.full_like(sure, 0.7)}},
        "graded": {"correct": np.round(0.2 + 0.6 * odd.correct, 1)},
        "infinite": {"signals": {"sure": np.where(sure < 0.3, -np.inf, 10 * sure)}},
    }[change]
    odd = replace(odd, **changed)  # type: ignore[arg-type]
    policy = tune(odd, "large", QUICK)
    found = figures(odd, replay(policy, odd), "large")
    assert found["quality_vs_strong"] > 0.9
    assert found["relative_cost"] <= 1.3


def test_an_unknown_strong_tier_is_refused(runs: Runs) -> None:
    with pytest.raises(ConfigError, match="'huge' is none of small, medium, large"):
        tune(runs, "huge", QUICK)


def test_a_tier_that_another_beats_at_its_own_price_is_left_out(tmp_path: Path) -> None:
    tiers = {"small": (0.0, 0.001), "poor": (-1.5, 0.0011), "large": (2.0, 0.01)}
    runs = made_up(tmp_path, 400, tiers=tiers)
    assert useful_tiers(runs, "large") == ("small", "large")
    assert "poor" in useful_tiers(runs, "poor")


def test_of_many_tiers_those_nearest_to_a_mixture_are_left(tmp_path: Path) -> None:
    tiers = {f"tier {i}": (0.3 * i - (i == 4), 0.001 * 2.0**i) for i in range(9)}
    runs = made_up(tmp_path, 150, tiers=tiers)
    kept = useful_tiers(runs, "tier 4")
    assert len(kept) == MOST_TIERS
    assert "tier 4" in kept
    assert list(kept) == sorted(kept)
    assert "tier 4" not in useful_tiers(runs, "tier 8")


def test_clusters_stay_together_and_widen_the_intervals(runs: Runs, policy: Policy) -> None:
    """Every query four times over is no more evidence than once, if told so."""
    rows = np.tile(np.arange(200), 4)
    copied = runs.take(rows)
    alone = tune(copied, "large", QUICK)
    together = tune(replace(copied, clusters=rows), "large", QUICK)

    def width(policy: Policy) -> float:
        low, high = policy.evidence["intervals"]["accuracy"]
        return float(high - low)

    assert width(together) > 1.5 * width(alone)


def test_the_card_says_what_the_policy_does(policy: Policy) -> None:
    text = card(policy)
    assert policy.sha256()[:12] in text
    assert "97.0% of the strong tier's accuracy" in text
    assert "small > medium > large" in text


def test_rising_values_are_the_closest() -> None:
    values = np.array([1.0, 3.0, 2.0, 2.0, 5.0])
    assert rising(values) == pytest.approx([1, 7 / 3, 7 / 3, 7 / 3, 5])
