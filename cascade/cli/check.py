"""`cascade check`: what a configuration file means, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from cascade.cli.advice import advice
from cascade.cli.codes import ExitCode
from cascade.cli.meaning import (
    about_own_spend,
    about_spend,
    about_tier,
    about_way,
    spend_facts,
    tier_facts,
    way_facts,
)
from cascade.cli.output import Common, as_json, configure_logs, say, usd, write
from cascade.cli.rules import about_rules, rule_facts
from cascade.cli.sources import check_sources
from cascade.config import Config, ConfigFileError, json_schema, load
from cascade.config.mistakes import Mistake, Mistakes
from cascade.decorator import Cascade
from cascade.errors import ConfigError
from cascade.routing import Rung
from cascade.spend import Spend
from cascade.types import Price, Usage

__all__ = ["check"]

_DEFAULTS = Common()


def check(
    file: Path = Path("cascade.toml"),
    *,
    schema: Annotated[bool, Parameter(negative="")] = False,
    common: Common = _DEFAULTS,
) -> int:
    """Check a cascade.toml and explain what it means.

    Shows the ladder of each cascade, the validators with their thresholds, what happens when
    calls fail, the paths with their budgets, and the spend caps; and warns of what can work but
    hardly as it was meant: keys that are not set, unknown prices, a ladder that is not cheapest
    first, a budget that is too short. The modules that the file names in `imports` are imported,
    so check only files you trust. Nothing is sent to any model.

    ```
    cascade check
    cascade check staging.toml --json
    cascade check --schema > cascade.schema.json
    ```

    Parameters
    ----------
    file
        The file to check.
    schema
        Print the JSON Schema of configuration files instead, for editors.
    """
    configure_logs(common.log_level)
    if schema:
        write(as_json(json_schema(), indent=2))
        return ExitCode.OK
    found = _examined(file)
    if common.json:
        write(as_json(_facts(file, found), indent=2))
    else:
        _tell(file, found)
    return ExitCode.MISTAKE if found.mistakes else ExitCode.OK


@dataclass(frozen=True, slots=True)
class _Found:
    """What a file comes to: the cascades that could be built, and what is wrong."""

    mistakes: Sequence[Mistake]
    warnings: Sequence[Mistake] = ()
    cascades: Mapping[str, Cascade] = field(default_factory=dict[str, Cascade])
    spend: Spend | None = None


def _examined(file: Path) -> _Found:
    try:
        config = load(file)
    except ConfigFileError as error:
        return _Found(error.mistakes)
    except ConfigError as error:
        return _Found([Mistake("", str(error))])
    mistakes = Mistakes(str(file))
    cascades = _built(config, mistakes)
    spend = config.spend(mistakes)
    check_sources(config, mistakes)
    if mistakes.found:
        return _Found(mistakes.found, (), cascades)
    return _Found((), advice(config, cascades, spend), cascades, spend)


def _built(config: Config, mistakes: Mistakes) -> dict[str, Cascade]:
    built = {name: config.build(name, mistakes) for name in config.tables.cascades}
    return {name: cascade for name, cascade in built.items() if cascade is not None}


def _tell(file: Path, found: _Found) -> None:
    for mistake in found.mistakes:
        say(f"error: {mistake}", style="red")
    for warning in found.warnings:
        say(f"warning: {warning}", style="yellow")
    if found.mistakes:
        say(f"{file}: {_count(found.mistakes, 'mistake')}")
        return
    for name, cascade in found.cascades.items():
        write("\n".join(_described(name, cascade, found.spend)) + "\n")
    if found.spend is not None:
        write("\n".join(about_spend(found.spend)) + "\n")
    warnings = f", with {_count(found.warnings, 'warning')}" if found.warnings else ""
    write(f"{file} is valid{warnings}.")


def _count(found: Sequence[Mistake], noun: str) -> str:
    return f"{len(found)} {noun}{'' if len(found) == 1 else 's'}"


def _described(name: str, cascade: Cascade, spend: Spend | None) -> list[str]:
    lines = [f"cascade {name}"]
    for rung in cascade.plan().rungs:
        lines.append(f"  {rung.tier.name}: {rung.tier.model}, {_price(rung.tier.price)}")
        judges = [_judged(validator) for validator in _validators(rung)]
        lines.append(f"    must pass: {', '.join(judges) or 'nothing'}")
        lines.extend(f"    {line}" for line in about_tier(rung.tier))
    lines.extend(f"  path {path}: {about_way(cascade.plan(path))}" for path in cascade.paths)
    lines.extend(f"  {line}" for line in about_rules(cascade))
    lines.extend(f"  {line}" for line in about_own_spend(cascade.plan().spend, spend))
    return lines


def _price(price: Price | None) -> str:
    if price is None:
        return "price unknown"
    if price.is_free:
        return "free"
    read, written = price.cost_usd(Usage(10**6, 0)), price.cost_usd(Usage(0, 10**6))
    return f"{usd(read)} in, {usd(written)} out per million tokens"


def _validators(rung: Rung) -> list[dict[str, Any]]:
    """Every simple validator that judges a rung, with its threshold."""
    found: list[dict[str, Any]] = []
    for validator in (*rung.free, *rung.paid):
        thresholds = {
            one.name: threshold
            for one in validator.walk()
            if (threshold := getattr(one, "threshold", None)) is not None
        }
        found.append({"name": validator.name, "paid": validator.paid, "thresholds": thresholds})
    return found


def _judged(validator: Mapping[str, Any]) -> str:
    name, thresholds = validator["name"], validator["thresholds"]
    if not thresholds:
        return str(name)
    if list(thresholds) == [name]:
        return f"{name} at {thresholds[name]}"
    return f"{name} ({', '.join(f'{one} at {at}' for one, at in thresholds.items())})"


def _facts(file: Path, found: _Found) -> dict[str, Any]:
    return {
        "file": str(file),
        "ok": not found.mistakes,
        "errors": [mistake._asdict() for mistake in found.mistakes],
        "warnings": [warning._asdict() for warning in found.warnings],
        "cascades": {name: _cascade_facts(cascade) for name, cascade in found.cascades.items()},
        "spend": spend_facts(found.spend),
    }


def _cascade_facts(cascade: Cascade) -> dict[str, Any]:
    spend = cascade.plan().spend
    return {
        "ladder": [
            {
                "tier": rung.tier.name,
                "model": rung.tier.model,
                **tier_facts(rung.tier),
                "validators": _validators(rung),
            }
            for rung in cascade.plan().rungs
        ],
        "paths": {path: way_facts(cascade.plan(path)) for path in cascade.paths},
        "rules": rule_facts(cascade),
        "floors": cascade.routes.floors,
        "router": cascade.routes.router is not None,
        "spend": None if spend is None else {"near_last": spend.near_last},
    }
