"""The gate: is the candidate not worse than the baseline, overall and on every slice?

PASS is a proof: a test of non-inferiority rejects, at the level asked for, that the candidate is
worse by the margin or more. FAIL is one too: an exact test rejects that it is as good. Everything
between is INCONCLUSIVE and says how many more cases would settle it; nothing passes in silence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np

from cascade.errors import ConfigError
from cascade.evals.arms import Entry, Pairs, case_name
from cascade.evals.runs import Floats
from cascade.evals.statistics import (
    NonInferiority,
    betting,
    bootstrap_means,
    bootstrap_non_inferiority,
    holm,
    mcnemar,
    mean_non_inferiority,
    percentile_interval,
    queries_needed,
    tango,
)

__all__ = [
    "Columns",
    "Comparison",
    "Finding",
    "Method",
    "Report",
    "Settings",
    "Verdict",
    "columns_of",
    "compare",
    "finding_of",
    "gate",
    "method_for",
    "non_inferiority",
    "verdict_of",
    "worse_by",
    "worse_p",
]

Verdict: TypeAlias = Literal["PASS", "FAIL", "INCONCLUSIVE"]
Method: TypeAlias = Literal["auto", "tango", "betting", "t", "bootstrap"]
Finding: TypeAlias = Literal["not worse", "worse", "open", "too few cases"]

POWER: Final = 0.8
LEAST: Final = 20
"""The clusters below which only betting decides anything; for t and bootstrap the cases too.

What they go by, the spread between clusters, is itself hardly known from fewer: "few" begins
somewhere between 20 and 50 (Cameron and Miller, Journal of Human Resources 50 (2015) 317).
"""
MISSING: Final = 0.05
"""The share of cases without a graded answer of the candidate's from which nothing is concluded."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the gate demands.

    Attributes:
        within: the margin: how much worse the mean grade may be.
        confidence: of each test; 1 less the chance that a candidate worse by the margin passes.
        max_cost_increase: the share by which the mean cost may rise. None: cost decides nothing.
        slices: slices that have to be proven like the whole; "all" is every one. A slice that is
            not named fails the gate where it is shown to be worse, and leaves it open only if it
            has the cases to be proven.
        method: "auto": Tango's test for right and wrong answers; for graded ones the betting bound,
            which holds at any number of cases or clusters. "t" and "bootstrap" do not where a few
            cases lose much.
        seed: of the bootstraps.
    """

    within: float = 0.02
    confidence: float = 0.9
    max_cost_increase: float | None = None
    slices: tuple[str, ...] = ()
    method: Method = "auto"
    seed: int = 0

    @property
    def alpha(self) -> float:
        """The level of each test."""
        return round(1 - self.confidence, 12)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The candidate against the baseline on the whole or on one slice.

    Attributes:
        name: of the slice; "" is the whole.
        n: cases.
        gains, losses: cases the candidate answered better, and worse.
        spread: the mean squared difference: the share of discordant cases, if grades are 0 and 1.
        baseline, candidate: mean grades.
        clusters: how many. None: every case stands for itself.
        test: of non-inferiority. None: there are too few cases or clusters for any, or, for t and
            bootstrap, differences without any spread.
        upper: the upper confidence bound of the difference. None: as with `test`.
        worse_p: the p-value of "as good"; of slices adjusted by Holm.
        required: whether it has to be proven for a pass.
        cases_needed: about how many more would settle it. None: no number, or it is settled.
        finding: what was found.
    """

    name: str
    n: int
    gains: int
    losses: int
    spread: float
    baseline: float
    candidate: float
    clusters: int | None
    test: NonInferiority | None
    upper: float | None
    worse_p: float
    required: bool = True
    cases_needed: int | None = None
    finding: Finding = "open"

    @property
    def difference(self) -> float:
        """Of the mean grades, candidate less baseline."""
        return self.candidate - self.baseline


@dataclass(frozen=True, slots=True)
class CostChange:
    """What the candidate costs against the baseline.

    Attributes:
        baseline_usd, candidate_usd: means of one case.
        ratio: candidate to baseline. None: the baseline costs nothing.
        interval: of the ratio: one-sided bounds, both at the confidence of the gate.
    """

    baseline_usd: float
    candidate_usd: float
    ratio: float | None
    interval: tuple[float, float] | None


class Reason(NamedTuple):
    """Why the verdict is what it is: about what, what was found, and that in words."""

    where: str
    finding: Finding
    words: str

    def __str__(self) -> str:
        return f"{self.where}: {self.words}"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything the gate found.

    Attributes:
        reasons: why; what decides comes first.
        latency_s: (p50, p95) of the baseline and of the candidate. None: not known.
        escalation: the share of cases that asked more than one tier, of both. None: not known.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...]
    settings: Settings
    pairs: Pairs = field(repr=False)
    overall: Comparison
    slices: tuple[Comparison, ...]
    cost: CostChange
    latency_s: tuple[tuple[float, float] | None, tuple[float, float] | None]
    escalation: tuple[float | None, float | None]

    @property
    def losses(self) -> list[str]:
        """The cases that the candidate answered worse."""
        return self._discordant(-1)

    @property
    def gains(self) -> list[str]:
        """The cases that it answered better."""
        return self._discordant(1)

    def _discordant(self, sign: int) -> list[str]:
        places = np.flatnonzero(np.sign(self.pairs.differences) == sign)
        return [case_name(self.pairs.keys[place]) for place in places]


def gate(pairs: Pairs, settings: Settings) -> Report:
    """Hold the candidate against the baseline.

    Raises:
        ConfigError: a slice is named that there is not.
    """
    overall, slices = compare(pairs, settings)
    cost = _cost(pairs, settings)
    reasons = [
        *(reason for one in (overall, *slices) if (reason := _of_quality(one, settings))),
        *_of_cost(cost, settings),
        *_of_missing(pairs, slices),
    ]
    return Report(
        verdict=verdict_of(reason.finding for reason in reasons),
        reasons=tuple(sorted(reasons, key=_decides) or [_proven(overall, settings)]),
        settings=settings,
        pairs=pairs,
        overall=overall,
        slices=slices,
        cost=cost,
        latency_s=(_latency(pairs.baseline), _latency(pairs.candidate)),
        escalation=(_escalation(pairs.baseline), _escalation(pairs.candidate)),
    )


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """What findings come to."""
    found = frozenset(findings)
    return "FAIL" if "worse" in found else "INCONCLUSIVE" if "open" in found else "PASS"


def compare(pairs: Pairs, settings: Settings) -> tuple[Comparison, tuple[Comparison, ...]]:
    """The whole and every slice.

    Raises:
        ConfigError: a slice is named that there is not.
    """
    by_slice = pairs.slices()
    known = dict.fromkeys((*by_slice, *pairs.ungraded))
    if unknown := [name for name in settings.slices if name not in (*known, "all")]:
        raise ConfigError(
            f"the runs have no slice {', '.join(unknown)}; they have {', '.join(known) or 'none'}"
        )
    columns = columns_of(pairs)
    overall = _settled(_compared("", columns, settings), settings, True)
    found = [
        _compared(name, columns.take(places), settings, tests=len(by_slice))
        for name, places in by_slice.items()
    ]
    adjusted = holm([one.worse_p for one in found]) if found else ()
    slices: list[Comparison] = []
    for one, worse_p in zip(found, adjusted, strict=True):
        named = one.name in settings.slices or "all" in settings.slices
        spread = max(one.spread, overall.spread)
        needed = queries_needed(spread, settings.within, settings.alpha, power=POWER)
        cases = one.n + pairs.ungraded.get(one.name, 0)  # what failed proves no want of cases
        has_power = needed is not None and cases >= needed
        slices.append(_settled(replace(one, worse_p=float(worse_p)), settings, named or has_power))
    return overall, tuple(slices)


class Columns(NamedTuple):
    """What is tested, one value a case: how much more correct the candidate is, and its cluster."""

    differences: Floats
    baseline: Floats
    clusters: Sequence[str] | None = None
    weights: Floats | None = None

    def take(self, places: Sequence[int]) -> Columns:
        """These cases only."""
        return Columns(
            self.differences[places],
            self.baseline[places],
            None if self.clusters is None else [self.clusters[place] for place in places],
            None if self.weights is None else self.weights[places],
        )

    def reversed(self) -> Columns:
        """The baseline as the candidate."""
        return self._replace(differences=-self.differences)

    @property
    def are_equal(self) -> bool:
        """Whether every case stands for itself and counts the same."""
        return self.clusters is None and self.weights is None

    @property
    def is_binary(self) -> bool:
        """Whether the grades are right and wrong, and nothing between."""
        return bool(np.isin(self.differences, (-1.0, 0.0, 1.0)).all())


def columns_of(pairs: Pairs) -> Columns:
    """What is tested on the whole."""
    baseline = pairs.column("correct", candidate=False)
    return Columns(pairs.differences, baseline, pairs.clusters, pairs.weights)


def _compared(name: str, columns: Columns, settings: Settings, tests: int = 1) -> Comparison:
    d, baseline, clusters, weights = columns
    mean = float(np.average(baseline, weights=weights))
    reverse = non_inferiority(columns.reversed(), settings)
    return Comparison(
        name=name,
        n=len(d),
        gains=int((d > 0).sum()),
        losses=int((d < 0).sum()),
        spread=float(np.average(d * d, weights=weights)),
        baseline=mean,
        candidate=mean + float(np.average(d, weights=weights)),
        clusters=None if clusters is None else len(set(clusters)),
        test=non_inferiority(columns, settings),
        upper=None if reverse is None else -reverse.lower,
        worse_p=worse_p(columns, settings, tests),
    )


def method_for(columns: Columns, settings: Settings) -> Method | None:
    """The test that fits the grades. None: there are too few cases or clusters for it.

    Raises:
        ConfigError: a method was chosen that these grades do not allow.
    """
    method = settings.method
    if method == "auto":
        method = "tango" if columns.is_binary else "betting"
    if method == "tango" and not columns.is_binary:
        raise ConfigError("grades between 0 and 1 are no case for tango; use betting")
    units = len(columns.differences if columns.clusters is None else set(columns.clusters))
    exact = method == "betting" or (method == "tango" and columns.are_equal)
    return None if units < (2 if exact else LEAST) else method


def non_inferiority(
    columns: Columns,
    settings: Settings,
    within: float | None = None,
    alpha: float | None = None,
) -> NonInferiority | None:
    """The test of non-inferiority that fits the grades. None: as of `Comparison.test`.

    Args:
        within: the margin. None: that of the settings.
        alpha: the level. None: that of the settings.

    Raises:
        ConfigError: a method was chosen that these grades do not allow.
    """
    d, _, clusters, weights = columns
    eps = settings.within if within is None else within
    level = settings.alpha if alpha is None else alpha
    match method_for(columns, settings):
        case None:
            return None
        case "tango":
            return tango(d, eps, level, clusters, weights)
        case "betting":
            return betting(d, eps, level, clusters, weights)
        case "t":
            test = mean_non_inferiority(d, eps, level, clusters, weights)
        case _:
            test = bootstrap_non_inferiority(d, eps, level, clusters, weights, seed=settings.seed)
    return test if math.isfinite(test.lower) else None


def worse_by(columns: Columns, settings: Settings) -> Settings | None:
    """The settings of the test of "worse". None: the exact one of McNemar.

    Right and wrong answers in clusters or with weights are bet on, as Tango's test is no exact one
    without a margin: it calls two losses and no gain proof at 0.1.
    """
    if columns.is_binary and settings.method in ("auto", "tango"):
        return None if columns.are_equal else replace(settings, method="betting")
    return settings


def worse_p(columns: Columns, settings: Settings, tests: int = 1) -> float:
    """How likely such losses are if the candidate were as good.

    Args:
        tests: how many such p-values Holm's method will adjust. A bet stops at the level that it
            aims at, and the smallest p-value of so many has to get below alpha / tests.
    """
    by, d = worse_by(columns, settings), columns.differences
    if by is None:
        return mcnemar(int((d > 0).sum()), int((d < 0).sum()), alternative="worse")
    test = non_inferiority(columns.reversed(), by, 0.0, settings.alpha / tests)
    return 1.0 if test is None else test.p_value


def finding_of(not_worse: bool, worse: float, required: bool, settings: Settings) -> Finding:
    """What a comparison comes to.

    Args:
        not_worse: whether that is shown.
        worse: the p-value of "as good".
        required: whether it has to be proven for a pass.
    """
    if not_worse:
        return "not worse"
    if worse <= settings.alpha:
        return "worse"
    return "open" if required else "too few cases"


def _settled(one: Comparison, settings: Settings, required: bool) -> Comparison:
    not_worse = one.test is not None and one.test.passed
    finding = finding_of(not_worse, one.worse_p, required, settings)
    needed = None if finding in ("not worse", "worse") else _cases_needed(one, settings)
    return replace(one, required=required, finding=finding, cases_needed=needed)


def _cases_needed(one: Comparison, settings: Settings) -> int | None:
    """About how many more cases would settle it, as these are, with a chance of 80 %."""
    n, difference = one.n, one.difference
    worth = 1.0 if one.test is None else one.test.n / n  # clusters and weights count for less
    planned: list[int | None] = [
        queries_needed(one.spread, settings.within, settings.alpha, power=POWER),
        # Enough of them if it were as good, and still open: as measured, then.
        queries_needed(
            one.spread, settings.within, settings.alpha, power=POWER, difference=difference
        ),
    ]
    if difference < 0:
        planned.append(
            queries_needed(one.spread, 0.0, settings.alpha, power=POWER, difference=-difference)
        )
    for needed in planned:
        if needed is not None and needed / worth > n:
            return math.ceil(needed / worth) - n
    return None


def _decides(reason: Reason) -> bool:
    """What fails the gate goes before what leaves it open."""
    return reason.finding != "worse"


def _of_quality(one: Comparison, settings: Settings) -> Reason | None:
    where = f"slice {one.name}" if one.name else "overall"
    if one.finding == "worse":
        told = f"the candidate is worse, by {-one.difference:.2%} on {one.n:,} cases"
        return Reason(where, "worse", f"{told} (p = {one.worse_p:.3g})")
    if one.finding == "open":
        more = (
            "as they are, no number of cases would settle it soon"
            if one.cases_needed is None
            else f"it needs about {one.cases_needed:,} more"
        )
        told = f"not shown to be within {settings.within:.2%} on {one.n:,} cases"
        if one.clusters is not None:
            few = f", and a test takes {LEAST}" if one.test is None and one.clusters < LEAST else ""
            told += f" in {one.clusters:,} clusters{few}"
        return Reason(where, "open", f"{told}; {more}")
    return None


def _proven(overall: Comparison, settings: Settings) -> Reason:
    lower = 0.0 if overall.test is None else overall.test.lower
    how = f"at least {lower:.2%} better" if lower > 0 else f"at most {abs(lower):.2%} worse"
    told = f"{how} with {settings.confidence:.0%} confidence"
    return Reason("overall", "not worse", f"{told}, on {overall.n:,} cases")


def _of_cost(cost: CostChange, settings: Settings) -> Iterator[Reason]:
    if settings.max_cost_increase is None:
        return
    if cost.ratio is None or cost.interval is None:
        if cost.candidate_usd > 0:
            yield Reason("cost", "worse", "the baseline costs nothing, and the candidate does")
        return
    low, high = cost.interval
    limit = 1 + settings.max_cost_increase + 1e-9  # sums of floats are no closer
    told = f"{cost.ratio - 1:+.1%} against at most {settings.max_cost_increase:+.1%}"
    if low > limit:
        yield Reason("cost", "worse", told)
    elif high > limit:
        yield Reason("cost", "open", f"{told}, but it may be up to {high - 1:+.1%}")


def _of_missing(pairs: Pairs, slices: Sequence[Comparison]) -> Iterator[Reason]:
    # What the candidate failed on may be just what it would have answered wrongly.
    missing = sum(count for what, count in pairs.unpaired.items() if not what.startswith("only"))
    cases = len(pairs) + missing
    if missing > MISSING * cases:
        told = f"{missing:,} of {cases:,} have no graded answer of the candidate's; run them again"
        yield Reason("cases", "open", told)
    compared = {one.name: one for one in slices}
    for name, count in sorted(pairs.ungraded.items()):
        one = compared.get(name)  # None: nothing is left of it
        cases = count if one is None else one.n + count
        if one is None or (one.required and count > MISSING * cases):
            told = f"{count:,} of {cases:,} have no graded answer of the candidate's"
            yield Reason(f"cases of slice {name}", "open", f"{told}; run them again")


def _cost(pairs: Pairs, settings: Settings) -> CostChange:
    table = np.stack(
        [pairs.column("cost_usd", candidate=False), pairs.column("cost_usd", candidate=True)],
        axis=1,
    )
    baseline, candidate = (float(mean) for mean in np.average(table, axis=0, weights=pairs.weights))
    if baseline <= 0:
        return CostChange(baseline, candidate, None, None)
    means = bootstrap_means(table, pairs.clusters, pairs.weights, seed=settings.seed)
    usable = means[means[:, 0] > 0]
    interval = percentile_interval(usable[:, 1] / usable[:, 0], 1 - 2 * settings.alpha)
    return CostChange(baseline, candidate, candidate / baseline, interval)


def _latency(side: Sequence[Entry]) -> tuple[float, float] | None:
    known = [entry.latency_s for entry in side if not math.isnan(entry.latency_s)]
    if not known:
        return None
    p50, p95 = np.quantile(known, (0.5, 0.95), method="inverted_cdf")
    return float(p50), float(p95)


def _escalation(side: Sequence[Entry]) -> float | None:
    known = [entry.escalated for entry in side if entry.escalated is not None]
    return sum(known) / len(known) if known else None
