"""Confidence sequences cover at all times at once; the alarm is silent until there is a drift."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.evals.statistics import ConfidenceSequence, DriftAlarm


def ever_wrong(sequence: ConfidenceSequence, labels: list[float], mean: float) -> bool:
    for label in labels:
        sequence.add(label)
        low, high = sequence.interval
        if not low <= mean <= high:
            return True
    return False


@pytest.mark.parametrize("mean", [0.02, 0.5, 0.9])
def test_the_interval_is_hardly_ever_wrong_at_any_time(mean: float) -> None:
    rng, runs = np.random.default_rng(21), 150
    wrong = 0
    for _ in range(runs):
        labels = (rng.random(300) < mean).astype(float).tolist()
        wrong += ever_wrong(ConfidenceSequence(0.2, resolution=100), labels, mean)
    assert wrong / runs <= 0.2 + 4 * np.sqrt(0.16 / runs)


def test_weights_undo_that_doubtful_answers_are_asked_for_more_often() -> None:
    """Half of the queries are doubtful: right 60 % of the time, and asked for eight times as often.

    The mean over all queries is 0.78; over the labels it would be 0.636.
    """
    rng, runs = np.random.default_rng(22), 120
    wrong, estimates, plain = 0, [], []
    for _ in range(runs):
        sequence = ConfidenceSequence(0.2, least_probability=0.05, resolution=100)
        labels = []
        for _ in range(1200):
            doubtful = rng.random() < 0.5
            probability = 0.4 if doubtful else 0.05
            if rng.random() < probability:
                labels.append(float(rng.random() < (0.6 if doubtful else 0.96)))
                sequence.add(labels[-1], probability)
        low, high = sequence.interval
        wrong += not low <= 0.78 <= high
        assert sequence.estimate is not None
        estimates.append(sequence.estimate)
        plain.append(np.mean(labels))
    assert wrong / runs <= 0.2 + 4 * np.sqrt(0.16 / runs)
    assert np.mean(estimates) == pytest.approx(0.78, abs=0.02)
    assert np.mean(plain) < 0.68


def test_one_probability_for_all_is_as_good_as_none() -> None:
    plain, asked = ConfidenceSequence(0.1), ConfidenceSequence(0.1, least_probability=0.05)
    for label in (np.random.default_rng(23).random(100) < 0.8).tolist():
        plain.add(label)
        asked.add(label, 0.05)
    assert asked.interval == plain.interval
    assert asked.estimate == pytest.approx(plain.estimate)


def test_the_interval_narrows_at_the_usual_rate() -> None:
    labels = (np.random.default_rng(28).random(4000) < 0.95).tolist()
    sequence = ConfidenceSequence(0.1)
    for label in labels:
        sequence.add(label)
    low, high = sequence.interval
    # Wald's interval of this sample is 0.011 wide; looking at all times costs about twice that.
    assert 0.005 < high - low < 0.035
    assert low < 0.95 < high


@given(st.lists(st.floats(-1, 1), max_size=60))
def test_the_interval_never_widens(labels: list[float]) -> None:
    sequence = ConfidenceSequence(0.3, low=-1, high=1, resolution=50)
    low, high = sequence.interval
    assert (low, high) == (-1, 1)
    for label in labels:
        sequence.add(label)
        assert low <= sequence.interval[0]
        assert sequence.interval[1] <= high
        low, high = sequence.interval
    expected = pytest.approx(np.mean(labels), abs=1e-9) if labels else None
    assert sequence.estimate == expected
    assert sequence.count == len(labels)


def test_a_mean_that_moved_crosses_the_ends() -> None:
    sequence = ConfidenceSequence(0.1, resolution=100)
    for label in [1.0] * 400 + [0.0] * 4000:
        sequence.add(label)
    low, high = sequence.interval
    assert low > high


def rung_after(alarm: DriftAlarm, labels: list[float]) -> int | None:
    return next((i for i, label in enumerate(labels) if alarm.add(label)), None)


@pytest.mark.parametrize("limit", [0.02, 0.3])
def test_no_alarm_on_the_limit(limit: float) -> None:
    rng, runs = np.random.default_rng(25), 150
    rung = sum(
        rung_after(DriftAlarm(limit, 0.2), (rng.random(1000) < limit).astype(float).tolist())
        is not None
        for _ in range(runs)
    )
    assert rung / runs <= 0.2 + 4 * np.sqrt(0.16 / runs)


def test_no_alarm_on_the_limit_with_weights_that_go_with_the_values() -> None:
    rng, runs = np.random.default_rng(26), 120
    rung = 0
    for _ in range(runs):
        alarm = DriftAlarm(0.22, 0.2, least_probability=0.05)
        for _ in range(1500):
            doubtful = rng.random() < 0.5
            probability = 0.4 if doubtful else 0.05
            if rng.random() < probability:
                alarm.add(float(rng.random() < (0.4 if doubtful else 0.04)), probability)
        rung += alarm.rang
    assert rung / runs <= 0.2 + 4 * np.sqrt(0.16 / runs)


@pytest.mark.parametrize("before", [0, 200, 2000])
def test_a_drift_rings_soon_whenever_it_begins(before: int) -> None:
    rng = np.random.default_rng(27)
    delays = []
    for _ in range(40):
        alarm = DriftAlarm(0.05, 0.05)
        calm = (rng.random(before) < 0.02).astype(float).tolist()
        assert rung_after(alarm, calm) is None
        delay = rung_after(alarm, (rng.random(1000) < 0.25).astype(float).tolist())
        assert delay is not None
        delays.append(delay)
    assert np.median(delays) < 120


def test_an_alarm_that_rang_stays_on() -> None:
    alarm = DriftAlarm(0.1, 0.05, low=-1, high=1)
    assert alarm.evidence == 1
    assert rung_after(alarm, [1.0] * 200) is not None
    assert alarm.add(-1.0)
    assert alarm.rang


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConfidenceSequence(low=1, high=1), "must have a range"),
        (lambda: ConfidenceSequence(least_probability=0), "least probability"),
        (lambda: ConfidenceSequence(alpha=0), "alpha must lie"),
        (lambda: ConfidenceSequence().add(1.5), "values lie in 0..1"),
        (lambda: ConfidenceSequence(least_probability=0.1).add(1, 0.05), "not between the least"),
        (lambda: DriftAlarm(0), "the limit must lie"),
    ],
)
def test_what_makes_no_sense_is_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()
