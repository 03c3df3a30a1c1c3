"""Whether a learned router is worth it: out of fold, against every simpler way to route."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from cascade.errors import ConfigError
from cascade.learn.curves import Measures, lower_bound, measures
from cascade.learn.examples import Examples
from cascade.learn.features import Embed
from cascade.learn.folds import folds_of
from cascade.learn.router import LearnedRouter
from cascade.learn.training import LEAST_EXAMPLES, Settings, read_all, sklearn, train

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Ints: TypeAlias = NDArray[np.int64]

__all__ = ["Assessment", "Route", "Target", "assess", "out_of_fold"]

FOLDS: Final = 5
SHARES: Final = tuple(share / 10 for share in range(11))
_WORTHS: Final = tuple(10 ** (power / 20) for power in range(-60, 101))
"""Values of a right answer that are tried, in units of the dearest tier's cost."""


class Route(NamedTuple):
    """One way to route, over all queries.

    Attributes:
        name: its name.
        accuracy: how often it is right, 0 to 1.
        cost_usd: per call, in USD.
        shares: of the calls that begin with each tier.
        mixture: how often a random mix of the cheapest and the strongest tier is right for the same
            money. NaN: no mix costs that much or that little.
    """

    name: str
    accuracy: float
    cost_usd: float
    shares: Mapping[str, float]
    mixture: float


class Target(NamedTuple):
    """What a router has to do.

    Attributes:
        recover: the share of the strongest tier's lead over the cheapest to keep, 0 to 1.
        value_usd: what a right answer is worth, in USD. None: as little as `recover` takes.
        validators_usd: what judging costs per call, in USD; a saving has to be larger.
    """

    recover: float = 0.8
    value_usd: float | None = None
    validators_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Assessment:
    """How well a router does on queries it was not trained on.

    Attributes:
        queries: how many.
        measures: of its ranking, between the cheapest and the strongest tier.
        apgr_low: the lower bound of its APGR, one-sided, 95 %.
        value_usd: the value of a right answer at which it is judged.
        router: what it comes to at that value.
        others: every tier alone, and the rules where there are some.
        curve: what it comes to from the cheapest tier alone to the strongest alone.
        saving_usd: what it costs less, per call, than a random mix that is right as often.
        calibration_error: by tier, the mean distance of probability and truth over ten groups.
        abstained: the share of the queries on which it abstains, its training data being like them.
        against: why it is not worth it. Empty: it is.
    """

    queries: int
    measures: Measures
    apgr_low: float
    value_usd: float
    router: Route
    others: tuple[Route, ...]
    curve: tuple[Route, ...]
    saving_usd: float
    calibration_error: Mapping[str, float]
    abstained: float
    against: tuple[str, ...]

    @property
    def is_worth_it(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.against


class HeldOut(NamedTuple):
    """What routers said of queries that they were not trained on: a row a query."""

    chances: Floats
    abstained: float


def out_of_fold(
    examples: Examples,
    settings: Settings | None = None,
    *,
    signals: Sequence[str] = (),
    embed: Embed | None = None,
    seed: int = 0,
) -> HeldOut:
    """By query and tier, the probability of being right, from five routers trained on the rest.

    Raises:
        ConfigError: scikit-learn is not installed, there are too few examples, or the embedding
            fails.
    """
    sklearn()
    import numpy as np

    folds = folds_of(examples, FOLDS, seed)
    _check_enough(len(examples), len(examples) - int(np.bincount(folds).max()))
    readings = read_all(examples, signals, embed)
    chances = np.zeros((len(examples), len(examples.tiers)))
    abstained = 0
    for fold in range(FOLDS):
        inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        model = train(
            examples.take(inside),
            settings,
            signals=signals,
            readings=[readings[row] for row in inside],
        )
        router = LearnedRouter(model, embed=embed)
        for row in outside:
            text, given = examples.texts[row], examples.signals[row]
            chances[row] = list(router.probabilities(text, given).values())
            abstained += router.choose(given, text, examples.tiers).first is None
    return HeldOut(chances, abstained / len(examples))


def _check_enough(queries: int, left: int) -> None:
    """Raises ConfigError when the smallest of the folds' training sets, `left`, is too small."""
    if left < LEAST_EXAMPLES:
        least = math.ceil(LEAST_EXAMPLES * FOLDS / (FOLDS - 1))
        raise ConfigError(
            f"{queries} queries are too few: each fifth is judged by a router that learns from "
            f"the others, which are {left} here and have to be {LEAST_EXAMPLES}; give {least} "
            "different ones at the very least, and some thousands for a router that is any good"
        )


def assess(
    examples: Examples,
    held_out: HeldOut,
    target: Target,
    *,
    rules: Sequence[str] | None = None,
    seed: int = 0,
) -> Assessment:
    """Judge a router by what it said out of fold.

    Args:
        rules: the tier that rules choose for each query. None: there are no rules.
        seed: of the bootstrap.

    Raises:
        ConfigError: the strongest tier is no better than the cheapest, so there is no choice.
    """
    table = _Table.of(examples)
    leads = table.correct[:, -1] - table.correct[:, 0]
    if leads.sum() <= 0:
        raise ConfigError(
            f"{examples.tiers[-1]!r} is right no more often than {examples.tiers[0]!r} on these "
            "queries: there is nothing to route; use the cheaper one, or exchange --tiers"
        )
    gains = held_out.chances[:, -1] - held_out.chances[:, 0]
    value = table.value(held_out.chances, target)
    router = table.route("learned router", table.best(held_out.chances, value))
    others = [table.route(f"always {t}", [n] * len(examples)) for n, t in enumerate(examples.tiers)]
    if rules is not None:
        others.append(table.route("rules", [examples.tiers.index(tier) for tier in rules]))
    low = lower_bound(gains, leads, seed=seed)
    saving = table.mixture_cost(router.accuracy) - router.cost_usd
    return Assessment(
        queries=len(examples),
        measures=measures(gains, leads),
        apgr_low=low,
        value_usd=value,
        router=router,
        others=tuple(others),
        curve=tuple(table.at_share(gains, share) for share in SHARES),
        saving_usd=saving,
        calibration_error={
            tier: _calibration_error(held_out.chances[:, n], table.correct[:, n])
            for n, tier in enumerate(examples.tiers)
        },
        abstained=held_out.abstained,
        against=(
            *_against_ranking(low),
            *_against_money(table, saving, target),
            *_against_rules(value, router, others[-1] if rules else None),
        ),
    )


def _against_ranking(low: float) -> Iterator[str]:
    if low <= 0.5:
        yield (
            f"it may rank no better than chance: the lower bound of its APGR is {low:.3f}, and "
            "random mixing has 0.5"
        )


def _against_money(table: _Table, saving: float, target: Target) -> Iterator[str]:
    if table.costs_alike():
        yield f"the tiers cost the same, so there is nothing to save; use {table.tiers[-1]!r} alone"
    elif saving <= 0:
        yield f"it costs ${abs(saving):.6f} a call more than a random mix that is right as often"
    elif saving <= target.validators_usd:
        yield (
            f"it saves ${saving:.6f} a call against a random mix that is right as often, which "
            f"does not pay for validators of ${target.validators_usd:.6f}"
        )


def _against_rules(value_usd: float, router: Route, rules: Route | None) -> Iterator[str]:
    if rules is not None and _net(rules, value_usd) >= _net(router, value_usd):
        yield (
            f"the rules do as well: right {rules.accuracy:.1%} of the time for "
            f"${rules.cost_usd:.6f} a call, and the router {router.accuracy:.1%} for "
            f"${router.cost_usd:.6f}"
        )


def _net(route: Route, value_usd: float) -> float:
    """What a call brings, in USD: right answers at their worth, less the cost."""
    return value_usd * route.accuracy - route.cost_usd


@dataclass(frozen=True, slots=True)
class _Table:
    """The labels and costs as arrays: a row a query, a column a tier."""

    tiers: tuple[str, ...]
    correct: Floats
    costs: Floats

    @classmethod
    def of(cls, examples: Examples) -> _Table:
        import numpy as np

        return cls(
            examples.tiers,
            np.asarray(examples.correct, dtype=float),
            np.asarray(examples.costs_usd, dtype=float),
        )

    def costs_alike(self) -> bool:
        """Whether every tier costs the same, as free ones do."""
        costs = self.costs.mean(axis=0)
        return bool((costs == costs[0]).all())

    def best(self, chances: Floats, value_usd: float) -> Ints:
        """The tier chosen for each query, by the rule of `LearnedRouter`."""
        worth: Any = value_usd * chances - self.costs.mean(axis=0)
        return worth.argmax(axis=1)  # type: ignore[no-any-return]

    def value(self, chances: Floats, target: Target) -> float:
        """The value of a right answer: as asked for, or the least that recovers enough."""
        if target.value_usd is not None:
            return target.value_usd
        cheap, strong = self.correct[:, 0].mean(), self.correct[:, -1].mean()
        wanted = cheap + target.recover * (strong - cheap)
        dearest = float(self.costs.mean(axis=0).max())
        value = dearest
        for worth in _WORTHS:
            value = worth * dearest
            if self.route("", self.best(chances, value)).accuracy >= wanted:
                break
        return value

    def route(self, name: str, places: Sequence[int] | Ints) -> Route:
        import numpy as np

        chosen = np.asarray(places)
        rows = np.arange(len(chosen))
        cost = float(self.costs[rows, chosen].mean())
        return Route(
            name,
            float(self.correct[rows, chosen].mean()),
            cost,
            {tier: float((chosen == n).mean()) for n, tier in enumerate(self.tiers)},
            self._mixture(cost),
        )

    def at_share(self, gains: Floats, share: float) -> Route:
        """The strongest tier for the share that promises most, the cheapest for the rest."""
        import numpy as np

        places = np.zeros(len(gains), dtype=int)
        places[np.argsort(-gains, kind="stable")[: round(share * len(gains))]] = len(self.tiers) - 1
        return self.route(f"{share:.0%} to {self.tiers[-1]}", places)

    def _ends(self) -> tuple[float, float, float, float]:
        costs, correct = self.costs.mean(axis=0), self.correct.mean(axis=0)
        return float(costs[0]), float(costs[-1]), float(correct[0]), float(correct[-1])

    def _mixture(self, cost_usd: float) -> float:
        """How often a random mix is right for that money."""
        cheap, dear, low, high = self._ends()
        share = (cost_usd - cheap) / (dear - cheap) if dear > cheap else math.nan
        return low + share * (high - low) if -1e-9 <= share <= 1 + 1e-9 else math.nan

    def mixture_cost(self, accuracy: float) -> float:
        """What a random mix costs that is right as often."""
        cheap, dear, low, high = self._ends()
        return cheap + (accuracy - low) / (high - low) * (dear - cheap)


def _calibration_error(chances: Floats, correct: Floats, groups: int = 10) -> float:
    """The mean distance between what was promised and what came, over groups of equal size."""
    import numpy as np

    order = np.argsort(chances, kind="stable")
    parts = [part for part in np.array_split(order, groups) if len(part)]
    return float(
        sum(len(p) * abs(chances[p].mean() - correct[p].mean()) for p in parts) / len(chances)
    )
