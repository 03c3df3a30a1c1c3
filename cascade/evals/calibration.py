"""From signals to the probability that an answer is right.

Logistic regression with a ridge, by slice where a slice has labels enough: a slice's weights are
the pooled ones plus a deviation that is held back the more, the fewer its labels are. Candidates of
different features and ridges, each single signal among them, count in proportion to their
likelihood in cross-validation; with labels enough an isotonic curve may correct what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cascade.evals.runs import Floats, Ints
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
    """The coefficients that maximise the likelihood less half of `ridge` times their squares.

    Newton's method, for several weightings of the same queries at once.

    Args:
        x: a row a query, with its column of ones already.
        y: how right, 0 to 1.
        weights: of each query, a row a weighting. The first serves the others as the start, so
            they are found fastest where they differ little from it.
        ridge: of each column.
        offset: added to the log-odds; a row a weighting where they differ.

    Returns:
        A row of coefficients a weighting.
    """
    start = np.zeros((1, x.shape[1]))
    first = offset[:1] if isinstance(offset, np.ndarray) else offset
    found = _newton(x, y, weights[:1], ridge, first, start)
    if len(weights) == 1:
        return found
    return _newton(x, y, weights, ridge, offset, np.repeat(found, len(weights), axis=0))


def _newton(
    x: Floats, y: Floats, weights: Floats, ridge: Floats, offset: Floats | float, start: Floats
) -> Floats:
    found = start
    for _ in range(_NEWTON_STEPS):
        p = sigmoid(found @ x.T + offset)
        curvature = weights * np.maximum(p * (1 - p), 1e-5)
        slope = (weights * (y - p)) @ x - ridge * found
        hessian = x.T @ (curvature[:, :, None] * x) + np.diag(ridge)
        step: Floats = np.asarray(np.linalg.solve(hessian, slope[:, :, None])[:, :, 0], np.float64)
        found = found + np.clip(step, -4.0, 4.0)
        if np.abs(step).max() < 1e-3:  # the next would be of the order of its square
            break
    return found


def fit_weights(data: Labelled, candidate: Candidate, kept: Floats) -> dict[str, Floats]:
    """Coefficients pooled under "", and of each slice with labels enough; the constant first.

    Args:
        data: the tuning queries.
        candidate: how to fit.
        kept: 1 where a fit learns from a query, else 0; a row a fit, the first with all.

    Returns:
        By slice, a row of coefficients a fit.
    """
    chosen = list(candidate.columns)
    x = _with_ones(data.x[:, chosen])
    weights = kept * data.weights
    ridge = np.array([1e-3] + [candidate.ridge] * len(chosen))
    pooled = logistic(x, data.y, weights, ridge)
    fitted = {"": pooled}
    held = np.array([_SLICE_RIDGE[0]] + [_SLICE_RIDGE[1]] * len(chosen))
    for name, rows in data.slices.items():
        if len(rows) >= MIN_SLICE and len(data.slices) > 1:
            own = x[rows]
            fitted[name] = pooled + logistic(
                own, data.y[rows], weights[:, rows], held, pooled @ own.T
            )
    width = data.x.shape[1] + 1
    return {name: _spread_out(w, chosen, width) for name, w in fitted.items()}


def _spread_out(weights: Floats, columns: Sequence[int], width: int) -> Floats:
    """Weights for every column; 0 for those that were not used."""
    full: Floats = np.zeros((len(weights), width))
    full[:, [0, *(c + 1 for c in columns)]] = weights
    return full


def predict(weights: Mapping[str, Floats], x: Floats, slices: Mapping[str, Ints]) -> Floats:
    """Probabilities of each fit, before any curve; a row a fit."""
    odds = weights[""] @ _with_ones(x).T
    for name, rows in slices.items():
        if name in weights:
            odds[:, rows] = weights[name] @ _with_ones(x[rows]).T
    return sigmoid(odds)


def _with_ones(x: Floats) -> Floats:
    return np.column_stack([np.ones(len(x)), x])


def fit_answer(data: Labelled, folds: Ints, candidates: Sequence[Candidate]) -> Fold:
    """The mean of the candidates' models, each as likely as its out-of-fold predictions were.

    Where one is plainly the best, it is all but that one; where several are as good, their mean
    depends less on chance than any of them.

    Args:
        data: the tuning queries.
        folds: the fold of each.
        candidates: one at least.
    """
    kept = np.ones((int(folds.max()) + 2, len(folds)))
    kept[folds + 1, np.arange(len(folds))] = 0.0
    fits = [fit_weights(data, candidate, kept) for candidate in candidates]
    shares = _shares(
        [log_loss(_held_out(fit, data, folds), data.y, data.weights) for fit in fits], data
    )
    weights = {name: np.tensordot(shares, [fit[name] for fit in fits], 1) for name in fits[0]}
    out_of_fold = _held_out(weights, data, folds)
    curve: list[list[float]] = []
    if len(data.y) >= ISOTONIC_FROM:
        curve, out_of_fold = _corrected(out_of_fold, data, folds)
    return Fold(
        AnswerModel({name: w[0].tolist() for name, w in weights.items()}, curve), out_of_fold
    )


def _held_out(fits: Mapping[str, Floats], data: Labelled, folds: Ints) -> Floats:
    """For each query the probability by the fit that did not learn from it."""
    found: Floats = predict(fits, data.x, data.slices)[folds + 1, np.arange(len(folds))]
    return found


def _shares(losses: Sequence[float], data: Labelled) -> Floats:
    """Each candidate's share of the mean, in proportion to its likelihood out of fold."""
    behind = (np.array(losses) - min(losses)) * len(data.y)
    shares: Floats = np.exp(-behind)
    shares /= shares.sum()
    return shares


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
