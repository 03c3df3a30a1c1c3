"""The A/A check: how noisy the eval itself is, and how often the gate would fail on no change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from cascade.evals.arms import Pairs
from cascade.evals.gate import Comparison, Settings, Verdict, compare
from cascade.evals.statistics.arrays import cluster_codes

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
    randomisation test), and each goes through the gate.
    """
    if settings.method in ("auto", "bootstrap") and pairs.clusters is not None:
        settings = replace(settings, method="t")  # much the same answer, hundreds of times quicker
    differences = pairs.differences
    units = cluster_codes(pairs.clusters, len(pairs))
    random = np.random.default_rng(settings.seed)
    counts: dict[Verdict, int] = {"PASS": 0, "FAIL": 0, "INCONCLUSIVE": 0}
    for _ in range(repeats):
        signs = random.choice((-1.0, 1.0), size=int(units.max()) + 1)
        counts[_verdict(*compare(pairs, differences * signs[units], settings))] += 1
    return Noise(
        n=len(pairs),
        discordant=np.count_nonzero(differences) / len(pairs),
        difference=float(np.mean(differences)),
        verdict=_verdict(*compare(pairs, differences, settings)),
        shares={verdict: count / repeats for verdict, count in counts.items()},
        repeats=repeats,
    )


def _verdict(overall: Comparison, slices: tuple[Comparison, ...]) -> Verdict:
    findings = {one.finding for one in (overall, *slices)}
    return "FAIL" if "worse" in findings else "INCONCLUSIVE" if "open" in findings else "PASS"
