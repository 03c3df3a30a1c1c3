"""The scenario file of `cascade estimate`: TOML or JSON, its numbers read exactly."""

from __future__ import annotations

import json
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from cascade.cli.estimate_layers import Layer, Topic
from cascade.config.fields import Name, Table
from cascade.config.mistakes import ConfigFileError, Mistake, place_of
from cascade.errors import ConfigError, did_you_mean
from cascade.types import Price

__all__ = ["read_scenario"]

_BETTER_SAID: Final = {
    "dict_type": "it should be a table",
    "list_type": "it should be a list",
    "missing": "it is required; add it",
    "model_type": "it should be a table",
    "string_too_short": "a name should not be empty",
}


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        raise PydanticCustomError("number", "it should be a number")
    return value


Number: TypeAlias = Annotated[
    Decimal, BeforeValidator(_number), Field(strict=False, ge=0, allow_inf_nan=False)
]
Share: TypeAlias = Annotated[Number, Field(le=1)]


class _Kind(Table):
    share: Share
    input_tokens: Number | None = None
    output_tokens: Number | None = None
    acceptance: dict[Name, Share] = Field(default_factory=dict)


class _Price(Table):
    input: Number
    output: Number


class _Tier(Table):
    price: _Price
    validators_usd: Number | None = None
    latency_s: Number | None = None


class _Scenario(Table):
    calls: Number | None = None
    worth_usd: Number | None = None
    measured: list[Topic] = Field(default_factory=list[Topic])
    kinds: dict[Name, _Kind] = Field(default_factory=dict)
    tiers: dict[Name, _Tier] = Field(default_factory=dict)
    acceptance: dict[Name, Share] = Field(default_factory=dict)
    validators_usd: Number | None = None


def read_scenario(file: Path) -> Layer:
    """The figures in a scenario file: JSON if its name ends in .json, else TOML.

    Raises:
        ConfigError: it cannot be read, or has another shape; all mistakes of shape at once.
    """
    try:
        read = _Scenario.model_validate(_parsed(file))
    except ValidationError as error:
        mistakes = [_mistake(detail) for detail in error.errors(include_url=False)]
        raise ConfigFileError(str(file), mistakes) from None
    return _layer(file, read)


def _parsed(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"there is no scenario file {str(file)!r}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} cannot be read as UTF-8 text: {error.reason}") from None
    try:
        if file.suffix.lower() == ".json":
            return json.loads(text, parse_float=Decimal)
        return tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        form = "JSON" if file.suffix.lower() == ".json" else "TOML"
        raise ConfigError(f"{file} is not valid {form}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{file} is nested too deep") from None


def _layer(file: Path, read: _Scenario) -> Layer:
    accepted = {
        f"{kind}.{tier}": share
        for kind, table in read.kinds.items()
        for tier, share in table.acceptance.items()
    }
    judging = {name: table.validators_usd for name, table in read.tiers.items()}
    for_all = {} if read.validators_usd is None else {"": read.validators_usd}
    return Layer(
        file.name,
        measured=frozenset(read.measured),
        calls=read.calls,
        worth_usd=read.worth_usd,
        shares={name: table.share for name, table in read.kinds.items()} or None,
        tokens={
            name: (_both(name, table), table.output_tokens or Decimal(0))
            for name, table in read.kinds.items()
            if table.input_tokens is not None or table.output_tokens is not None
        },
        tiers={name: _price(table.price) for name, table in read.tiers.items()} or None,
        acceptance={**read.acceptance, **accepted},
        validators_usd={**for_all, **{k: v for k, v in judging.items() if v is not None}},
        latency_s={
            name: table.latency_s
            for name, table in read.tiers.items()
            if table.latency_s is not None
        },
    )


def _both(name: str, table: _Kind) -> Decimal:
    """The input tokens, where the output tokens are said as well."""
    if table.input_tokens is None or table.output_tokens is None:
        raise ConfigError(f"kinds.{name}: give input_tokens and output_tokens, or neither")
    return table.input_tokens


def _price(table: _Price) -> Price:
    return Price(input=table.input, output=table.output)


def _mistake(detail: ErrorDetails) -> Mistake:
    keys = [key for key in detail["loc"] if key != "[key]"]
    place = place_of(*keys)
    if detail["type"] == "extra_forbidden":
        known = _table_at(keys[:-1]).model_fields
        return Mistake(place, f"there is no such key; {did_you_mean(str(keys[-1]), known)}")
    if detail["type"] in _BETTER_SAID:
        return Mistake(place, _BETTER_SAID[detail["type"]])
    message = detail["msg"].replace("Input should be", "it should be")
    value = detail["input"]
    shown = f"{value} will not do: " if isinstance(value, Decimal | int | str) else ""
    return Mistake(place, f"{shown}{message}")


def _table_at(keys: list[int | str]) -> type[Table]:
    """The table that unknown keys were found in."""
    if not keys:
        return _Scenario
    if keys[0] == "kinds":
        return _Kind
    return _Tier if len(keys) == 2 else _Price
