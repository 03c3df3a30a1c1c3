"""Whether a learned router is worth it, beside rules."""

from __future__ import annotations

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


def test_rules_that_bring_less_do_not() -> None:
    assert beside(["large"] * len(EXAMPLES)).is_worth_it
    assert beside(["small"] * len(EXAMPLES)).is_worth_it
