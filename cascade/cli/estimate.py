"""`cascade estimate`: what a month costs with a cascade and without, and whether it is worth it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, cast

from cyclopts import Parameter
from cyclopts.validators import Number

from cascade.cli.codes import ExitCode
from cascade.cli.estimate_file import read_scenario
from cascade.cli.estimate_layers import TOPICS, Layer, Topic, resolved
from cascade.cli.estimate_view import facts, show
from cascade.cli.output import Common, as_json, configure_logs, say, write
from cascade.errors import ConfigError, did_you_mean
from cascade.estimate import estimate as computed
from cascade.types import Price

__all__ = ["estimate"]


@Parameter(name="*", group="Real traffic")
@dataclass(frozen=True, slots=True)
class Real:
    """The options of an estimate from a ledger."""

    ledger: Annotated[str | None, Parameter(name="--from")] = None
    """A ledger of real calls: sqlite:FILE, a file, or postgresql://..."""
    by: str | None = None
    """What tells kinds of call apart: path, rule, tenant, signals.NAME or metadata.NAME. Left out:
    path."""
    days: Annotated[int | None, Parameter(validator=Number(gte=1))] = None
    """Only the last days before the newest call. Left out: 30."""


@Parameter(name="*", group="Figures")
@dataclass(frozen=True, slots=True)
class Figures:
    """The options that say what to reckon with. What is left out comes from below: see --help."""

    calls: str | None = None
    """Calls a month."""
    mix: str | None = None
    """The kinds of call with their shares: lookups=0.70,drafting=0.25,hard=0.05"""
    tokens: str | None = None
    """Input and output tokens of a call of a kind: lookups=500/100,drafting=1000/400"""
    tiers: str | None = None
    """The ladder, cheapest first, in USD per million tokens: small=0.05/0.40,large=3/15"""
    acceptance: str | None = None
    """The share of a tier's answers that pass, for all kinds or one: small=0.8,hard.small=0.1"""
    validators: str | None = None
    """What judging an answer costs, in USD: 0.0002 below the strongest tier, or small=0.0002"""
    latency: str | None = None
    """A tier's median seconds: small=0.3,large=1.6"""
    worth: str | None = None
    """The least saving a month, in USD, that pays for the upkeep of a cascade."""
    measured: str | None = None
    """Which of these were measured, rather than assumed: acceptance,tokens"""


_COMMON = Common()
_FIGURES = Figures()
_REAL = Real()


def estimate(
    *,
    scenario: Annotated[Path | None, Parameter(name=["--scenario", "-s"])] = None,
    config: Annotated[Path | None, Parameter(name=["--config", "-c"])] = None,
    cascade: str | None = None,
    real: Real = _REAL,
    figures: Figures = _FIGURES,
    common: Common = _COMMON,
) -> int:
    """Estimate what a cascade saves, and whether it is worth it.

    Prints every figure that it reckons with, and whether it is assumed or measured; then the cost
    by kind of call and by tier, the acceptance at which each rung breaks even, what calls wait,
    and what changes if acceptance is ten points lower or higher. Nothing is sent to any model.

    ```
    cascade estimate
    cascade estimate --calls 20000 --tiers small=0.05/0.40,large=3/15 --acceptance small=0.6
    cascade estimate --config cascade.toml --scenario estimate.toml --json
    cascade estimate --config cascade.toml --from ledger.db --by signals.task
    ```

    Without any option it works out an example: 500,000 calls a month, 70 % lookups, 25 % drafting,
    5 % hard. Options go before the scenario file, that before the ledger, that before the
    configuration, and that before the example's figures.

    Parameters
    ----------
    scenario
        A TOML or JSON file of figures.
    config
        A configuration file to take the ladder from: its tiers, prices and latencies.
    cascade
        Which cascade of --config and of --from. Left out: the only one of --config.
    """
    configure_logs(common.log_level)
    layers = _layers(scenario, config, cascade, figures)
    if real.ledger is not None:
        layers = _with_traffic(layers, real.ledger, real, config, cascade)
    elif real != _REAL or (cascade is not None and config is None):
        raise ConfigError("--by and --days go with --from, and --cascade with it or --config")
    chosen, assumptions = resolved(layers)
    found = computed(chosen)
    paid = [name for layer in layers for name in layer.paid_validators]
    if paid and not any(layer.validators_usd for layer in layers):
        say(
            f"warning: what {' and '.join(paid)} costs is not in here; say what judging an "
            "answer costs, as in --validators 0.0002",
            style="yellow",
        )
    if common.json:
        write(as_json(facts(found, assumptions), indent=2))
    else:
        show(found, assumptions)
    return ExitCode.OK


def _layers(
    scenario: Path | None, config: Path | None, cascade: str | None, figures: Figures
) -> Sequence[Layer]:
    layers = [] if config is None else [_from_config(config, cascade)]
    if scenario is not None:
        layers.append(read_scenario(scenario))
    if any(getattr(figures, one.name) is not None for one in fields(figures)):
        layers.append(_from_options(figures))
    if config is not None and any(layer.tiers for layer in layers[1:]):
        raise ConfigError(
            f"the ladder is given twice: in --config {config}, and as tiers elsewhere; keep one"
        )
    return layers


def _with_traffic(
    layers: Sequence[Layer], ledger: str, real: Real, config: Path | None, cascade: str | None
) -> list[Layer]:
    """The layers with that of real traffic among them, above the configuration's."""
    from cascade.cli.estimate_traffic import layer_of, read_traffic  # loads SQLAlchemy

    ladder = next((layer.tiers for layer in reversed(layers) if layer.tiers), None)
    if ladder is None:
        raise ConfigError("--from needs the prices of the tiers: give --config, or --tiers")
    if config is not None:
        from cascade.config import load

        cascade = load(config).chosen(cascade)
    traffic = read_traffic(ledger, cascade=cascade, by=real.by or "path", days=real.days or 30)
    layer = layer_of(traffic, ladder)
    if layer.calls is None and not any(one.calls for one in layers):
        raise ConfigError(
            "the ledger covers less than a day, too little for a month to follow from it; say "
            "how many calls a month has, as in --calls 100000"
        )
    below = 0 if config is None else 1
    return [*layers[:below], layer, *layers[below:]]


def _from_config(file: Path, cascade: str | None) -> Layer:
    from cascade.config import load  # the example needs none of it

    rungs = load(file).cascade(cascade).plan().rungs
    tiers = [rung.tier for rung in rungs]
    unpriced = [tier.name for tier in tiers if tier.price is None]
    if unpriced:
        raise ConfigError(f"tier {unpriced[0]!r} in {file} has no price; give it one")
    paid = sorted({validator.name for rung in rungs for validator in rung.paid})
    return Layer(
        file.name,
        paid_validators=tuple(paid),
        tiers={tier.name: tier.price for tier in tiers if tier.price is not None},
        latency_s={
            tier.name: Decimal(str(tier.latency_s)) for tier in tiers if tier.latency_s is not None
        },
    )


def _from_options(figures: Figures) -> Layer:
    return Layer(
        "command line",
        measured=_topics(figures.measured),
        calls=_optional("--calls", figures.calls),
        worth_usd=_optional("--worth", figures.worth),
        shares=_shares("--mix", figures.mix, "lookups=0.7,hard=0.3") or None,
        tokens=_two("--tokens", figures.tokens, "lookups=500/100"),
        tiers={
            name: Price(input=read, output=written)
            for name, (read, written) in _two(
                "--tiers", figures.tiers, "small=0.05/0.40,large=3/15"
            ).items()
        }
        or None,
        acceptance=_shares("--acceptance", figures.acceptance, "small=0.8,hard.small=0.1"),
        validators_usd=_validators(figures.validators),
        latency_s=_numbers("--latency", figures.latency, "small=0.3,large=1.6"),
    )


def _topics(text: str | None) -> frozenset[Topic]:
    names = [] if text is None else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in TOPICS:
            raise ConfigError(f"--measured: there is no {name!r}; {did_you_mean(name, TOPICS)}")
    return frozenset(cast("list[Topic]", names))


def _validators(text: str | None) -> dict[str, Decimal]:
    if text is not None and "=" not in text:
        return {"": _number("--validators", text)}
    return _numbers("--validators", text, "0.0002, or small=0.0002")


def _pairs(option: str, text: str | None, example: str) -> dict[str, str]:
    """NAME=VALUE,... as a mapping. None: empty."""
    found: dict[str, str] = {}
    for part in [] if text is None else text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise ConfigError(f"{option}: {part!r} is no NAME=VALUE; write {option} {example}")
        if name in found:
            raise ConfigError(f"{option}: {name!r} is there twice")
        found[name] = value
    return found


def _numbers(option: str, text: str | None, example: str) -> dict[str, Decimal]:
    return {name: _number(option, v) for name, v in _pairs(option, text, example).items()}


def _shares(option: str, text: str | None, example: str) -> dict[str, Decimal]:
    return {name: _share(option, v) for name, v in _pairs(option, text, example).items()}


def _share(option: str, text: str) -> Decimal:
    """0..1, or with a percent sign."""
    if text.endswith("%"):
        return _number(option, text.removesuffix("%")).scaleb(-2)
    return _number(option, text)


def _two(option: str, text: str | None, example: str) -> dict[str, tuple[Decimal, Decimal]]:
    found: dict[str, tuple[Decimal, Decimal]] = {}
    for name, value in _pairs(option, text, example).items():
        read, slash, written = value.partition("/")
        if not slash:
            raise ConfigError(
                f"{option}: {name}={value} is one number; write two, input/output, as in "
                f"{option} {example}"
            )
        found[name] = _number(option, read), _number(option, written)
    return found


def _optional(option: str, text: str | None) -> Decimal | None:
    return None if text is None else _number(option, text)


def _number(option: str, text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number < 0:
        raise ConfigError(f"{option}: {text!r} is no number of 0 or more")
    return number
