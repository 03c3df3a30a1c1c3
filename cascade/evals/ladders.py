"""Plain ladders: for each price the best ladder, with the exactly best thresholds of each slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from cascade.evals.answers import State
from cascade.evals.induction import Fitted, own_slices
from cascade.evals.runs import Floats, Ints, Runs
from cascade.evals.thresholds import Grid, Rung, best_of, threshold_grid
from cascade.policy import HINGES, NextTier, Policy, StateModel

__all__ = ["Ladders", "fit_ladders"]

LOWEST: Final = -1.0
"""The threshold that stands for "always accept"."""
HIGHEST: Final = 2.0
"""The threshold that stands for "never accept"."""
MIN_SLICE: Final = 200
"""Queries below which a slice has the pooled thresholds."""
_REST: Final = "\0"  # no slice's name


@dataclass(frozen=True, slots=True)
class Ladders:
    """Plain ladders for a whole range of prices.

    Attributes:
        fitted: whose probabilities they compare with their thresholds.
        chosen: for each price the ladder, and for each slice a threshold a rung but the last.
    """

    fitted: Fitted
    chosen: Sequence[tuple[State, dict[str, list[float]]]]

    def policy(self, price: int) -> Policy:
        """The policy of the price with this index."""
        ladder, thresholds = self.chosen[price]
        states = {
            ">".join(ladder[: i + 1]): self._state(ladder, i, thresholds)
            for i in range(len(ladder))
        }
        answered = self.fitted.answered
        return answered.policy(float(self.fitted.prices[price]), {"": ladder[0]}, states)

    def _state(self, ladder: State, rung: int, thresholds: dict[str, list[float]]) -> StateModel:
        model = self.fitted.states[ladder[: rung + 1]].model
        if rung == len(ladder) - 1:
            return model
        # What is gained by going on: the threshold less the probability at hand.
        known = len(model.answers)
        rest = [0.0] * (1 + len(HINGES) + (known if known > 1 else 0))
        gain = {
            name: [min(max(t[rung], LOWEST), HIGHEST), -1.0, *rest]
            for name, t in thresholds.items()
        }
        return replace(model, next={ladder[rung + 1]: NextTier(gain, (0.0, 0.0))})


def fit_ladders(fitted: Fitted) -> Ladders:
    """Search all ladders of these tiers, rungs skipped or not."""
    runs = fitted.answered.runs
    slices = own_slices(runs, MIN_SLICE)
    everyone = np.arange(len(runs))
    rest = np.setdiff1d(everyone, np.concatenate([everyone[:0], *slices.values()]))
    parts = {name: rows for name, rows in {**slices, _REST: rest}.items() if len(rows)}
    pooled = {state: _grid(runs, fitted, state, everyone) for state in fitted.states}
    grids = {
        state: {name: _grid(runs, fitted, state, rows) for name, rows in parts.items()}
        for state in fitted.states
    }
    chosen: list[tuple[State, dict[str, list[float]]]] = []
    for price in fitted.prices.tolist():
        worths = {
            state: sum(best_of(grid, price)[0] for grid in found.values())
            for state, found in grids.items()
        }
        best = max(worths, key=lambda state: (worths[state], -len(state)))
        thresholds = {"": best_of(pooled[best], price)[1]}
        for name in slices:
            thresholds[name] = best_of(grids[best][name], price)[1]
        chosen.append((best, thresholds))
    return Ladders(fitted, chosen)


def _grid(runs: Runs, fitted: Fitted, ladder: State, rows: Ints) -> Grid:
    rungs: list[Rung] = []
    for i, tier in enumerate(ladder):
        state = fitted.states[ladder[: i + 1]]
        cost: Floats = runs.cost_usd[:, runs.column(tier)]
        rungs.append(Rung(state.top[rows], state.now[rows], cost[rows]))
    return threshold_grid(rungs, runs.weights[rows])
