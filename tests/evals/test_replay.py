from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.errors import ConfigError
from cascade.evals.answers import folds_of
from cascade.evals.explicit import ladder_policy, read_thresholds
from cascade.evals.families import PRICES, Ladder, families, price_grid
from cascade.evals.measures import figures
from cascade.evals.replay import Known, replay, single
from cascade.evals.runs import Runs
from cascade.policy import Observation, Policy
from tests.evals.recorded import made_up

QUERIES = 240


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return made_up(tmp_path_factory.mktemp("runs"), QUERIES, tasks=("x", "y"))


@pytest.fixture(scope="module")
def policies(runs: Runs) -> list[Policy]:
    ladder = Ladder(runs.tiers, "large", 3)
    fitted = families(runs, ladder, price_grid(0.002), folds_of(runs, 4, 0))
    assert len(fitted) == 4
    return [family.policy(price) for family in fitted.values() for price in range(PRICES)]


def observation(runs: Runs, query: int, tier: str) -> Observation:
    column = runs.column(tier)
    answer, ok = runs.answers[query, column], runs.schema_ok[query, column]
    return Observation(
        signals={name: float(values[query, column]) for name, values in runs.signals.items()},
        answer=None if answer < 0 else runs.answer_texts[answer],
        schema_ok=None if math.isnan(ok) else bool(ok),
        cost_usd=float(runs.cost_usd[query, column]),
        output_tokens=float(runs.output_tokens[query, column]),
    )


def step_by_step(policy: Policy, runs: Runs, query: int) -> tuple[str, list[str]]:
    """The returned answer's tier and the tiers asked, one decision at a time."""
    seen: dict[str, Observation] = {}
    while True:
        decision = policy.decide(seen, runs.slices[query])
        if decision.action == "accept":
            return decision.tier, list(seen)
        seen[decision.tier] = observation(runs, query, decision.tier)


@given(data=st.data())
def test_a_replay_decides_as_the_policy_does_query_by_query(
    data: st.DataObject, policies: list[Policy], runs: Runs
) -> None:
    policy = data.draw(st.sampled_from(policies))
    outcomes = replay(policy, runs)
    for query in data.draw(st.lists(st.integers(0, QUERIES - 1), min_size=1, max_size=20)):
        tier, asked = step_by_step(policy, runs, query)
        column = runs.column(tier)
        accepted = runs.schema_ok[query, column] != 0
        assert outcomes.tier[query] == (column if accepted else -1)
        assert [runs.tiers[i] for i in np.flatnonzero(outcomes.asked[query])] == asked


def test_policies_of_all_prices_differ_in_what_they_ask(policies: list[Policy], runs: Runs) -> None:
    asks = {float(replay(policy, runs).asked.sum()) for policy in policies}
    assert len(asks) > 10


def test_what_policies_share_is_worked_out_once_and_changes_nothing(
    policies: list[Policy], runs: Runs
) -> None:
    known = Known()
    for policy in policies[:: PRICES // 4]:
        shared, alone = replay(policy, runs, known=known), replay(policy, runs)
        assert (shared.tier == alone.tier).all()
        assert (shared.asked == alone.asked).all()


def test_a_policy_survives_its_file(policies: list[Policy], runs: Runs) -> None:
    for policy in policies[:: PRICES // 2]:
        again = Policy.from_json(policy.to_json())
        assert again.sha256() == policy.sha256()
        assert (replay(again, runs).tier == replay(policy, runs).tier).all()


def test_costs_and_answers_add_up(policies: list[Policy], runs: Runs) -> None:
    outcomes = replay(policies[10], runs)
    rows = np.arange(len(runs))
    assert (outcomes.cost_usd == (outcomes.asked * runs.cost_usd).sum(axis=1)).all()
    rows = rows[outcomes.tier >= 0]
    assert (outcomes.correct[rows] == runs.correct[rows, outcomes.tier[rows]]).all()
    assert (outcomes.correct[outcomes.tier < 0] == 0).all()
    assert outcomes.asked[rows, outcomes.tier[rows]].all()


def test_a_ladder_accepts_at_its_threshold_and_a_missing_signal_escalates(runs: Runs) -> None:
    ladder = ("small", "large")
    policy = ladder_policy(runs, ladder, read_thresholds(["sure=0.6"], ladder))
    outcomes = replay(policy, runs)
    sure, ok = runs.signals["sure"][:, 0], runs.schema_ok[:, 0]
    accepted = (np.nan_to_num(sure, nan=-1) >= 0.6) & (ok == 1)
    assert ((outcomes.tier == 0) == accepted).all()
    assert np.isnan(sure).any()


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["sure"], "is not understood"),
        (["sure=x"], "is not understood"),
        (["large:sure=0.5"], "for no rung that has another after it"),
        (["small:sure=0.5", "small:other=0.5"], "has two thresholds"),
        (["small:sure=0.5"], "medium has no threshold"),
    ],
)
def test_a_threshold_that_cannot_be_is_told(texts: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_thresholds(texts, ("small", "medium", "large"))


def test_a_threshold_of_one_tier_goes_before_that_of_all() -> None:
    found = read_thresholds(["sure=0.5", "medium:other=0.7"], ("small", "medium", "large"))
    assert found == {"small": ("sure", 0.5), "medium": ("other", 0.7)}


def test_an_answer_that_is_refused_is_not_right(runs: Runs) -> None:
    policy = ladder_policy(runs, ("large",), {})
    large = runs.column("large")
    failing = np.arange(QUERIES) < 30
    schema_ok = np.where(failing[:, None], 0.0, 1.0) * np.ones(3)
    right = replace(runs, correct=np.ones((QUERIES, 3)), schema_ok=schema_ok)
    outcomes = replay(policy, right)
    assert (outcomes.tier == np.where(failing, -1, large)).all()
    assert outcomes.correct.sum() == QUERIES - 30
    refused = np.zeros((QUERIES, 3), bool)
    refused[:60, large] = True
    assert replay(policy, right, refused=refused).correct.sum() == QUERIES - 60


def test_a_budget_cuts_off_the_tier_that_is_late(runs: Runs) -> None:
    ladder = ("small", "large")
    policy = ladder_policy(runs, ladder, {"small": ("sure", 2.0)})  # never sure enough
    # The small tier takes 0.21 s and the large one 0.40 s.
    runs = replace(runs, schema_ok=np.ones((QUERIES, 3)))
    assert (replay(policy, runs, budget_s=0.7).tier == runs.column("large")).all()
    cut = replay(policy, runs, budget_s=0.5)
    assert (cut.tier == -1).all()  # the small tier's answer was rejected: nobody returns it
    assert cut.correct.sum() == 0
    assert cut.asked[:, runs.column("large")].all()
    assert cut.latency_s == pytest.approx(np.full(QUERIES, 0.5))
    none = replay(policy, runs, budget_s=0.1)
    assert (none.tier == -1).all()
    assert none.correct.sum() == 0
    with pytest.raises(ConfigError, match="latency"):
        replay(policy, replace(runs, latency_s=runs.latency_s * np.nan), budget_s=1.0)


def test_runs_that_lack_what_the_policy_needs_are_refused(
    policies: list[Policy], runs: Runs, tmp_path: Path
) -> None:
    fewer = made_up(tmp_path, 60, tiers={"small": (0, 1), "large": (1, 2)})
    with pytest.raises(ConfigError, match="tuned for the tier medium, which the runs lack"):
        replay(policies[0], fewer)
    with pytest.raises(
        ConfigError, match="by the signal sure, which the runs lack; they have none"
    ):
        replay(policies[0], replace(runs, signals={}))


def test_figures_of_the_strong_tier_are_its_own_measure(runs: Runs) -> None:
    found = figures(runs, single(runs, "large"), "large")
    assert found["relative_cost"] == found["quality_vs_strong"] == 1.0
    assert found["wins"] == found["losses"] == 0
    assert found["intervals"]["quality_vs_strong"] == [1.0, 1.0]
    assert found["by_tier"]["large"]["asked"] == pytest.approx(1.0)
    assert found["by_tier"]["large"]["answered"] == pytest.approx(1.0)
    assert found["escalation_rate"] == 0.0
    assert found["latency_s"]["p50"] == pytest.approx(0.4)
    assert set(found["by_slice"]) == {"x", "y"}
    assert found["mixture_accuracy"] == pytest.approx(found["accuracy"])


def test_weights_count(runs: Runs) -> None:
    right = runs.correct[:, 0] == 1
    weighted = replace(runs, weights=np.where(right, 1.0, 0.0))
    found = figures(weighted, single(weighted, "small"), "large")
    assert found["accuracy"] == pytest.approx(1.0)
