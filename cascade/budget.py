"""How long a tier takes, learnt from what it took, and what still fits into a budget."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["FITS_AT", "HAS_A_CHANCE_AT", "HEDGE_AT", "LatencySketch", "fits", "hedge_after_s"]

FITS_AT: Final = 0.5
"""A rung fits when this share of its calls would be done in the time left."""

HAS_A_CHANCE_AT: Final = 0.05
"""A rung that nothing can be hoped of any more: not even this share of its calls is that quick."""

HEDGE_AT: Final = 0.95
"""A hedge starts while the next rung still has this share of the chance that it has at first."""

HALF_LIFE_S: Final = 600.0
PROBE_EVERY_S: Final = 30.0
ENOUGH: Final = 20.0

# Neighbouring buckets differ by this factor, so that a quantile is off by at most half of it.
_GROWTH: Final = 1.1
_LOG_GROWTH: Final = math.log(_GROWTH)
_SHORTEST_S: Final = 1e-6
_LARGEST_WEIGHT: Final = 2.0**60


class LatencySketch:
    """A streaming histogram of seconds that forgets: quantiles of the recent past.

    Buckets grow geometrically, which bounds the relative error of each quantile by 5 % (Masson,
    Rim and Lee, DDSketch, VLDB 2019), and observations lose half of their weight every ten minutes
    by forward decay (Cormode, Shkapenyuk, Srivastava and Xu, ICDE 2009). Some hundred numbers,
    however much is observed. It is ours because the kept libraries for this do not forget.

    Args:
        seed_s: what to expect until enough was seen: about what the tier takes at its median.
            None: nothing is known.
    """

    __slots__ = (
        "_buckets",
        "_cached",
        "_given_up",
        "_landmark_s",
        "_probe_from_s",
        "_probes_left",
        "_probing_until_s",
        "_since_cached",
        "_total",
        "seed_s",
    )

    def __init__(self, seed_s: float | None = None) -> None:
        self.seed_s = seed_s
        self._buckets: dict[int, float] = {}
        self._total = 0.0
        self._landmark_s: float | None = None
        self._probe_from_s = math.inf
        self._probing_until_s = -math.inf
        self._probes_left = 0
        self._given_up = 0
        self._cached: dict[float, float] = {}
        self._since_cached = 0

    def observe(self, latency_s: float, now_s: float) -> None:
        """Learn the latency of a call that ended, at a time on any steady clock."""
        if now_s < self._probing_until_s:
            self._probes_left += 2
        self._learn(latency_s, now_s)

    def _learn(self, latency_s: float, now_s: float) -> None:
        if self._landmark_s is None:
            self._landmark_s = now_s
        self._probe_from_s = now_s + PROBE_EVERY_S
        half_lives = (now_s - self._landmark_s) / HALF_LIFE_S
        weight = math.exp2(half_lives if half_lives < 900.0 else 900.0)
        if weight > _LARGEST_WEIGHT:
            self._rebase(weight, now_s)
            weight = 1.0
        bucket = math.ceil(
            math.log(latency_s if latency_s > _SHORTEST_S else _SHORTEST_S) / _LOG_GROWTH
        )
        self._buckets[bucket] = self._buckets.get(bucket, 0.0) + weight
        self._total += weight
        self._since_cached += 1

    def observe_at_least(self, latency_s: float, now_s: float) -> None:
        """Learn from a call that was cut short after `latency_s`.

        Before the median that tells nothing. Beyond it the tier is slow, and the call is taken to
        have needed half as long again.
        """
        self._probing_until_s, self._probes_left = -math.inf, 0
        median_s = self.quantile_s(FITS_AT, now_s)
        if median_s is None or latency_s > median_s:
            self._learn(latency_s * 1.5, now_s)

    def may_probe(self, now_s: float) -> bool:
        """Whether to ask a tier once more that looks too slow: it may have recovered.

        True once in 30 seconds in which nothing was observed. Each probe that came back lets two
        more go, until one is cut short or 30 seconds have passed: so a bad spell is over within
        seconds, though it was long.
        """
        if self._probes_left and now_s < self._probing_until_s:
            self._probes_left -= 1
            return True
        if now_s < self._probe_from_s:
            # Not in the future for ever: a tier that was never asked is to be probed as well.
            self._probe_from_s = min(self._probe_from_s, now_s + PROBE_EVERY_S)
            return False
        self._probe_from_s = now_s + PROBE_EVERY_S
        self._begin_probing(now_s)
        return True

    def _begin_probing(self, now_s: float) -> None:
        if now_s >= self._probing_until_s:
            self._probing_until_s, self._probes_left = now_s + PROBE_EVERY_S, 0

    def has_a_chance(self, time_left_s: float, now_s: float) -> bool:
        """Whether to hope that a call finishes in the time left.

        One in twenty of its calls does, or nobody knows. Where it is hopeless every twentieth call
        is sent all the same: that is how the end of a bad spell is noticed.
        """
        if self.seen(now_s) < ENOUGH:
            # A seed is a median; the quickest calls of a model take about half of it.
            quickest_s = None if self.seed_s is None else self.seed_s / 2
        else:
            quickest_s = self.quantile_s(HAS_A_CHANCE_AT, now_s)
        if quickest_s is None or quickest_s <= time_left_s:
            return True
        self._given_up += 1
        if self._given_up % round(1 / HAS_A_CHANCE_AT):
            return False
        self._begin_probing(now_s)
        return True

    def seen(self, now_s: float) -> float:
        """How many observations there are, the older ones counting less."""
        if self._landmark_s is None:
            return 0.0
        return self._total / math.exp2(min((now_s - self._landmark_s) / HALF_LIFE_S, 900.0))

    def quantile_s(self, q: float, now_s: float) -> float | None:
        """The latency that a share `q` of recent calls stayed within, in seconds.

        The seed until 20 recent calls were seen. None: without a seed either, nothing is known.
        """
        if self.seen(now_s) < ENOUGH:
            return self.seed_s
        if self._since_cached > 32 or q not in self._cached:
            if self._since_cached:
                self._cached.clear()
                self._since_cached = 0
            self._cached[q] = self._quantile_s(q)
        return self._cached[q]

    def hedge_takes_s(self, time_left_s: float, now_s: float) -> float | None:
        """The seconds that a hedge needs, of those that are left.

        In them nearly as many of its calls are done as in all of the time left: those that would
        be late in any case, such as one that stalls, are no reason to start it at once. None:
        nothing is known of it.
        """
        if self.seen(now_s) < ENOUGH:
            return self.seed_s
        # Rounded, so that what was reckoned for one call serves the next.
        middle_s = self.quantile_s(round(HEDGE_AT * self._share_within(time_left_s), 2), now_s)
        # A bucket more: a tier of steady latency has all its calls in one, half of them beyond the
        # middle, and starting it takes a moment too.
        return None if middle_s is None else middle_s * _GROWTH

    def _share_within(self, time_s: float) -> float:
        """The share of calls that took no longer."""
        last = math.log(max(time_s, _SHORTEST_S)) / _LOG_GROWTH
        within = math.fsum(weight for bucket, weight in self._buckets.items() if bucket <= last)
        return within / self._total

    def _quantile_s(self, q: float) -> float:
        wanted = q * self._total
        passed = 0.0
        bucket = 0
        for bucket in sorted(self._buckets):
            passed += self._buckets[bucket]
            if passed >= wanted:
                break
        # The middle of the bucket, where the relative error to both of its ends is the same.
        return 2 * math.pow(_GROWTH, bucket) / (1 + _GROWTH)

    def _rebase(self, weight: float, now_s: float) -> None:
        """Count from now on, before the weights grow out of a float's range."""
        kept = {bucket: count / weight for bucket, count in self._buckets.items()}
        self._buckets = {bucket: count for bucket, count in kept.items() if count > 1e-9}
        self._total = math.fsum(self._buckets.values())
        self._landmark_s = now_s


def fits(expected_s: float | None, time_left_s: float | None) -> bool:
    """Whether a rung can be expected to finish in the time left. Pure.

    Args:
        expected_s: what it takes. None: unknown, and taken to fit.
        time_left_s: None: there is no limit.
    """
    return time_left_s is None or expected_s is None or expected_s <= time_left_s


def hedge_after_s(
    hedge: float | str, next_takes_s: float | None, time_left_s: float | None
) -> float | None:
    """Seconds to wait for the rung in flight before the next one is started beside it. Pure.

    Args:
        hedge: "never", "deadline": as late as the next rung can still make it, or seconds.
        next_takes_s: what `LatencySketch.hedge_takes_s` says of the next rung. None: unknown.
        time_left_s: seconds to the deadline. None: there is none.

    Returns:
        0 or more; None: no hedge.
    """
    if hedge == "never":
        return None
    if isinstance(hedge, str):
        if next_takes_s is None or time_left_s is None:
            return None
        return max(0.0, time_left_s - next_takes_s)
    return hedge
