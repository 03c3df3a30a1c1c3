"""Bounds that hold at all times at once, for labels that arrive one by one.

One may look after every label and stop when one likes: the chance that the interval is ever wrong
is at most alpha (Waudby-Smith and Ramdas 2024, hedged capital with predictable plug-in bets).

A label asked for with probability q counts with the weight 1/q, and a query that was not asked for
counts nothing. Then E[asked (x - m) / q] = 0 for the mean m over all queries, however q depends on
the query, so bets on the weighted gains of the asked ones are fair (inverse probability weighting;
Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro 2022). The bets are sized for the smallest q.
"""

from __future__ import annotations

import math

import numpy as np

from cascade.evals.statistics.arrays import Floats, share

_BOLDEST = 0.75  # the largest share of the capital that one label may lose


class _Labels:
    """Labels in low..high as values in 0..1, and their weights as a share of the heaviest."""

    def __init__(self, low: float, high: float, least_probability: float) -> None:
        if not low < high:
            raise ValueError(f"values must have a range, and low is {low:g}, high {high:g}")
        if not 0 < least_probability <= 1:
            raise ValueError(f"the least probability lies in 0..1, not at {least_probability:g}")
        self.low, self.high, self.least_probability = low, high, least_probability

    def value(self, value: float) -> float:
        if not self.low <= value <= self.high:
            raise ValueError(f"values lie in {self.low:g}..{self.high:g}, and one is {value:g}")
        return (value - self.low) / (self.high - self.low)

    def weight(self, probability: float | None) -> float:
        if probability is None:
            return 1.0
        if not self.least_probability <= probability <= 1:
            raise ValueError(
                f"a label was asked for with probability {probability:g}, which is not between the "
                f"least probability, {self.least_probability:g}, and 1"
            )
        return self.least_probability / probability

    def unscaled(self, value: float) -> float:
        return self.low + (self.high - self.low) * value


class ConfidenceSequence:
    """A running estimate of a mean with an anytime-valid interval.

    Args:
        alpha: the chance that the interval is ever wrong, in 0..1.
        low, high: the range of the values.
        least_probability: the smallest probability with which any label is asked for.
        resolution: into how many steps the range is cut; bounds are rounded outwards.

    Assumes that the mean does not change; `DriftAlarm` watches whether it does.
    """

    def __init__(
        self,
        alpha: float = 0.1,
        *,
        low: float = 0.0,
        high: float = 1.0,
        least_probability: float = 1.0,
        resolution: int = 1000,
    ) -> None:
        self.alpha = share(alpha, "alpha")
        self.count = 0  # of labels
        self._labels = _Labels(low, high, least_probability)
        self._means: Floats = np.arange(resolution + 1) / resolution
        self._log_above: Floats = np.zeros(resolution + 1)
        self._log_below: Floats = np.zeros(resolution + 1)
        self._lower, self._upper = 0, resolution  # the first and last mean not yet refuted
        self._weight = self._weighted = self._squares = 0.0

    def add(self, value: float, probability: float | None = None) -> None:
        """One label, and the probability with which it was asked for; None: the least one."""
        x, w = self._labels.value(value), self._labels.weight(probability)
        self.count += 1
        self._bet(x, w)
        self._weight += w
        self._weighted += w * x
        centre = (self._weighted + 0.5) / (self._weight + 1)
        self._squares += (w * (x - centre)) ** 2

    def _bet(self, x: float, w: float) -> None:
        """Bets for and against each candidate mean, sized before the label is looked at."""
        t, m = self.count, self._means
        variance = (0.25 + self._squares) / t
        size = math.sqrt(2 * math.log(2 / self.alpha) / (variance * t * math.log(t + 1)))
        gain = w * (x - m)
        above = np.minimum(size, _BOLDEST / np.maximum(m, 1e-12))
        below = np.minimum(size, _BOLDEST / np.maximum(1 - m, 1e-12))
        self._log_above += np.log1p(above * gain)
        self._log_below += np.log1p(-below * gain)
        bar = math.log(2 / self.alpha)
        while self._lower < m.size and self._log_above[self._lower] >= bar:
            self._lower += 1
        while self._upper >= 0 and self._log_below[self._upper] >= bar:
            self._upper -= 1

    @property
    def estimate(self) -> float | None:
        """The mean over all queries, from the weighted labels (Hajek); None before the first."""
        return self._labels.unscaled(self._weighted / self._weight) if self.count else None

    @property
    def interval(self) -> tuple[float, float]:
        """Where the mean lies at this and every other time, with 1 - alpha; it never widens.

        The ends cross if the mean changed so much that no single value fits all labels.
        """
        low = self._means[max(self._lower - 1, 0)]
        high = self._means[min(self._upper + 1, self._means.size - 1)]
        return self._labels.unscaled(float(low)), self._labels.unscaled(float(high))


class DriftAlarm:
    """Rings once the mean has risen above a limit, whenever that begins.

    The evidence is a mixture of bets started at every label k with weight 1/(k (k + 1)); while the
    mean stays at or below the limit it ever reaches 1/alpha with chance at most alpha, however
    long one watches (Ville's inequality; restarts as in Shin, Ramdas and Rinaldo, "E-detectors",
    2023). The bets are sized by an exponentially weighted mean of the latest labels.

    Args:
        limit: the highest mean that is still well, strictly inside low..high.
        alpha: the chance of ever ringing although all is well.
        low, high, least_probability: as in `ConfidenceSequence`.
        memory: how many labels count as the latest.
    """

    def __init__(
        self,
        limit: float,
        alpha: float = 0.05,
        *,
        low: float = 0.0,
        high: float = 1.0,
        least_probability: float = 1.0,
        memory: int = 50,
    ) -> None:
        self._labels = _Labels(low, high, least_probability)
        if not low < limit < high:
            raise ValueError(f"the limit must lie between {low:g} and {high:g}, not at {limit:g}")
        self.limit, self.alpha = limit, share(alpha, "alpha")
        self.count = 0  # of labels
        self.rang = False  # stays True once it rang
        self._m = self._labels.value(limit)
        self._started = 0.0  # the capital of the bets already started
        self._decay = 1 / memory
        self._rise = 0.0  # recent means: of the weighted gains, of their squares,
        self._square = self._m * (1 - self._m)
        self._weight_square = 1.0  # and of the squared weights

    def add(self, value: float, probability: float | None = None) -> bool:
        """One label (`ConfidenceSequence.add`); True if the alarm has rung, now or before."""
        weight = self._labels.weight(probability)
        gain = weight * (self._labels.value(value) - self._m)
        self.count += 1
        start = 1 / (self.count * (self.count + 1))
        self._started = (self._started + start) * (1 + self._bet() * gain)
        self.rang = self.rang or self.evidence >= 1 / self.alpha
        self._rise += self._decay * (gain - self._rise)
        self._square += self._decay * (gain * gain - self._square)
        self._weight_square += self._decay * (weight * weight - self._weight_square)
        return self.rang

    def _bet(self) -> float:
        """The growth-optimal share for the recent rise, and never less than for a small one.

        The variance that counts is that on the limit, which is at most m (1 - m) however far the
        mean has risen.
        """
        spread = self._m * (1 - self._m) * self._weight_square
        rise = max(self._rise, min(self._m, 1 - self._m) / 2 * math.sqrt(self._weight_square))
        return min(rise / min(max(self._square, spread / 4), spread), _BOLDEST / self._m)

    @property
    def evidence(self) -> float:
        """The capital, from a stake of 1; at 1/alpha the alarm rings."""
        return self._started + 1 / (self.count + 1)
