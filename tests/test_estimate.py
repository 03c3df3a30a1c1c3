"""The arithmetic of an estimate: the worked example by hand, and the laws that hold for any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.errors import ConfigError
from cascade.estimate import Kind, PricedTier, Scenario, estimate
from cascade.types import Price

D = Decimal

SMALL = PricedTier("small", Price(input="0.05", output="0.40"), latency_s=D("0.3"))
MEDIUM = PricedTier("medium", Price(input="0.40", output="1.60"), latency_s=D("0.7"))
LARGE = PricedTier("large", Price(input="3.00", output="15.00"), latency_s=D("1.6"))

LOOKUPS = Kind("lookups", D("0.70"), D(500), D(100), {"small": D("0.80"), "medium": D("0.90")})
DRAFTING = Kind("drafting", D("0.25"), D(1000), D(400), {"small": D("0.50"), "medium": D("0.80")})
HARD = Kind("hard", D("0.05"), D(2000), D(800), {"small": D("0.10"), "medium": D("0.50")})

EXAMPLE = Scenario(
    calls=D(500_000),
    kinds=(LOOKUPS, DRAFTING, HARD),
    tiers=(SMALL, MEDIUM, LARGE),
    worth_usd=D(500),
)


def one_kind(
    acceptance: Sequence[str | Decimal], tiers: Sequence[PricedTier], calls: int = 1000
) -> Scenario:
    """Calls of a million input tokens, so that one costs what the tier's price says."""
    lower = [tier.name for tier in tiers[:-1]]
    accepted = dict(zip(lower, map(D, acceptance), strict=True))
    return Scenario(D(calls), (Kind("all", D(1), D(10**6), D(0), accepted),), tuple(tiers), D(0))


def tier(name: str, usd: str | Decimal, validators_usd: str | Decimal = "0") -> PricedTier:
    return PricedTier(name, Price(input=D(usd), output=0), D(validators_usd))


def test_the_worked_example_by_hand() -> None:
    found = estimate(EXAMPLE)

    # One call, in millionths of a dollar: input tokens x price + output tokens x price.
    #            small                    medium                    large
    # lookups    500x0.05 + 100x0.4 =  65    500x0.4 + 100x1.6 =  360    500x3 + 100x15 =  3,000
    # drafting  1000x0.05 + 400x0.4 = 210   1000x0.4 + 400x1.6 = 1,040  1000x3 + 400x15 =  9,000
    # hard      2000x0.05 + 800x0.4 = 420   2000x0.4 + 800x1.6 = 2,080  2000x3 + 800x15 = 18,000
    per_call = [[tier.call_usd(kind) * 10**6 for tier in EXAMPLE.tiers] for kind in EXAMPLE.kinds]
    assert per_call == [[65, 360, 3_000], [210, 1_040, 9_000], [420, 2_080, 18_000]]

    # Calls asked on each tier: 80, 50, 10 % stay on small, then 90, 80, 50 % on medium.
    # lookups   350,000   x 0.2 = 70,000   x 0.1 =  7,000
    # drafting  125,000   x 0.5 = 62,500   x 0.2 = 12,500
    # hard       25,000   x 0.9 = 22,500   x 0.5 = 11,250
    asked = [cell.asked for cell in found.cells]
    assert asked == [350_000, 70_000, 7_000, 125_000, 62_500, 12_500, 25_000, 22_500, 11_250]

    # Dollars: asked x cost of a call.
    # lookups   350,000 x  65 = 22.75    70,000 x   360 = 25.20     7,000 x  3,000 =  21.00
    # drafting  125,000 x 210 = 26.25    62,500 x 1,040 = 65.00    12,500 x  9,000 = 112.50
    # hard       25,000 x 420 = 10.50    22,500 x 2,080 = 46.80    11,250 x 18,000 = 202.50
    # together                  59.50                    137.00                      336.00
    dollars = [cell.cost_usd for cell in found.cells]
    assert dollars == [
        *(D("22.75"), D("25.20"), D("21.00")),
        *(D("26.25"), D("65.00"), D("112.50")),
        *(D("10.50"), D("46.80"), D("202.50")),
    ]
    assert [one.total.cost_usd for one in found.tiers] == [D("59.50"), D("137.00"), D("336.00")]
    assert [found.kind_usd(kind.name) for kind in EXAMPLE.kinds] == [
        *(D("68.95"), D("203.75"), D("259.80")),
    ]
    # 68.95 + 203.75 + 259.80 = 59.50 + 137 + 336 = 532.50
    assert found.cost_usd == D("532.50")

    # All on large: 350,000 x 3,000 + 125,000 x 9,000 + 25,000 x 18,000 = 1,050 + 1,125 + 450
    assert [found.kind_now_usd(kind.name) for kind in EXAMPLE.kinds] == [1050, 1125, 450]
    assert found.now_usd == 2625
    # All on small 22.75 + 26.25 + 10.50; all on medium 126 + 130 + 52.
    assert found.alone_usd == {"small": D("59.50"), "medium": 308, "large": 2625}
    # 2,625 - 532.50 = 2,092.50, which is 79.71 % of 2,625
    assert found.saving_usd == D("2092.50")
    assert round(found.saving_share or 0, 4) == D("0.7971")
    # 0.70 x 0.20 + 0.25 x 0.50 + 0.05 x 0.90 = 0.14 + 0.125 + 0.045
    assert found.escalation_rate == D("0.31")
    # 500 / (2,092.50 / 500,000) = 119,474.3
    assert (found.worth_it, found.worth_from_calls) == (True, 119_475)


def test_the_break_evens_of_the_worked_example_by_hand() -> None:
    small, medium, large = estimate(EXAMPLE).tiers
    # Right below large: all calls on small (59.50) or medium (308) / all calls on large (2,625).
    assert round(small.break_even_alone or 0, 4) == D("0.0227")
    assert round(medium.break_even_alone or 0, 4) == D("0.1173")
    # In the ladder, small has medium above it. One call that small does not answer costs there
    # lookups 360 + 0.1 x 3,000 = 660; drafting 1,040 + 0.2 x 9,000 = 2,840; hard 2,080 + 0.5 x
    # 18,000 = 11,080. All calls: 231 + 355 + 277 = 863 dollars. 59.50 / 863 = 0.0689
    assert small.total.above_usd == 863
    assert round(small.break_even or 0, 4) == D("0.0689")
    # What small's accepted calls avoid: 0.8 x 231 + 0.5 x 355 + 0.1 x 277 = 390
    assert small.total.avoided_usd == 390
    # Medium's 70,000, 62,500 and 22,500 calls on large: 210 + 562.50 + 405 = 1,177.50;
    # 137 / 1,177.50 = 0.1163
    assert medium.total.above_usd == D("1177.50")
    assert round(medium.break_even or 0, 4) == D("0.1163")
    assert (large.break_even, large.break_even_alone) == (None, None)


def test_the_waits_and_other_acceptances_of_the_worked_example_by_hand() -> None:
    found = estimate(EXAMPLE)
    # Accepted on small 280,000 + 62,500 + 2,500 = 345,000; on medium 63,000 + 50,000 + 11,250
    # = 124,250; the other 30,750 on large, after 0.3 + 0.7 + 1.6 = 2.6 s instead of 1.6.
    assert [tuple(wait) for wait in found.waits] == [
        ("small", D("0.690"), D("0.3"), D("-1.3")),
        ("medium", D("0.2485"), D("1.0"), D("-0.6")),
        ("large", D("0.0615"), D("2.6"), D("1.0")),
    ]
    # Ten points less: lookups 65 + 0.3 x 360 + 0.06 x 3,000 = 353; drafting 210 + 0.6 x 1,040 +
    # 0.18 x 9,000 = 2,454; hard 420 + 1 x 2,080 + 0.6 x 18,000 = 13,300:
    # 123.55 + 306.75 + 332.50 = 762.80
    # Ten points more: lookups 65 + 0.1 x 360 = 101; drafting 210 + 0.4 x 1,040 + 0.04 x 9,000
    # = 986; hard 420 + 0.8 x 2,080 + 0.32 x 18,000 = 7,844: 35.35 + 123.25 + 196.10 = 354.70
    costs = {one.points: one.cost_usd for one in found.sensitivity}
    assert costs == {D("-0.1"): D("762.80"), D(0): D("532.50"), D("0.1"): D("354.70")}
    assert [one.escalation_rate for one in found.sensitivity] == [D("0.41"), D("0.31"), D("0.21")]


def test_without_a_latency_no_wait_is_made_up() -> None:
    tiers = (SMALL, replace(MEDIUM, latency_s=None), LARGE)
    assert estimate(replace(EXAMPLE, tiers=tiers)).waits == ()


def test_a_rung_in_the_middle_that_does_not_pay_is_found() -> None:
    # Of what reaches medium 5 % is accepted: 0.05 x 10 avoided, 4 paid.
    found = estimate(one_kind(["0.6", "0.05"], [tier("s", "1"), tier("m", "4"), tier("l", "10")]))
    assert [one.total.pays for one in found.tiers] == [True, False, False]
    # 1 + 0.4 x (4 + 0.95 x 10) = 6.4; without medium 1 + 0.4 x 10 = 5.
    assert (found.cost_usd, found.best_usd) == (D(6400), D(5000))
    assert found.best_ladder == ("s", "l")
    assert found.tiers[1].break_even == D("0.4")


def test_a_small_tier_that_is_nearly_always_wrong_is_not_worth_it() -> None:
    found = estimate(one_kind(["0.05"], [tier("s", "1", "0.5"), tier("l", "10")]))
    assert found.tiers[0].break_even == found.tiers[0].break_even_alone == D("0.15")
    assert (found.saving_usd, found.worth_it, found.worth_from_calls) == (D(-1000), False, None)
    assert found.best_ladder == ("l",)


def test_rules_may_give_a_kind_its_own_rungs() -> None:
    hopeless = replace(HARD, acceptance={"small": D(0), "medium": D("0.5")})
    found = estimate(replace(EXAMPLE, kinds=(LOOKUPS, DRAFTING, hopeless)))
    assert found.best_ladder == ("small", "medium", "large")
    assert found.best_by_kind["hard"] == ("medium", "large")
    assert found.best_by_kind["lookups"] == ("small", "medium", "large")
    # All that small costs for them: 25,000 x 420 millionths.
    assert found.best_usd - found.best_by_kind_usd == D("10.50")


def test_one_tier_alone_is_no_cascade() -> None:
    found = estimate(one_kind([], [tier("l", "10")]))
    assert (found.cost_usd, found.saving_usd) == (D(10_000), D(0))
    assert found.escalation_rate == 0
    assert not found.worth_it


def test_a_free_ladder_has_no_ratios() -> None:
    found = estimate(one_kind(["0.5"], [tier("s", "0"), tier("l", "0")]))
    assert (found.saving_share, found.tiers[0].break_even) == (None, None)


def test_a_kind_that_does_not_occur_changes_nothing() -> None:
    never = Kind("never", D(0), D(1), D(1), {"small": D(0), "medium": D(0)})
    found = estimate(replace(EXAMPLE, kinds=(*EXAMPLE.kinds, never)))
    assert found.cost_usd == D("532.50")
    assert found.cells[-1].break_even is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kinds": (LOOKUPS, DRAFTING)}, "the shares add up to 0.95, not to 1: lookups 0.70"),
        ({"kinds": ()}, "there are no kinds of call"),
        ({"tiers": ()}, "there are no tiers"),
        ({"kinds": (LOOKUPS, LOOKUPS, HARD)}, "kinds of call: 'lookups' is there twice"),
        ({"calls": D(0)}, "calls is 0; give a number above 0"),
        ({"calls": D("NaN")}, "calls is NaN; give a number above 0"),
        ({"worth_usd": D(-1)}, "worth_usd is -1; give 0 or more"),
        ({"tiers": (replace(SMALL, validators_usd=D(-1)), MEDIUM, LARGE)}, "'small': validators"),
        ({"tiers": (replace(SMALL, latency_s=D(0)), MEDIUM, LARGE)}, "'small': latency_s is 0"),
        ({"tiers": (SMALL, LARGE)}, "acceptance names the tier 'medium'; known: 'large', 'small'"),
        ({"tiers": (SMALL, MEDIUM)}, "'medium', the strongest tier, where it changes no cost"),
        ({"tiers": (SMALL, MEDIUM, tier("x", "1"), LARGE)}, "of tier 'x' is not known"),
        ({"tiers": tuple(tier(str(n), "1") for n in range(11))}, "there are 11 tiers"),
        ({"kinds": (replace(LOOKUPS, share=D(1), input_tokens=D(-1)),)}, "input_tokens is -1"),
        ({"kinds": (replace(LOOKUPS, share=D("1.5")),)}, "share is 1.5; give 0 to 1"),
        (
            {"kinds": (replace(LOOKUPS, acceptance={"small": D(2), "medium": D(1)}),)},
            "acceptance of 'small' is 2; give 0 to 1",
        ),
    ],
)
def test_a_mistake_is_named_with_its_mend(change: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        replace(EXAMPLE, **change)  # type: ignore[arg-type]


def test_numbers_too_long_to_be_exact_are_refused() -> None:
    third = Decimal("0." + "3" * 300)
    lookups = replace(LOOKUPS, share=D(1), acceptance={"small": third, "medium": third})
    with pytest.raises(ConfigError, match="too many digits"):
        estimate(replace(EXAMPLE, kinds=(lookups,)))


# Laws

shares = st.decimals(0, 1, places=3)
money = st.decimals(0, 100, places=4)
above_zero = st.decimals("0.0001", 100, places=4)
tokens = st.decimals(0, 10_000, places=2)


@st.composite
def scenarios(draw: st.DrawFn, least_tiers: int = 1) -> Scenario:
    count = draw(st.integers(least_tiers, 4))
    tiers = tuple(
        PricedTier(f"t{n}", Price(input=draw(money), output=draw(money)), draw(money))
        for n in range(count)
    )
    cuts = sorted(draw(st.lists(shares, max_size=2)))
    parts = [b - a for a, b in zip([D(0), *cuts], [*cuts, D(1)], strict=True)]
    kinds = tuple(
        Kind(
            f"k{n}",
            part,
            draw(tokens),
            draw(tokens),
            {one.name: draw(shares) for one in tiers[:-1]},
        )
        for n, part in enumerate(parts)
    )
    return Scenario(D(draw(st.integers(1, 10**9))), kinds, tiers, draw(money))


@given(scenarios(), st.integers(2, 1000))
def test_cost_is_linear_in_volume(scenario: Scenario, times: int) -> None:
    once, more = estimate(scenario), estimate(replace(scenario, calls=scenario.calls * times))
    assert more.cost_usd == Fraction(once.cost_usd) * times
    assert more.saving_usd == Fraction(once.saving_usd) * times
    assert more.escalation_rate == once.escalation_rate


@given(scenarios())
def test_kinds_and_tiers_add_up_to_the_total_exactly(scenario: Scenario) -> None:
    found = estimate(scenario)
    assert found.cost_usd == exactly(found.kind_usd(kind.name) for kind in scenario.kinds)
    assert found.cost_usd == exactly(one.total.cost_usd for one in found.tiers)
    assert found.now_usd == exactly(found.kind_now_usd(kind.name) for kind in scenario.kinds)
    assert scenario.calls == exactly(one.total.accepted for one in found.tiers)
    assert found.now_usd == exactly((found.cost_usd, found.saving_usd))


@given(scenarios(least_tiers=2))
def test_accepted_at_once_costs_the_first_tier_and_its_validators(scenario: Scenario) -> None:
    first = scenario.tiers[0]
    kinds = tuple(
        replace(kind, acceptance={**kind.acceptance, first.name: D(1)}) for kind in scenario.kinds
    )
    found = estimate(replace(scenario, kinds=kinds))
    judging = scenario.calls * first.validators_usd
    assert found.cost_usd == exactly((found.alone_usd[first.name], judging))
    assert found.escalation_rate == 0


@given(scenarios())
def test_never_accepted_below_costs_every_tier(scenario: Scenario) -> None:
    kinds = tuple(
        replace(kind, acceptance=dict.fromkeys(kind.acceptance, D(0))) for kind in scenario.kinds
    )
    found = estimate(replace(scenario, kinds=kinds))
    judging = (scenario.calls * one.validators_usd for one in scenario.tiers)
    assert found.cost_usd == exactly((*found.alone_usd.values(), *judging))


@given(above_zero, st.decimals("0.001", 1, places=3), shares)
def test_at_break_even_it_costs_as_much_as_the_strongest_alone(
    strong: Decimal, acceptance: Decimal, judged: Decimal
) -> None:
    # (cheap + validators) / strong is the acceptance, whatever part of it goes to validators.
    own = acceptance * strong
    cheap = tier("cheap", own * (1 - judged), own * judged)
    found = estimate(one_kind([acceptance], [cheap, tier("strong", strong)]))
    assert found.tiers[0].break_even == found.tiers[0].break_even_alone == acceptance
    assert (found.saving_usd, found.worth_it) == (D(0), False)
    assert not found.tiers[0].total.pays


@given(scenarios(least_tiers=2))
def test_a_rung_pays_if_and_only_if_the_ladder_is_dearer_without_it(scenario: Scenario) -> None:
    found = estimate(scenario)
    for figures in found.tiers[:-1]:
        rest = [one for one in scenario.tiers if one.name != figures.total.tier]
        gain = month(scenario, rest) - Fraction(found.cost_usd)
        total = figures.total
        assert gain == Fraction(total.avoided_usd) - Fraction(total.cost_usd)
        assert total.pays == (gain > 0)


@given(scenarios())
def test_no_ladder_is_cheaper_than_the_best(scenario: Scenario) -> None:
    found = estimate(scenario)
    *lower, strongest = scenario.tiers
    ladders = [[*some, strongest] for n in range(len(lower) + 1) for some in combinations(lower, n)]
    assert found.best_usd == min(month(scenario, ladder) for ladder in ladders)
    assert found.best_by_kind_usd == sum(
        min(month_of(scenario, kind, ladder) for ladder in ladders) for kind in scenario.kinds
    )


@given(scenarios())
def test_more_acceptance_escalates_less(scenario: Scenario) -> None:
    rates = [one.escalation_rate for one in estimate(scenario).sensitivity]
    assert rates == sorted(rates, reverse=True)


def exactly(amounts: Iterable[Decimal]) -> Fraction:
    """The sum, where decimals of more than 28 digits would be rounded."""
    return sum(map(Fraction, amounts), Fraction(0))


def month(scenario: Scenario, ladder: Sequence[PricedTier]) -> Fraction:
    """What a month costs on a ladder, a call at a time down the rungs."""
    return sum((month_of(scenario, kind, ladder) for kind in scenario.kinds), Fraction(0))


def month_of(scenario: Scenario, kind: Kind, ladder: Sequence[PricedTier]) -> Fraction:
    calls, cost = Fraction(scenario.calls) * Fraction(kind.share), Fraction(0)
    for one in ladder:
        cost += calls * Fraction(one.own_usd(kind))
        calls *= 1 - Fraction(kind.acceptance.get(one.name, D(1)))
    return cost
