"""Checks of what a cascade is made of, so that a slip fails when it is built, with its mend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cascade.errors import ConfigError, did_you_mean
from cascade.routing import Path
from cascade.rules import Rule
from cascade.tier import Tier
from cascade.validation import Judges, Validator, as_validator

__all__ = [
    "check_effect",
    "check_goes_with_policy",
    "checked_floors",
    "checked_paths",
    "checked_rules",
    "checked_tiers",
    "checked_validators",
]


def checked_tiers(tiers: Iterable[Tier]) -> tuple[Tier, ...]:
    """The ladder. Raises ConfigError when it is none, or two tiers share a name."""
    if isinstance(tiers, Tier | str):
        raise ConfigError("tiers is one tier; put it in a list, as in tiers=[small]")
    ladder = tuple(tiers)
    if not ladder:
        raise ConfigError("a cascade has no tiers; give it at least one, cheapest first")
    seen: set[str] = set()
    for tier in ladder:
        if not isinstance(tier, Tier):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                f"a tier is a {type(tier).__name__}; write Tier('small', model='openai:...')"
            )
        if tier.name in seen:
            raise ConfigError(f"two tiers are named {tier.name!r}; give each a name of its own")
        seen.add(tier.name)
    return ladder


def checked_paths(paths: Mapping[str, Path] | None) -> Mapping[str, Path]:
    """The paths by name. Raises ConfigError when they are no mapping."""
    if paths is not None and not isinstance(paths, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            f'paths is a {type(paths).__name__}; give each a name, as in {{"live": Path(...)}}'
        )
    return dict(paths or {})


def checked_rules(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules in order. Raises ConfigError when one is none."""
    if isinstance(rules, Rule):
        raise ConfigError("rules is one rule; put it in a list, as in rules=[mine]")
    checked = tuple(rules)
    for rule in checked:
        if not isinstance(rule, Rule):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                f"a rule is a {type(rule).__name__}; write Rule('name', when={{...}}, ...)"
            )
    return checked


def checked_floors(floors: Mapping[str, str] | None) -> Mapping[str, str]:
    """The floors by stakes. Raises ConfigError when they are no mapping."""
    if floors is not None and not isinstance(floors, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            f'floors is a {type(floors).__name__}; name a tier by stakes, as in {{"high": "large"}}'
        )
    return floors or {}


def checked_validators(
    validators: Iterable[Validator | Judges | str],
) -> tuple[Validator, ...]:
    """The validators. Raises ConfigError when one is none, or its name is unknown."""
    if isinstance(validators, Validator | str) or callable(validators):
        raise ConfigError("validators is one validator; put it in a list, as in validators=[mine]")
    return tuple(as_validator(validator) for validator in validators)


def check_effect(
    tiers: Sequence[Tier], validators: Sequence[Validator], *, feedback: bool, reasks: int
) -> None:
    """Raises ConfigError for options that could never do anything."""
    names = [tier.name for tier in tiers]
    for validator in validators:
        for one in validator.walk():
            for tier in sorted((one.tiers or frozenset()) - set(names)):
                raise ConfigError(
                    f"validator {one.name!r} is for tier {tier!r}, which is not in this "
                    f"cascade; {did_you_mean(tier, names)}"
                )
    if feedback and len(tiers) == 1:
        raise ConfigError("feedback=True has no effect with one tier; add one, or use reasks=1")
    for option, given in (("feedback=True", feedback), (f"reasks={reasks}", reasks)):
        if given and not validators:
            raise ConfigError(f"{option} has no effect without validators; add one")


def check_goes_with_policy(paths: Mapping[str, Path], *, feedback: bool, reasks: int) -> None:
    """Raises ConfigError for options that a policy was not tuned with."""
    hedging = next((name for name, path in paths.items() if path.hedge != "never"), None)
    for option, given in (
        ("feedback=True", feedback),
        (f"reasks={reasks}", reasks),
        (f"hedge on path {hedging!r}", hedging),
    ):
        if given:
            raise ConfigError(
                f"{option} does not go with a policy, which was tuned without it; leave one out"
            )
