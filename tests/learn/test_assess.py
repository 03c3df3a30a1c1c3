"""Whether a learned router is worth it, beside rules and for the money."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cascade import ConfigError
from cascade.learn.assess import Assessment, Target, assess, out_of_fold
from tests.learn.support import examples

EXAMPLES = examples(200)
HELD_OUT = out_of_fold(EXAMPLES)


def beside(rules: list[str], value_usd: float = 0.05) -> Assessment:
    return assess(EXAMPLES, HELD_OUT, Target(value_usd=value_usd), rules=rules)


def test_rules_that_bring_more_speak_against_it_even_if_they_cost_more() -> None:
    """They know the answers, and take the large tier once more than they have to."""
    perfect = ["small" if small else "large" for small, _ in EXAMPLES.correct]
    waste = perfect.index("small")
    found = beside([*perfect[:waste], "large", *perfect[waste + 1 :]])
    assert found.router.cost_usd < found.others[-1].cost_usd
    assert not found.is_worth_it
    assert found.against[0].startswith("the rules do as well: right ")


def test_of_tiers_that_cost_the_same_the_strongest_is_as_cheap() -> None:
    free = replace(EXAMPLES, costs_usd=((0.0, 0.0),) * len(EXAMPLES))
    found = assess(free, HELD_OUT, Target())
    assert found.against == (
        "the tiers cost the same, so there is nothing to save; use 'large' alone",
    )


@pytest.mark.parametrize(("count", "doubled", "left"), [(62, 0, 49), (70, 20, 40), (63, 0, None)])
def test_every_fold_needs_enough_to_learn_from(count: int, doubled: int, left: int | None) -> None:
    """What says the same stands in one fold, which leaves the others fewer."""
    some = EXAMPLES.take(range(count))
    some = replace(some, texts=(*["the same"] * doubled, *some.texts[doubled:]))
    if left is None:
        assert len(out_of_fold(some).chances) == count
        return
    message = f"^{count} queries are too few: .* which are {left} here and have to be 50; give 63 "
    with pytest.raises(ConfigError, match=message):
        out_of_fold(some)


def test_rules_that_bring_less_do_not() -> None:
    assert beside(["large"] * len(EXAMPLES)).is_worth_it
    assert beside(["small"] * len(EXAMPLES)).is_worth_it
