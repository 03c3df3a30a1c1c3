"""From signals to the probability that an answer is right.

Logistic regression with a ridge, by slice where a slice has labels enough: a slice's weights are
the pooled ones plus a deviation that is held back the more, the fewer its labels are. Which
features and how strong a ridge is chosen by cross-validation, the best single signal being one of
the candidates; with labels enough an isotonic curve may correct what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cascade.evals.runs import Bools, Floats, Ints
from cascade.policy import AnswerModel

__all__ = [
    "Candidate",
    "Fold",
    "Labelled",
    "calibration_error",
    "fit_answer",
    "isotonic",
    "log_loss",
    "logistic",
    "predict",
]

MIN_SLICE: Final = 30
"""Labels below which a slice has no weights of its own."""
ISOTONIC_FROM: Final = 1000
"""Labels from which an isotonic curve is tried."""
_CURVE_POINTS: Final = 24
_NEWTON_STEPS: Final = 12
_SLICE_RIDGE: Final = (2.0, 10.0)  # of the deviation's constant, and of its slopes


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to fit: which columns, and how strongly their weights are held back."""

    columns: tuple[int, ...]
    ridge: float


@dataclass(frozen=True, slots=True)
class Labelled:
    """Standardised features and labels of the tuning queries.

    Attributes:
        x: a row a query.
        y: how right, 0 to 1.
        weights: of each query.
        slices: each slice's rows.
    """

    x: Floats
    y: Floats
    weights: Floats
    slices: Mapping[str, Ints]

    def take(self, keep: Bools) -> Labelled:
        """The queries where `keep` is true."""
        place = np.cumsum(keep) - 1
        return Labelled(
            self.x[keep],
            self.y[keep],
            self.weights[keep],
            {name: place[rows[keep[rows]]] for name, rows in self.slices.items()},
        )


@dataclass(frozen=True, slots=True)
class Fold:
    """A model, and its predictions for queries that it was not fitted on."""

    model: AnswerModel
    out_of_fold: Floats


def sigmoid(odds: Floats) -> Floats:
    """Log-odds to probabilities, with both tails finite."""
    raised = np.exp(-np.minimum(np.abs(odds), 35.0))
    p: Floats = np.where(odds >= 0, 1.0, raised) / (1 + raised)
    return p


def logistic(
    x: Floats, y: Floats, weights: Floats, ridge: Floats, offset: Floats | float = 0.0
) -> Floats:
    """The weights that maximise the likelihood less half of `ridge` times their squares.

    Newton's method. `x` has its column of ones already; `offset` is added to the log-odds.
    """
    found = np.zeros(x.shape[1], np.float64)
    for _ in range(_NEWTON_STEPS):
        p = sigmoid(x @ found + offset)
        curvature = weights * np.maximum(p * (1 - p), 1e-5)
        slope = x.T @ (weights * (y - p)) - ridge * found
        hessian = (x * curvature[:, None]).T @ x + np.diag(ridge)
        step: Floats = np.asarray(np.linalg.solve(hessian, slope), np.float64)
        found += np.clip(step, -4.0, 4.0)
        if np.abs(step).max() < 1e-6:
            break
    return found


def fit_weights(data: Labelled, candidate: Candidate) -> dict[str, Floats]:
    """Pooled weights under "", and those of each slice with labels enough. Constant first."""
    chosen = list(candidate.columns)
    x = np.column_stack([np.ones(len(data.x)), data.x[:, chosen]])
    ridge = np.array([1e-3] + [candidate.ridge] * len(chosen))
    pooled = logistic(x, data.y, data.weights, ridge)
    fitted = {"": pooled}
    held = np.array([_SLICE_RIDGE[0]] + [_SLICE_RIDGE[1]] * len(chosen))
    for name, rows in data.slices.items():
        if len(rows) >= MIN_SLICE and len(data.slices) > 1:
            own = x[rows]
            deviation = logistic(own, data.y[rows], data.weights[rows], held, own @ pooled)
            fitted[name] = pooled + deviation
    width = data.x.shape[1] + 1
    return {name: _spread_out(w, chosen, width) for name, w in fitted.items()}


def _spread_out(weights: Floats, columns: Sequence[int], width: int) -> Floats:
    """Weights for every column; 0 for those that were not used."""
    full: Floats = np.zeros(width)
    full[0] = weights[0]
    full[[c + 1 for c in columns]] = weights[1:]
    return full


def predict(weights: Mapping[str, Floats], x: Floats, slices: Mapping[str, Ints]) -> Floats:
    """Probabilities, before any curve."""
    odds = weights[""][0] + x @ weights[""][1:]
    for name, rows in slices.items():
        if name in weights:
            odds[rows] = weights[name][0] + x[rows] @ weights[name][1:]
    return sigmoid(odds)


def fit_answer(data: Labelled, folds: Ints, candidates: Sequence[Candidate]) -> Fold:
    """The model of the candidate with the least out-of-fold log loss.

    Args:
        data: the tuning queries.
        folds: the fold of each.
        candidates: one at least.
    """
    tried = [(_out_of_fold(data, folds, candidate), candidate) for candidate in candidates]
    losses = [log_loss(p, data.y, data.weights) for p, _ in tried]
    out_of_fold, best = tried[losses.index(min(losses))]
    weights = fit_weights(data, best)
    curve: list[list[float]] = []
    if len(data.y) >= ISOTONIC_FROM:
        curve, out_of_fold = _corrected(out_of_fold, data, folds)
    return Fold(AnswerModel({k: w.tolist() for k, w in weights.items()}, curve), out_of_fold)


def _out_of_fold(data: Labelled, folds: Ints, candidate: Candidate) -> Floats:
    out: Floats = np.zeros(len(data.y))
    for fold in range(int(folds.max()) + 1):
        held = folds == fold
        weights = fit_weights(data.take(~held), candidate)
        test = data.take(held)
        out[held] = predict(weights, test.x, test.slices)
    return out


def _corrected(p: Floats, data: Labelled, folds: Ints) -> tuple[list[list[float]], Floats]:
    """An isotonic curve and the predictions through it, if it helps out of fold; else neither."""
    out: Floats = np.zeros(len(p))
    for fold in range(int(folds.max()) + 1):
        held = folds == fold
        curve = np.array(isotonic(p[~held], data.y[~held], data.weights[~held]))
        out[held] = np.interp(p[held], curve[:, 0], curve[:, 1])
    if log_loss(out, data.y, data.weights) >= log_loss(p, data.y, data.weights) - 1e-4:
        return [], p
    return isotonic(p, data.y, data.weights), out


def isotonic(p: Floats, y: Floats, weights: Floats) -> list[list[float]]:
    """Rising points [p, probability] of the isotonic regression, thinned to a few.

    The pool-adjacent-violators algorithm over quantile bins of `p`, so that no point rests on a
    handful of queries (Zadrozny and Elkan, Transforming Classifier Scores into Accurate
    Multiclass Probability Estimates, 2002).
    """
    ranked = np.argsort(p, kind="stable")
    blocks: list[tuple[float, float, float]] = []  # weight, weighted p, weighted y
    for part in np.array_split(ranked, min(_CURVE_POINTS, len(ranked))):
        w = weights[part]
        block = (float(w.sum()), float(w @ p[part]), float(w @ y[part]))
        while blocks and blocks[-1][2] / blocks[-1][0] >= block[2] / block[0]:
            before = blocks.pop()
            block = (before[0] + block[0], before[1] + block[1], before[2] + block[2])
        blocks.append(block)
    points: list[list[float]] = []
    for total, px, py in blocks:
        x = px / total
        if not points or x > points[-1][0]:
            points.append([x, (py + 0.5) / (total + 1)])  # never quite 0 or 1
    rising = np.maximum.accumulate([point[1] for point in points])
    return [[point[0], float(y)] for point, y in zip(points, rising, strict=True)]


def log_loss(p: Floats, y: Floats, weights: Floats) -> float:
    """Mean negative log-likelihood, in nats."""
    held = np.clip(p, 1e-6, 1 - 1e-6)
    losses = -(y * np.log(held) + (1 - y) * np.log(1 - held))
    return float((weights * losses).sum() / weights.sum())


def calibration_error(p: Floats, y: Floats, weights: Floats, bins: int = 10) -> float:
    """Expected calibration error over bins that hold equally many queries, 0 to 1."""
    parts = np.array_split(np.argsort(p, kind="stable"), min(bins, len(p)))
    gaps = [abs(float(weights[i] @ (p[i] - y[i]))) for i in parts]
    return sum(gaps) / float(weights.sum())
