from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.evals.calibration import (
    Candidate,
    Labelled,
    calibration_error,
    fit_answer,
    isotonic,
    log_loss,
    logistic,
    predict,
)
from cascade.evals.runs import Floats


def made_up(n: int, seed: int = 0) -> tuple[Floats, Floats]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 2))
    p = 1 / (1 + np.exp(-(0.5 + 1.5 * x[:, 0])))
    return x, (random.random(n) < p).astype(float)


def test_logistic_finds_the_maximum_of_the_likelihood() -> None:
    x, y = made_up(500)
    x = np.column_stack([np.ones(500), x])
    ridge = np.array([0.0, 1.0, 1.0])
    found = logistic(x, y, np.ones((1, 500)), ridge)[0]
    p = 1 / (1 + np.exp(-x @ found))
    assert x.T @ (y - p) - ridge * found == pytest.approx(np.zeros(3), abs=1e-4)


def test_weights_are_repeated_rows() -> None:
    x, y = made_up(60)
    twice = np.concatenate([x, x[:20]])
    weights = np.where(np.arange(60) < 20, 2.0, 1.0)
    ridge = np.ones(2)
    repeated = logistic(twice, np.concatenate([y, y[:20]]), np.ones((1, 80)), ridge)
    assert logistic(x, y, weights[None], ridge) == pytest.approx(repeated, abs=1e-8)


def test_many_weightings_at_once_are_each_on_its_own() -> None:
    x, y = made_up(300)
    x = np.column_stack([np.ones(300), x])
    ridge = np.ones(3)
    kept = np.ones((4, 300))
    kept[np.arange(300) % 3 + 1, np.arange(300)] = 0.0
    offset = np.linspace(0, 1, 4)[:, None] * x[:, 1]
    together = logistic(x, y, kept, ridge, offset)
    for i in range(4):
        alone = logistic(x, y, kept[[i]], ridge, offset[[i]])
        assert together[[i]] == pytest.approx(alone, abs=1e-5)


def test_separable_labels_stay_finite() -> None:
    x = np.column_stack([np.ones(40), np.linspace(-1, 1, 40)])
    found = logistic(x, (x[:, 1] > 0).astype(float), np.ones((1, 40)), np.array([1e-3, 1.0]))
    assert np.isfinite(found).all()


def test_predictions_of_a_fit_are_honest_and_out_of_fold() -> None:
    x, y = made_up(2000)
    data = Labelled(x, y, np.ones(2000), {"": np.arange(2000)})
    folds = np.arange(2000) % 5
    fold = fit_answer(data, folds, [Candidate((0, 1), 1.0), Candidate((1,), 1.0)])
    assert calibration_error(fold.out_of_fold, y, data.weights) < 0.04
    assert fold.model.weights[""][1] == pytest.approx(1.5, abs=0.2)  # the noise was not preferred
    changed = y.copy()
    changed[folds == 0] = 1 - changed[folds == 0]
    other = fit_answer(
        Labelled(x, changed, data.weights, data.slices), folds, [Candidate((0,), 1.0)]
    )
    same = fit_answer(data, folds, [Candidate((0,), 1.0)])
    held = folds == 0
    raw = [np.array(f.model.curve).size == 0 for f in (other, same)]
    assert not all(raw) or other.out_of_fold[held] == pytest.approx(
        same.out_of_fold[held], abs=1e-5
    )


def test_ways_that_are_as_good_count_the_same() -> None:
    x, y = made_up(400)
    twins = np.column_stack([x[:, 0], x[:, 0]])
    data = Labelled(twins, y, np.ones(400), {"": np.arange(400)})
    folds = np.arange(400) % 5
    both = fit_answer(data, folds, [Candidate((0,), 1.0), Candidate((1,), 1.0)])
    constant, left, right = both.model.weights[""]
    assert left == pytest.approx(right)
    alone = fit_answer(data, folds, [Candidate((0,), 1.0)])
    assert [constant, left + right] == pytest.approx(alone.model.weights[""][:2])
    assert both.out_of_fold == pytest.approx(alone.out_of_fold)


def test_a_slice_has_its_own_level_only_with_labels_enough() -> None:
    random = np.random.default_rng(1)
    x = np.zeros((430, 1))
    y = (random.random(430) < np.where(np.arange(430) < 400, 0.8, 0.2)).astype(float)
    rows = {"many": np.arange(400), "few": np.arange(400, 430)}
    data = Labelled(x, y, np.ones(430), rows)
    model = fit_answer(data, np.arange(430) % 5, [Candidate((0,), 1.0)]).model
    p = predict({k: np.array([w]) for k, w in model.weights.items()}, x, rows)[0]
    assert p[0] == pytest.approx(0.8, abs=0.05)
    assert 0.15 < p[-1] < 0.5  # drawn towards the pooled level
    tiny = Labelled(x[:420], y[:420], np.ones(420), {"many": rows["many"], "few": rows["few"][:20]})
    own = fit_answer(tiny, np.arange(420) % 5, [Candidate((0,), 1.0)]).model
    assert set(own.weights) == {"", "many"}


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=2, max_size=200),
)
def test_an_isotonic_curve_rises_within_0_and_1(pairs: list[tuple[float, int]]) -> None:
    p, y = (np.array(column, float) for column in zip(*pairs, strict=True))
    curve = isotonic(p, y, np.ones(len(p)))
    xs, ys = zip(*curve, strict=True)
    assert list(xs) == sorted(set(xs))
    assert list(ys) == sorted(ys)
    assert 0 < ys[0] <= ys[-1] < 1


def test_isotonic_pools_what_falls() -> None:
    p = np.array([0.1, 0.2, 0.3, 0.4])
    curve = isotonic(p, np.array([0.0, 1.0, 0.0, 1.0]), np.ones(4))
    assert [x for x, _ in curve] == pytest.approx([0.1, 0.25, 0.4])
    assert [y for _, y in curve] == pytest.approx([0.25, 0.5, 0.75])


def test_measures_by_hand() -> None:
    p, y = np.array([0.5, 0.5, 0.9, 0.9]), np.array([1.0, 0.0, 1.0, 0.0])
    assert log_loss(p[:2], y[:2], np.ones(2)) == pytest.approx(np.log(2))
    assert calibration_error(p, y, np.ones(4), bins=2) == pytest.approx(0.2)
