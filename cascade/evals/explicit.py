"""Policies by hand: a fixed ladder that accepts an answer when a signal is at a threshold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from cascade.errors import ConfigError
from cascade.evals.runs import Bools, Runs
from cascade.policy import HINGES, AnswerModel, Feature, NextTier, Policy, StateModel
from cascade.routing import Plan, Rung
from cascade.validation import Check, Validator

__all__ = ["ByPlan", "ladder_policy", "plan_policy", "read_thresholds", "thresholds_in"]

_ACCEPTED: Final = "accepted"
"""The signal that stands for all thresholds of a rung."""

_NEVER: Final = -100.0
"""The weight of a missing signal: abstaining is not passing."""


def read_thresholds(texts: Sequence[str], ladder: Sequence[str]) -> dict[str, tuple[str, float]]:
    """`signal=0.9` for every tier but the last, `tier:signal=0.9` for one; by tier.

    Raises:
        ConfigError: a text is none of these, or a tier has two thresholds or none.
    """
    found: dict[str, tuple[str, float]] = {}
    for text in sorted(texts, key=lambda text: ":" not in text):
        left, _, number = text.rpartition("=")
        tier, _, signal = left.rpartition(":")
        try:
            value = float(number)
        except ValueError:
            value = float("nan")
        if not signal or np.isnan(value):
            raise ConfigError(
                f"the threshold {text!r} is not understood; write signal=0.9, or tier:signal=0.9"
            )
        if tier and tier not in ladder[:-1]:
            raise ConfigError(
                f"the threshold {text!r} is for no rung that has another after it; those are "
                f"{', '.join(ladder[:-1]) or 'none'}"
            )
        if tier in found:
            raise ConfigError(f"the tier {tier!r} has two thresholds; a rung goes by one signal")
        targets = [tier] if tier else [other for other in ladder[:-1] if other not in found]
        found.update(dict.fromkeys(targets, (signal, value)))
    if bare := [tier for tier in ladder[:-1] if tier not in found]:
        raise ConfigError(
            f"the tier {', '.join(bare)} has no threshold; add --threshold signal=0.9"
        )
    return found


def ladder_policy(
    runs: Runs, ladder: Sequence[str], thresholds: Mapping[str, tuple[str, float]]
) -> Policy:
    """Accept a rung's answer if its signal is at the threshold and its schema is right.

    The last rung's answer is accepted as it is: it is what the others fall back on. A missing
    signal escalates.

    Args:
        runs: for the mean costs.
        ladder: the tiers, in the order in which they are asked; the last is the strong one.
        thresholds: signal and lowest accepted value, by tier.
    """
    cost = np.average(runs.cost_usd, axis=0, weights=runs.weights)
    states: dict[str, StateModel] = {}
    for i, tier in enumerate(ladder):
        name = ">".join(ladder[: i + 1])
        if i == len(ladder) - 1:
            states[name] = StateModel((), {tier: AnswerModel({"": [0.0]})}, {})
            continue
        signal, value = thresholds[tier]
        features = (Feature(tier, "number", signal, mean=value), Feature(tier, "missing", signal))
        gain = [0.5, -1.0, *[0.0] * (1 + len(HINGES))]  # go on where the probability is below 0.5
        states[name] = StateModel(
            features,
            {tier: AnswerModel({"": [0.0, 1.0, _NEVER]})},
            {ladder[i + 1]: NextTier({"": gain}, (0.0, 0.0))},
        )
    return Policy(
        tiers=tuple(ladder),
        strong=ladder[-1],
        signals={signal: "number" for signal, _ in thresholds.values()},
        slice_by=runs.slice_by,
        price=0.0,
        start={"": ladder[0]},
        mean_cost_usd={tier: float(cost[runs.column(tier)]) for tier in ladder},
        states=states,
    )


def thresholds_in(plan: Plan) -> dict[str, dict[str, float]]:
    """The thresholds that decide on each rung of a plan: by tier, by validator.

    Raises:
        ConfigError: a rung has a validator that is made of others with thresholds; what it says of
            an answer cannot be told from their scores.
    """
    return {rung.tier.name: {one.name: at for one, at in _thresholds(rung)} for rung in plan.rungs}


def _thresholds(rung: Rung) -> Iterator[tuple[Check, float]]:
    for validator in (*rung.free, *rung.paid):
        if isinstance(validator, Check):
            if validator.threshold is not None:
                yield validator, validator.threshold
        elif _has_threshold(validator):
            raise ConfigError(
                f"the validator {validator.name!r} of the tier {rung.tier.name!r} is made of "
                "others with thresholds, and recorded runs hold only their scores; ask the cascade "
                "itself with `cascade eval --whole`"
            )


def _has_threshold(validator: Validator) -> bool:
    return any(getattr(part, "threshold", None) is not None for part in validator.walk())


class ByPlan(NamedTuple):
    """How recorded runs go through a plan.

    Attributes:
        policy: the plan's ladder.
        runs: the runs, with what the policy decides by.
        refused: the answers that the plan does not accept, a column a tier.
    """

    policy: Policy
    runs: Runs
    refused: Bools


def plan_policy(plan: Plan, runs: Runs) -> ByPlan:
    """The ladder of a plan with its validators' thresholds.

    An answer is accepted when the score of every validator that has a threshold is at it, and the
    others passed (`schema_ok`). A missing score is no pass. That holds on the last rung too: what
    it refuses is not accepted by anybody, and the call ends in `CascadeExhausted`.

    Raises:
        ConfigError: as `thresholds_in`; or the runs are of another model, or hold scores of another
            version of a validator.
    """
    _check_recorded(plan, runs)
    accepted = runs.schema_ok != 0  # NaN: no hard validator looked
    for tier, thresholds in thresholds_in(plan).items():
        column = runs.column(tier)
        for signal, least in thresholds.items():
            accepted[:, column] &= runs.signals[signal][:, column] >= least
    ladder = list(plan.tier_names)
    thresholds_of = dict.fromkeys(ladder[:-1], (_ACCEPTED, 1.0))
    decided = replace(runs, signals={_ACCEPTED: accepted.astype(np.float64)})
    return ByPlan(ladder_policy(decided, ladder, thresholds_of), decided, ~accepted)


def _check_recorded(plan: Plan, runs: Runs) -> None:
    for rung in plan.rungs:
        name, model = rung.tier.name, rung.tier.model
        if (recorded := runs.models.get(name, model)) != model:
            raise ConfigError(
                f"the runs were recorded with {recorded!r} as the tier {name!r}, and it is "
                f"{model!r} in this cascade; record them again with `cascade eval`"
            )
    for rung in plan.rungs:
        for validator, _ in _thresholds(rung):
            version = runs.versions.get(validator.name, validator.version)
            if version != validator.version:
                raise ConfigError(
                    f"the runs hold scores of the validator {validator.name!r} in its version "
                    f"{version}, and it is {validator.version or 'without one'} in this cascade; "
                    "record them again with `cascade eval`"
                )
