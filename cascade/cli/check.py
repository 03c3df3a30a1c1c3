"""`cascade check`: what a configuration file means, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from cascade.cli.advice import advice
from cascade.cli.codes import ExitCode
from cascade.cli.output import Common, as_json, configure_logs, say, usd, write
from cascade.config import Config, ConfigFileError, json_schema, load
from cascade.config.mistakes import Mistake, Mistakes
from cascade.decorator import Cascade
from cascade.errors import ConfigError
from cascade.routing import Plan, Rung
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

    Shows the ladder of each cascade, the validators with their thresholds and the paths, and
    warns of what can work but hardly as it was meant: keys that are not set, unknown prices, a
    ladder that is not cheapest first. The modules that the file names in `imports` are imported,
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
    mistakes, warnings, cascades = _examined(file)
    if common.json:
        write(as_json(_facts(file, mistakes, warnings, cascades), indent=2))
    else:
        _tell(file, mistakes, warnings, cascades)
    return ExitCode.MISTAKE if mistakes else ExitCode.OK


def _examined(
    file: Path,
) -> tuple[Sequence[Mistake], Sequence[Mistake], Mapping[str, Cascade]]:
    """Its mistakes, its warnings, and the cascades that could be built."""
    try:
        config = load(file)
    except ConfigFileError as error:
        return error.mistakes, (), {}
    except ConfigError as error:
        return [Mistake("", str(error))], (), {}
    mistakes = Mistakes(str(file))
    cascades = _built(config, mistakes)
    return mistakes.found, [] if mistakes.found else advice(config, cascades), cascades


def _built(config: Config, mistakes: Mistakes) -> dict[str, Cascade]:
    built = {name: config.build(name, mistakes) for name in config.tables.cascades}
    return {name: cascade for name, cascade in built.items() if cascade is not None}


def _tell(
    file: Path,
    mistakes: Sequence[Mistake],
    warnings: Sequence[Mistake],
    cascades: Mapping[str, Cascade],
) -> None:
    for mistake in mistakes:
        say(f"error: {mistake}", style="red")
    for warning in warnings:
        say(f"warning: {warning}", style="yellow")
    if mistakes:
        say(f"{file}: {_count(mistakes, 'mistake')}")
        return
    for name, cascade in cascades.items():
        write("\n".join(_described(name, cascade)) + "\n")
    write(f"{file} is valid" + (f", with {_count(warnings, 'warning')}." if warnings else "."))


def _count(found: Sequence[Mistake], noun: str) -> str:
    return f"{len(found)} {noun}{'' if len(found) == 1 else 's'}"


def _described(name: str, cascade: Cascade) -> list[str]:
    lines = [f"cascade {name}"]
    for rung in cascade.plan().rungs:
        lines.append(f"  {rung.tier.name}: {rung.tier.model}, {_price(rung.tier.price)}")
        judges = [_judged(validator) for validator in _validators(rung)]
        lines.append(f"    must pass: {', '.join(judges) or 'nothing'}")
    lines.extend(f"  path {path}: {_way(cascade.plan(path))}" for path in cascade.paths)
    return lines


def _way(plan: Plan) -> str:
    ladder = " > ".join(rung.tier.name for rung in plan.rungs)
    budget = "no budget" if plan.budget_s is None else f"a budget of {plan.budget_s} s"
    return f"{ladder}, {budget}"


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


def _facts(
    file: Path,
    mistakes: Sequence[Mistake],
    warnings: Sequence[Mistake],
    cascades: Mapping[str, Cascade],
) -> dict[str, Any]:
    return {
        "file": str(file),
        "ok": not mistakes,
        "errors": [mistake._asdict() for mistake in mistakes],
        "warnings": [warning._asdict() for warning in warnings],
        "cascades": {name: _cascade_facts(cascade) for name, cascade in cascades.items()},
    }


def _cascade_facts(cascade: Cascade) -> dict[str, Any]:
    return {
        "ladder": [
            {
                "tier": rung.tier.name,
                "model": rung.tier.model,
                "timeout_s": rung.tier.timeout_s,
                "validators": _validators(rung),
            }
            for rung in cascade.plan().rungs
        ],
        "paths": {path: _path_facts(cascade.plan(path)) for path in cascade.paths},
    }


def _path_facts(plan: Plan) -> dict[str, Any]:
    return {"budget_s": plan.budget_s, "ladder": [rung.tier.name for rung in plan.rungs]}
