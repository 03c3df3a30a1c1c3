"""How likely each answer is right, in every state: after the tiers of that state were asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, TypeAlias

import numpy as np

from cascade.evals.calibration import Candidate, Labelled, fit_answer
from cascade.evals.features import features_of, matrix, scales_of
from cascade.evals.replay import groups
from cascade.evals.runs import Floats, Ints, Runs
from cascade.policy import AnswerModel, Feature, Policy, Scale, StateModel

__all__ = ["Answered", "State", "StateAnswers", "fit_answers", "folds_of"]

State: TypeAlias = tuple[str, ...]
_MANY: Final = 20_000
"""Queries from which one way to calibrate is as good as the other, and time counts."""
_RIDGES: Final = (3.0, 30.0)
"""How strongly weights are held back: where few features tell much, and where many may not."""


@dataclass(frozen=True, slots=True)
class StateAnswers:
    """One state: its features, and the probabilities of the answers at hand.

    Attributes:
        probabilities: out of fold; a column a tier of the state.
    """

    features: Sequence[Feature]
    models: Mapping[str, AnswerModel]
    probabilities: Floats


@dataclass(frozen=True, slots=True)
class Answered:
    """Every state of a ladder.

    Attributes:
        runs: the tuning queries.
        tiers: cheapest first.
        strong: what quality and cost are measured against.
        folds: the fold of each query.
        states: the longest first.
    """

    runs: Runs
    tiers: tuple[str, ...]
    strong: str
    folds: Ints
    scales: Mapping[str, Scale]
    states: Mapping[State, StateAnswers]

    def policy(
        self, price: float, start: Mapping[str, str], states: Mapping[str, StateModel]
    ) -> Policy:
        """A policy of these tiers and signals."""
        mean_cost = np.average(self.runs.cost_usd, axis=0, weights=self.runs.weights)
        used = [tier for tier in self.tiers if any(tier in name.split(">") for name in states)]
        return Policy(
            tiers=self.tiers,
            strong=self.strong,
            signals=self.scales,
            slice_by=self.runs.slice_by,
            price=price,
            start=start,
            mean_cost_usd={tier: float(mean_cost[self.runs.column(tier)]) for tier in used},
            states=states,
        )


def folds_of(runs: Runs, count: int, seed: int) -> Ints:
    """A fold for each query, clusters kept together."""
    units = np.arange(len(runs)) if runs.clusters is None else runs.clusters
    _, unit = np.unique(units, return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(int(unit.max()) + 1)
    folds: Ints = shuffled[unit] % count
    return folds


def fit_answers(
    runs: Runs, tiers: Sequence[str], strong: str, max_asks: int, folds: Ints
) -> Answered:
    """Fit the probabilities of every state.

    Args:
        runs: the tuning queries.
        tiers: cheapest first.
        strong: what quality and cost are measured against.
        max_asks: how many tiers one query may ask.
        folds: the fold of each query.
    """
    scales = scales_of(runs)
    slices = groups(runs.slices)
    states: dict[State, StateAnswers] = {}
    for size in range(min(max_asks, len(tiers)), 0, -1):
        for state in combinations(tiers, size):
            states[state] = _fitted(runs, state, scales, slices, folds)
    return Answered(runs, tuple(tiers), strong, folds, scales, states)


def _fitted(
    runs: Runs,
    state: State,
    scales: Mapping[str, Scale],
    slices: Mapping[str, Ints],
    folds: Ints,
) -> StateAnswers:
    features = features_of(runs, state, scales)
    x = matrix(runs, features, scales)
    candidates = candidates_of(features, state[-1], len(runs))
    models: dict[str, AnswerModel] = {}
    columns: list[Floats] = []
    for tier in state:
        column = runs.column(tier)
        data = Labelled(x, runs.correct[:, column], runs.weights, slices)
        fit = fit_answer(data, folds, candidates)
        models[tier] = fit.model
        failed = runs.schema_ok[:, column] == 0
        columns.append(np.where(failed, 0.0, fit.out_of_fold))
    return StateAnswers(features, models, np.stack(columns, axis=1))


def candidates_of(features: Sequence[Feature], last: str, queries: int) -> list[Candidate]:
    """The ways to calibrate that cross-validation weighs: combinations, and single signals."""
    many = queries > _MANY
    found: list[Candidate] = []
    for left_out in ((), ("is", "probability"))[: 1 if many else None]:
        columns = tuple(i for i, feature in enumerate(features) if feature.form not in left_out)
        found += [Candidate(columns, ridge) for ridge in _RIDGES[: 1 if many else None]]
    if not many:
        for i, feature in enumerate(features):
            if feature.tier == last and feature.form in ("logit", "number"):
                found.append(Candidate((i,), 1.0))
    return list(dict.fromkeys(found))
