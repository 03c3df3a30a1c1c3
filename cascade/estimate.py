"""What a month of traffic costs with a cascade and without: arithmetic on stated assumptions.

For one kind of call, with `own` what asking a rung costs (its tokens and its validators) and
`accepted` the share of the answers it gives that are accepted:

    expected = own + (1 - accepted) x expected of the rungs above

A rung pays iff `accepted x expected of the rungs above > own`, so its break-even acceptance is
`own / expected of the rungs above`; right below the strongest tier that is
`(cheap + validators) / strong`. Money, shares and acceptances are exact decimals; only the ratios
that are derived from them (rates, break-evens) are rounded, to 28 digits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from itertools import combinations
from typing import Final, NamedTuple

from cascade.scenario import Kind, PricedTier, Scenario, exactly

__all__ = [
    "Cell",
    "Estimate",
    "Kind",
    "PricedTier",
    "Scenario",
    "TierFigures",
    "Variant",
    "Wait",
    "estimate",
]

_RATIO: Final = Context(prec=28)
_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)
_POINTS: Final = (Decimal("-0.10"), _ZERO, Decimal("0.10"))


class Cell(NamedTuple):
    """One kind of call on one rung, in a month.

    `asked` and `accepted` count calls; `cost_usd` is all it costs there; `above_usd` what all the
    calls that are asked here would cost on the rungs above, and `avoided_usd` the part of that
    which the accepted ones do not cost.
    """

    kind: str
    tier: str
    asked: Decimal
    accepted: Decimal
    cost_usd: Decimal
    above_usd: Decimal
    avoided_usd: Decimal

    @property
    def break_even(self) -> Decimal | None:
        """The acceptance from which on the rung pays. None: nothing above costs anything."""
        return _ratio(self.cost_usd, self.above_usd)

    @property
    def pays(self) -> bool:
        """Whether the rung avoids more than it costs."""
        return self.avoided_usd > self.cost_usd


class TierFigures(NamedTuple):
    """One rung in a month, all kinds together.

    `break_even` and `break_even_alone` are acceptances that would do if all kinds were accepted
    alike: above this rung stands the rest of the ladder, or the strongest tier alone. None: for
    the strongest tier, or where nothing above costs anything.
    """

    total: Cell
    break_even: Decimal | None
    break_even_alone: Decimal | None

    @property
    def acceptance(self) -> Decimal | None:
        """Accepted of asked. None: never asked."""
        return _ratio(self.total.accepted, self.total.asked)


class Wait(NamedTuple):
    """What calls that end on a rung wait: its share of the calls, seconds, and seconds more (or
    less) than the strongest tier alone takes. Medians, added up."""

    tier: str
    share: Decimal
    latency_s: Decimal
    added_s: Decimal


class Variant(NamedTuple):
    """The month, were every acceptance below the strongest tier `points` higher (0..1 still)."""

    points: Decimal
    cost_usd: Decimal
    saving_usd: Decimal
    escalation_rate: Decimal


@dataclass(frozen=True, slots=True)
class Estimate:
    """A month, computed. Money in USD.

    Attributes:
        scenario: what it was computed from.
        cells: each kind on each rung.
        tiers: each rung.
        cost_usd: the month with the cascade.
        alone_usd: the month with everything on one tier, without validators, by tier.
        saving_usd: against everything on the strongest tier; below 0 when the cascade costs more.
        escalation_rate: the share of calls that go on to a second rung.
        worth_from_calls: calls a month from which on the saving reaches `worth_usd`. None: never.
        best_ladder: the rungs of the ladder that is cheapest for all kinds together.
        best_usd: the month with it.
        best_by_kind: the cheapest rungs for each kind, which rules can give it.
        best_by_kind_usd: the month with those.
        waits: latencies by the rung that answers. Empty when a tier's is unknown.
        sensitivity: the month at other acceptances.
    """

    scenario: Scenario
    cells: tuple[Cell, ...]
    tiers: tuple[TierFigures, ...]
    cost_usd: Decimal
    alone_usd: Mapping[str, Decimal]
    saving_usd: Decimal
    escalation_rate: Decimal
    worth_from_calls: int | None
    best_ladder: tuple[str, ...]
    best_usd: Decimal
    best_by_kind: Mapping[str, tuple[str, ...]]
    best_by_kind_usd: Decimal
    waits: tuple[Wait, ...]
    sensitivity: tuple[Variant, ...]

    @property
    def strongest(self) -> str:
        """The tier that everything goes to without a cascade."""
        return self.scenario.tiers[-1].name

    @property
    def now_usd(self) -> Decimal:
        """The month with everything on the strongest tier."""
        return self.alone_usd[self.strongest]

    @property
    def saving_share(self) -> Decimal | None:
        """Of what the strongest tier alone costs. None: that is nothing."""
        return _ratio(self.saving_usd, self.now_usd)

    @property
    def worth_it(self) -> bool:
        """Whether the saving is above 0 and reaches `worth_usd`."""
        return self.saving_usd > 0 and self.saving_usd >= self.scenario.worth_usd

    def kind_usd(self, kind: str) -> Decimal:
        """The month's calls of one kind with the cascade."""
        with exactly():
            return sum((cell.cost_usd for cell in self.cells if cell.kind == kind), _ZERO)

    def kind_now_usd(self, kind: str) -> Decimal:
        """The month's calls of one kind on the strongest tier."""
        found = next(one for one in self.scenario.kinds if one.name == kind)
        with exactly():
            return self.scenario.calls * found.share * self.scenario.tiers[-1].call_usd(found)


def estimate(scenario: Scenario) -> Estimate:
    """What a month costs with the cascade and without, and what would make it cheaper.

    Raises:
        ConfigError: the numbers have so many digits that their products cannot be kept exactly.
    """
    with exactly():
        tiers = scenario.tiers
        cells = [cell for kind in scenario.kinds for cell in _cells(kind, scenario.calls, tiers)]
        alone = {tier.name: _alone_usd(scenario, tier) for tier in tiers}
        month = _variant(scenario, alone[tiers[-1].name], _ZERO)
        best, best_usd = _best_ladder(scenario)
        by_kind = {kind.name: _best_for(kind, tiers) for kind in scenario.kinds}
        figures = tuple(_tier_figures(scenario, cells, tier) for tier in tiers)
        return Estimate(
            scenario=scenario,
            cells=tuple(cells),
            tiers=figures,
            cost_usd=month.cost_usd,
            alone_usd=alone,
            saving_usd=month.saving_usd,
            escalation_rate=month.escalation_rate,
            worth_from_calls=_worth_from(scenario, month.saving_usd),
            best_ladder=_names(best),
            best_usd=best_usd,
            best_by_kind={name: _names(chosen) for name, chosen in by_kind.items()},
            best_by_kind_usd=_month_usd(scenario, by_kind),
            waits=_waits(scenario, figures),
            sensitivity=tuple(
                _variant(scenario, alone[tiers[-1].name], points) for points in _POINTS
            ),
        )


def _expected_usd(kind: Kind, tiers: Sequence[PricedTier]) -> Decimal:
    """What one call of that kind is expected to cost on a ladder."""
    expected = _ZERO
    for tier in reversed(tiers):
        # Above the last rung is nothing, so what it leaves unaccepted costs nothing more.
        expected = tier.own_usd(kind) + (_ONE - kind.acceptance.get(tier.name, _ONE)) * expected
    return expected


def _month_usd(scenario: Scenario, ladders: Mapping[str, Sequence[PricedTier]]) -> Decimal:
    """The month with a ladder for each kind."""
    return sum(
        (scenario.calls * k.share * _expected_usd(k, ladders[k.name]) for k in scenario.kinds),
        _ZERO,
    )


def _alone_usd(scenario: Scenario, tier: PricedTier) -> Decimal:
    return sum((scenario.calls * k.share * tier.call_usd(k) for k in scenario.kinds), _ZERO)


def _cells(kind: Kind, calls: Decimal, tiers: Sequence[PricedTier]) -> Iterator[Cell]:
    asked = calls * kind.share
    for place, tier in enumerate(tiers):
        above = tiers[place + 1 :]
        accepted = asked * kind.acceptance[tier.name] if above else asked
        above_usd = _expected_usd(kind, above)
        cost = asked * tier.own_usd(kind)
        yield Cell(
            kind.name, tier.name, asked, accepted, cost, asked * above_usd, accepted * above_usd
        )
        asked -= accepted


def _tier_figures(scenario: Scenario, cells: Iterable[Cell], tier: PricedTier) -> TierFigures:
    own = [cell for cell in cells if cell.tier == tier.name]
    sums = (sum(column, _ZERO) for column in zip(*(cell[2:] for cell in own), strict=True))
    total = Cell("", tier.name, *sums)
    strongest = scenario.tiers[-1]
    if tier is strongest:
        return TierFigures(total, None, None)
    judged = sum((scenario.calls * k.share * tier.own_usd(k) for k in scenario.kinds), _ZERO)
    return TierFigures(total, total.break_even, _ratio(judged, _alone_usd(scenario, strongest)))


def _variant(scenario: Scenario, now_usd: Decimal, points: Decimal) -> Variant:
    kinds = tuple(
        replace(kind, acceptance=_moved(kind.acceptance, points)) for kind in scenario.kinds
    )
    cost = _month_usd(replace(scenario, kinds=kinds), {kind.name: scenario.tiers for kind in kinds})
    first = scenario.tiers[0].name
    escalated = sum((k.share * (_ONE - k.acceptance.get(first, _ONE)) for k in kinds), _ZERO)
    return Variant(points, cost, now_usd - cost, escalated)


def _moved(acceptance: Mapping[str, Decimal], points: Decimal) -> dict[str, Decimal]:
    return {tier: min(_ONE, max(_ZERO, share + points)) for tier, share in acceptance.items()}


def _best_ladder(scenario: Scenario) -> tuple[tuple[PricedTier, ...], Decimal]:
    """The cheapest ladder with the strongest tier on top; of equals the one with fewest rungs."""
    *lower, strongest = scenario.tiers
    ladders = [
        (*chosen, strongest)
        for count in range(len(lower) + 1)
        for chosen in combinations(lower, count)
    ]
    costs = [_month_usd(scenario, {k.name: ladder for k in scenario.kinds}) for ladder in ladders]
    cheapest = min(range(len(ladders)), key=costs.__getitem__)
    return ladders[cheapest], costs[cheapest]


def _best_for(kind: Kind, tiers: Sequence[PricedTier]) -> tuple[PricedTier, ...]:
    """The cheapest ladder for one kind. From the top, each rung either pays or does not."""
    chosen: tuple[PricedTier, ...] = (tiers[-1],)
    for tier in reversed(tiers[:-1]):
        if kind.acceptance[tier.name] * _expected_usd(kind, chosen) > tier.own_usd(kind):
            chosen = (tier, *chosen)
    return chosen


def _waits(scenario: Scenario, figures: Sequence[TierFigures]) -> tuple[Wait, ...]:
    latencies = [tier.latency_s for tier in scenario.tiers if tier.latency_s is not None]
    if len(latencies) < len(scenario.tiers):
        return ()
    waits: list[Wait] = []
    waited = _ZERO
    for tier, latency_s in zip(figures, latencies, strict=True):
        waited += latency_s
        share = _RATIO.divide(tier.total.accepted, scenario.calls)
        waits.append(Wait(tier.total.tier, share, waited, waited - latencies[-1]))
    return tuple(waits)


def _worth_from(scenario: Scenario, saving_usd: Decimal) -> int | None:
    if saving_usd <= 0:
        return None
    calls = _RATIO.divide(scenario.worth_usd, _RATIO.divide(saving_usd, scenario.calls))
    return max(1, math.ceil(calls))


def _names(tiers: Iterable[PricedTier]) -> tuple[str, ...]:
    return tuple(tier.name for tier in tiers)


def _ratio(part: Decimal, whole: Decimal) -> Decimal | None:
    return _RATIO.divide(part, whole) if whole else None
