"""The A/A check: how noisy the eval itself is, and how often the gate would fail on no change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from cascade.evals.arms import Pairs
from cascade.evals.gate import (
    Columns,
    Comparison,
    Finding,
    Settings,
    Verdict,
    columns_of,
    compare,
    finding_of,
    method_for,
    non_inferiority,
    verdict_of,
    worse_by,
    worse_p,
)
from cascade.evals.runs import Floats
from cascade.evals.statistics import holm
from cascade.evals.statistics.arrays import cluster_codes
from cascade.evals.statistics.betting import betting_capital

__all__ = ["Noise", "noise"]

REPEATS: Final = 200


@dataclass(frozen=True, slots=True)
class Noise:
    """What two runs of one and the same thing show.

    Attributes:
        n: cases.
        discordant: the share of cases whose grades differ between the two.
        difference: of the mean grades.
        verdict: what the gate says of these two.
        shares: how often it would say what, over random exchanges of the two runs' answers.
        repeats: how many exchanges.
    """

    n: int
    discordant: float
    difference: float
    verdict: Verdict
    shares: dict[Verdict, float]
    repeats: int


def noise(pairs: Pairs, settings: Settings, repeats: int = REPEATS) -> Noise:
    """Measure the noise on two runs of the same thing.

    If nothing changed, which of a case's two answers came first is chance: exchanging them at
    random, whole clusters at once, gives other pairs of runs that are as likely (Fisher's
    randomisation test), and each goes through the tests of the gate.
    """
    overall, slices = compare(pairs, settings)
    if settings.method == "bootstrap":
        settings = replace(settings, method="t")  # much the same answer, hundreds of times quicker
    columns = columns_of(pairs)
    differences = columns.differences
    units = cluster_codes(pairs.clusters, len(pairs))
    random = np.random.default_rng(settings.seed)
    signs = [random.choice((-1.0, 1.0), size=int(units.max()) + 1) for _ in range(repeats)]
    exchanged = np.stack([differences * sign[units] for sign in signs], axis=1)
    places = [pairs.slices()[one.name] for one in slices]
    whole = _tested(columns, exchanged, settings)
    parts = [
        _tested(columns.take(rows), exchanged[rows], settings, tests=len(slices)) for rows in places
    ]
    counts: dict[Verdict, int] = {"PASS": 0, "FAIL": 0, "INCONCLUSIVE": 0}
    for i in range(repeats):
        counts[verdict_of(_findings(i, whole, parts, slices, settings))] += 1
    return Noise(
        n=len(pairs),
        discordant=np.count_nonzero(differences) / len(pairs),
        difference=float(np.mean(differences)),
        verdict=verdict_of(one.finding for one in (overall, *slices)),
        shares={verdict: count / repeats for verdict, count in counts.items()},
        repeats=repeats,
    )


class _Tested(NamedTuple):
    """What the tests say of each exchange.

    Attributes:
        not_worse: whether that is shown.
        worse_p: the p-value of "as good".
    """

    not_worse: list[bool]
    worse_p: list[float]


def _findings(
    i: int,
    whole: _Tested,
    parts: Sequence[_Tested],
    slices: Sequence[Comparison],
    settings: Settings,
) -> Iterator[Finding]:
    """What the gate finds of one exchange, on the whole and on each slice."""
    yield finding_of(whole.not_worse[i], whole.worse_p[i], True, settings)
    worse = holm([part.worse_p[i] for part in parts]) if parts else ()
    for part, p, one in zip(parts, worse, slices, strict=True):
        # What has to be proven depends on sizes and spreads, which no exchange changes.
        yield finding_of(part.not_worse[i], float(p), one.required, settings)


def _tested(columns: Columns, exchanged: Floats, settings: Settings, tests: int = 1) -> _Tested:
    """The gate's tests of each column of differences; where they are bets, all in one pass."""
    each = [columns._replace(differences=d) for d in exchanged.T]
    _, _, clusters, weights = columns

    def bet(differences: Floats, within: float, alpha: float) -> list[float]:
        capital: list[float] = betting_capital(
            differences, within, alpha, clusters, weights
        ).tolist()
        return [1 / one for one in capital]

    if method_for(columns, settings) == "betting":
        not_worse = [p <= settings.alpha for p in bet(exchanged, settings.within, settings.alpha)]
    else:
        found = [non_inferiority(one, settings) for one in each]
        not_worse = [one is not None and one.passed for one in found]
    by = worse_by(columns, settings)
    if by is not None and method_for(columns, by) == "betting":
        return _Tested(not_worse, bet(-exchanged, 0.0, settings.alpha / tests))
    return _Tested(not_worse, [worse_p(one, settings, tests) for one in each])
