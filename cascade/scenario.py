"""What an estimate is made from: kinds of call, tiers with their prices, and a month of both."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation, localcontext
from typing import Final, cast

from cascade.errors import ConfigError, did_you_mean
from cascade.types import Price, Usage

__all__ = ["Kind", "PricedTier", "Scenario", "exactly"]

_EXACT: Final = Context(prec=500, traps=[Inexact, InvalidOperation])
_MOST_TIERS: Final = 10
_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of call: how frequent it is, how long, and how often each tier does for it.

    Attributes:
        name: such as "lookups".
        share: of all calls, 0..1.
        input_tokens, output_tokens: of one call, on average.
        acceptance: by tier, the share of its answers to this kind that are accepted, 0..1. For
            every tier but the strongest, whose answers are taken as they are.
    """

    name: str
    share: Decimal
    input_tokens: Decimal
    output_tokens: Decimal
    acceptance: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class PricedTier:
    """A rung of the ladder with what it costs.

    Attributes:
        name: such as "small".
        price: USD per million tokens.
        validators_usd: what judging one of its answers costs, in USD.
        latency_s: the median seconds until its answer is judged. None: unknown.
    """

    name: str
    price: Price
    validators_usd: Decimal = _ZERO
    latency_s: Decimal | None = None

    def call_usd(self, kind: Kind) -> Decimal:
        """One call of that kind without validators, in USD."""
        # Known, as the usage is; and by the token, as a mean number of them need not be whole.
        read = cast("Decimal", self.price.cost_usd(Usage(1, 0)))
        written = cast("Decimal", self.price.cost_usd(Usage(0, 1)))
        return read * kind.input_tokens + written * kind.output_tokens

    def own_usd(self, kind: Kind) -> Decimal:
        """One call of that kind and the judging of its answer, in USD."""
        return self.call_usd(kind) + self.validators_usd


@dataclass(frozen=True, slots=True)
class Scenario:
    """A month of traffic, and the ladder that would answer it.

    Attributes:
        calls: a month.
        kinds: of call; their shares add up to 1.
        tiers: the ladder, cheapest first, at most ten.
        worth_usd: the saving a month below which a cascade does not pay for its upkeep, in USD.

    Raises:
        ConfigError: a number is out of its range, shares do not add up to 1, or an acceptance is
            missing or names a tier that is not below the strongest.
    """

    calls: Decimal
    kinds: tuple[Kind, ...]
    tiers: tuple[PricedTier, ...]
    worth_usd: Decimal

    def __post_init__(self) -> None:
        _check_names("kinds of call", [kind.name for kind in self.kinds])
        _check_names("tiers", [tier.name for tier in self.tiers])
        if len(self.tiers) > _MOST_TIERS:
            raise ConfigError(f"there are {len(self.tiers)} tiers; give at most {_MOST_TIERS}")
        _check_number("calls", self.calls, above=True)
        _check_number("worth_usd", self.worth_usd)
        for tier in self.tiers:
            _check_number(f"tier {tier.name!r}: validators_usd", tier.validators_usd)
            if tier.latency_s is not None:
                _check_number(f"tier {tier.name!r}: latency_s", tier.latency_s, above=True)
        for kind in self.kinds:
            _check_kind(kind, [tier.name for tier in self.tiers])
        with exactly():
            total = sum((kind.share for kind in self.kinds), _ZERO)
        if total != 1:
            shares = " + ".join(f"{kind.name} {kind.share}" for kind in self.kinds)
            raise ConfigError(f"the shares add up to {total}, not to 1: {shares}")


@contextmanager
def exactly() -> Generator[None]:
    """Decimal arithmetic that never rounds."""
    try:
        with localcontext(_EXACT):
            yield
    except Inexact:
        raise ConfigError(
            "the numbers have too many digits to be multiplied exactly; round them to 20 digits"
        ) from None


def _check_names(what: str, names: Sequence[str]) -> None:
    if not names:
        raise ConfigError(f"there are no {what}; name at least one")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{what}: {twice[0]!r} is there twice; give each its own name")


def _check_number(
    what: str, value: Decimal, *, above: bool = False, most: int | None = None
) -> None:
    is_enough = value.is_finite() and (value > 0 or (value == 0 and not above))
    if is_enough and (most is None or value <= most):
        return
    least = "a number above 0" if above else "0 or more"
    raise ConfigError(f"{what} is {value}; give {least if most is None else f'0 to {most}'}")


def _check_kind(kind: Kind, tiers: Sequence[str]) -> None:
    label = f"kind {kind.name!r}"
    _check_number(f"{label}: share", kind.share, most=1)
    _check_number(f"{label}: input_tokens", kind.input_tokens)
    _check_number(f"{label}: output_tokens", kind.output_tokens)
    for tier, share in kind.acceptance.items():
        if tier not in tiers:
            raise ConfigError(
                f"{label}: acceptance names the tier {tier!r}; {did_you_mean(tier, tiers)}"
            )
        if tier == tiers[-1]:
            raise ConfigError(
                f"{label}: acceptance names {tier!r}, the strongest tier, where it changes no "
                "cost; leave it out"
            )
        _check_number(f"{label}: acceptance of {tier!r}", share, most=1)
    missing = [tier for tier in tiers[:-1] if tier not in kind.acceptance]
    if missing:
        raise ConfigError(
            f"{label}: the acceptance of tier {missing[0]!r} is not known; give the share of its "
            "answers that pass, from 0 to 1"
        )
