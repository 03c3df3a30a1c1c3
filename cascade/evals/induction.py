"""Backward induction: the expected gain of asking each further tier, state by state.

States are the tiers asked so far, in the order of the ladder, rungs skipped or not. The longest
come first. For every tier that may be asked next, what the call came to from there (right or
wrong, less what the decisions there went on to spend) is compared with the answer at hand, and
that gain is regressed on the probabilities of the answers at hand: regression of the realised
value of the policy so far, as in Longstaff and Schwartz (Valuing American Options by Simulation,
2001). Predictions that decide are always out of fold, so that a state's value is not flattered by
its own fit. All prices are done at once: only the right-hand sides of the regressions differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from cascade.evals.answers import Answered, State
from cascade.evals.replay import basis_matrix, groups
from cascade.evals.runs import Floats, Ints, Runs
from cascade.policy import HINGES, NextTier, Policy, StateModel

__all__ = ["Fitted", "StateFit", "first_worths", "induced", "own_slices"]

START_PRIOR: Final = 20.0
"""Queries' worth of the pooled value that a slice's choice of the first tier is held back by."""
_SLICE_RIDGE: Final = 3.0


@dataclass(slots=True)
class StateFit:
    """A state's models for every price.

    Attributes:
        model: features and probabilities; nothing that follows.
        top: the probability of the answer that would be returned, out of fold.
        now: how right that answer is.
        value: query x price: how right the call ends, less what it still spends, priced.
        gains: by next tier and slice, term x price.
        costs: by next tier, the line of its expected cost.
    """

    model: StateModel
    top: Floats
    now: Floats
    value: Floats
    gains: dict[str, dict[str, Floats]] = field(default_factory=dict[str, dict[str, Floats]])
    costs: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])


@dataclass(frozen=True, slots=True)
class Fitted:
    """Routing policies for a whole range of prices.

    Attributes:
        answered: the probabilities that they go by.
        prices: in probability per USD.
        states: the longest first.
        starts: the first tier by slice and price.
    """

    answered: Answered
    prices: Floats
    states: Mapping[State, StateFit]
    starts: Mapping[str, Sequence[str]]

    def policy(self, price: int, *, from_everywhere: bool = False) -> Policy:
        """The policy of the price with this index.

        Args:
            from_everywhere: with the states of every first tier, not only of those it begins with.
        """
        start = {name: tiers[price] for name, tiers in self.starts.items()}
        reached = [
            state
            for state in reversed(list(self.states))
            if from_everywhere or state[0] in start.values()
        ]
        states = {">".join(s): self._state(s, price) for s in reached}
        return self.answered.policy(float(self.prices[price]), start, states)

    def _state(self, state: State, price: int) -> StateModel:
        fit = self.states[state]
        return StateModel(
            fit.model.features,
            fit.model.answers,
            {
                tier: NextTier({k: w[:, price].tolist() for k, w in gain.items()}, fit.costs[tier])
                for tier, gain in fit.gains.items()
            },
        )


def induced(answered: Answered, prices: Floats, *, last_only: bool = False) -> Fitted:
    """Policies for all prices.

    Args:
        answered: the probabilities in each state.
        prices: in probability per USD.
        last_only: return the answer of the tier that was asked last, whatever the others said.
    """
    induction = _Induction(answered, prices, last_only=last_only)
    states: dict[State, StateFit] = {}
    for state in answered.states:
        states[state] = induction.fit(state, states)
    return Fitted(answered, prices, states, induction.starts(states))


class _Induction:
    def __init__(self, answered: Answered, prices: Floats, *, last_only: bool) -> None:
        self.answered, self.runs, self.prices = answered, answered.runs, prices
        self.last_only = last_only
        self.own_slices = own_slices(self.runs)

    def fit(self, state: State, later: Mapping[State, StateFit]) -> StateFit:
        """The state's value, from those of the states after it."""
        found = self.answered.states[state]
        kept = state[-1:] if self.last_only else state
        p = found.probabilities[:, len(state) - len(kept) :]
        best = p.shape[1] - 1 - np.argmax(p[:, ::-1], axis=1)
        columns = np.array([self.runs.column(tier) for tier in kept])
        rows = np.arange(len(self.runs))
        now: Floats = self.runs.correct[rows, columns[best]]
        model = StateModel(found.features, {tier: found.models[tier] for tier in kept}, {})
        value = np.repeat(now[:, None], len(self.prices), axis=1)
        fit = StateFit(model, p[rows, best], now, value)
        self._go_on(state, fit, basis_matrix(p, best), later)
        return fit

    def _go_on(
        self, state: State, fit: StateFit, terms: Floats, later: Mapping[State, StateFit]
    ) -> None:
        """Fit the gain of each further tier, and set the state's value by the decisions."""
        highest = np.zeros_like(fit.value)
        last = self.runs.cost_usd[:, self.runs.column(state[-1])]
        tiers = self.answered.tiers
        for tier in tiers[tiers.index(state[-1]) + 1 :]:
            after = later.get((*state, tier))
            if after is None:
                continue
            asking = self.runs.cost_usd[:, self.runs.column(tier)]
            gain, out_of_fold = self._gain(terms, after.value - fit.now[:, None])
            cost = _line(last, asking, self.runs.weights)
            expected = np.maximum(cost[0] + cost[1] * last, 0.0)
            worth = out_of_fold - self.prices[None, :] * expected[:, None]
            better = worth > highest
            highest = np.where(better, worth, highest)
            realised = after.value - self.prices[None, :] * asking[:, None]
            fit.value = np.where(better, realised, fit.value)
            fit.gains[tier], fit.costs[tier] = gain, cost

    def _gain(self, terms: Floats, target: Floats) -> tuple[dict[str, Floats], Floats]:
        """Ridge regression of the gain on the terms: weights by slice, predictions out of fold."""
        folds = self.answered.folds
        x, ridge = self._by_slice(terms)
        weighted = x * self.runs.weights[:, None]
        parts = [np.flatnonzero(folds == fold) for fold in range(int(folds.max()) + 1)]
        squares = [weighted[rows].T @ x[rows] for rows in parts]
        products = [weighted[rows].T @ target[rows] for rows in parts]
        square, product = np.sum(squares, axis=0), np.sum(products, axis=0)
        out: Floats = np.zeros_like(target)
        for rows, held, told in zip(parts, squares, products, strict=True):
            out[rows] = x[rows] @ _solved(square - held, product - told, ridge)
        found = _solved(square, product, ridge)
        width = terms.shape[1]
        by_slice = {"": found[:width]}
        for i, name in enumerate(self.own_slices):
            own = found[:width].copy()
            own[:2] += found[width + 2 * i : width + 2 * i + 2]
            by_slice[name] = own
        return by_slice, out

    def _by_slice(self, terms: Floats) -> tuple[Floats, Floats]:
        """The terms, and for each slice its own constant and slope on the best probability."""
        curved = 2 + len(HINGES)
        ridge = [1e-6] + [1.0] * curved + [2.0] * (terms.shape[1] - 1 - curved)
        columns = [terms]
        for rows in self.own_slices.values():
            own = np.zeros((len(terms), 2))
            own[rows] = terms[rows, :2]
            columns.append(own)
            ridge += [_SLICE_RIDGE] * 2
        return np.concatenate(columns, axis=1), np.array(ridge)

    def starts(self, states: Mapping[State, StateFit]) -> dict[str, list[str]]:
        """The first tier by slice and price: the one of the highest value less its cost."""
        worths = first_worths(self.answered, self.prices, states)
        w = self.runs.weights
        pooled = {tier: w @ worth / w.sum() for tier, worth in worths.items()}
        starts = {"": _argmax(pooled)}
        for name, rows in self.own_slices.items():
            held = w[rows].sum() + START_PRIOR
            starts[name] = _argmax(
                {
                    tier: (w[rows] @ worth[rows] + START_PRIOR * pooled[tier]) / held
                    for tier, worth in worths.items()
                }
            )
        return starts


def first_worths(
    answered: Answered, prices: Floats, states: Mapping[State, StateFit]
) -> dict[str, Floats]:
    """What beginning with each tier came to: query x price, its own cost taken off."""
    runs = answered.runs
    return {
        tier: states[(tier,)].value - prices[None, :] * runs.cost_usd[:, [runs.column(tier)]]
        for tier in answered.tiers
    }


def own_slices(runs: Runs, at_least: int = 30) -> dict[str, Ints]:
    """The slices with queries enough for weights of their own. Empty: there is but one slice."""
    slices = groups(runs.slices)
    large = {name: rows for name, rows in slices.items() if len(rows) >= at_least}
    return large if len(slices) > 1 else {}


def _argmax(values: Mapping[str, Floats]) -> list[str]:
    tiers = list(values)
    return [tiers[i] for i in np.argmax(np.stack(list(values.values())), axis=0)]


def _solved(square: Floats, product: Floats, ridge: Floats) -> Floats:
    found = np.linalg.solve(square + np.diag(ridge), product)
    return np.asarray(found, np.float64)


def _line(x: Floats, y: Floats, weights: Floats) -> tuple[float, float]:
    """a and b of the least-squares line y = a + b x, the slope never below 0."""
    mean_x, mean_y = np.average(x, weights=weights), np.average(y, weights=weights)
    spread = float(weights @ (x - mean_x) ** 2)
    joint = float(weights @ ((x - mean_x) * (y - mean_y)))
    slope = max(joint / spread, 0.0) if spread > 1e-12 * float(mean_x**2) * len(x) else 0.0
    return float(mean_y - slope * mean_x), slope
