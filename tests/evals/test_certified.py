from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cascade.errors import ConfigError
from cascade.evals.card import card
from cascade.evals.certified import Promise, certified, fitted_policies
from cascade.evals.measures import figures
from cascade.evals.replay import replay
from cascade.evals.runs import read_runs
from cascade.evals.tune import Settings
from tests.evals.recorded import made_up

QUICK = Settings(folds=2)
LOOSE = Promise(0.05, 0.1)
PAIR = {"small": (0.0, 0.0001), "large": (2.2, 0.002)}


def test_a_pair_is_certified_on_every_query_and_keeps_its_promise(tmp_path: Path) -> None:
    policy = certified(made_up(tmp_path, 600, tiers=PAIR), "large", QUICK, LOOSE)
    proof = policy.evidence["certificate"]
    assert proof["passed"]
    assert proof["n"] == 600
    assert proof["method"] == "tango"
    fresh = made_up(tmp_path, 5000, tiers=PAIR, seed=9)
    found = figures(fresh, replay(policy, fresh), "large")
    assert found["accuracy"] > found["strong_accuracy"] - 0.05
    assert found["relative_cost"] < 0.95
    assert "Certified at most 0.05 worse" in card(policy)


def test_more_tiers_are_fitted_on_one_half_and_certified_on_the_other(tmp_path: Path) -> None:
    runs = made_up(tmp_path, 700)
    policy = certified(runs, "large", QUICK, replace(LOOSE, strict=True))
    proof = policy.evidence["certificate"]
    assert proof["method"] == "betting"
    assert 250 < proof["n"] < 450
    assert policy.evidence["n"] == proof["n"]


def test_the_way_is_fine_and_the_promise_holds_on_new_queries(tmp_path: Path) -> None:
    runs = made_up(tmp_path, 2000)
    policies = fitted_policies(runs, "large", QUICK)
    fresh = made_up(tmp_path, 5000, seed=9)
    costs = [replay(policy, fresh).cost_usd.mean() for policy in policies]
    assert len(set(costs)) > 30
    policy = certified(runs, "large", QUICK, LOOSE)
    found = figures(fresh, replay(policy, fresh), "large")
    assert found["accuracy"] > found["strong_accuracy"] - 0.05
    assert found["relative_cost"] < 0.9


def test_harm_alone_counts_where_that_is_asked_for(tmp_path: Path) -> None:
    runs = made_up(tmp_path, 600, tiers=PAIR)
    tango = certified(runs, "large", QUICK, LOOSE)
    harm = certified(runs, "large", QUICK, replace(LOOSE, harm_only=True))
    assert harm.evidence["certificate"]["method"] == "harm"
    assert harm.evidence["relative_cost"] >= tango.evidence["relative_cost"]


def test_where_nothing_passes_the_strong_tier_answers_alone(tmp_path: Path) -> None:
    runs = made_up(tmp_path, 120, tiers=PAIR)
    policy = certified(runs, "large", QUICK, Promise(0.001, 0.01))
    assert policy.start[""] == "large"
    assert not policy.evidence["certificate"]["passed"]
    assert policy.evidence["relative_cost"] == pytest.approx(1.0)


def test_graded_answers_are_compared_by_their_mean(tmp_path: Path) -> None:
    made_up(tmp_path, 300, tiers=PAIR)
    runs = read_runs([tmp_path / "runs.jsonl"])
    graded = replace(runs, correct=runs.correct * 0.9)
    assert certified(graded, "large", QUICK, LOOSE).evidence["certificate"]["method"] == "betting"


def test_a_cheap_tier_whose_signal_is_no_number_is_told(tmp_path: Path) -> None:
    runs = made_up(tmp_path, 200, tiers=PAIR)
    sure = runs.signals["sure"].copy()
    for value in (-np.inf, np.nan):
        sure[:, runs.column("small")] = value
        with pytest.raises(ConfigError, match="'small' has no score of the signal 'sure'"):
            certified(replace(runs, signals={"sure": sure}), "large", QUICK, LOOSE)


def test_too_few_queries_and_unknown_tiers_are_refused(tmp_path: Path) -> None:
    runs = made_up(tmp_path, 80, tiers=PAIR)
    with pytest.raises(ConfigError, match="80 queries are too few to prove anything"):
        certified(runs, "large", QUICK, LOOSE)
    with pytest.raises(ConfigError, match="'huge' is none of"):
        certified(runs, "huge", QUICK, LOOSE)
