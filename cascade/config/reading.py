"""From the text of a `cascade.toml` to its tables, or to all that is wrong with its shape."""

from __future__ import annotations

import tomllib
import types
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from cascade.config.mistakes import ConfigFileError, Mistake, place_of
from cascade.config.tables import ConfigTables
from cascade.errors import ConfigError, did_you_mean

__all__ = ["read_tables"]

_KEY_WORDS: Final = frozenset({"apikey", "key", "password", "secret", "token"})
_SECRET_PLACES: Final = frozenset({"api_key_env", "base_url", "headers", "url", "url_env"})
_LONGEST_SHOWN: Final = 40
_BETTER_SAID: Final = {
    "dict_type": "it should be a table",
    "list_type": "it should be a list",
    "missing": "it is required; add it",
    "model_type": "it should be a table",
    # Without the value: it might be anything that was pasted there.
    "price": "it should be a table, such as { input = 0.05, output = 0.40 }, or 'auto'",
    "string_pattern_mismatch": (
        "it should be the name of an environment variable, in capitals, such as OPENAI_API_KEY"
    ),
    "string_too_short": "it should not be empty",
    "too_short": "it should not be empty",
}


def read_tables(file: Path) -> ConfigTables:
    """The tables in a file.

    Raises:
        ConfigError: it cannot be read, is no TOML, or has another shape; all mistakes at once.
    """
    document = _parse(file)
    try:
        return ConfigTables.model_validate(document)
    except ValidationError as error:
        mistakes = [_mistake(detail) for detail in error.errors(include_url=False)]
    # Outside of the except block: what pydantic raised holds the input, keys included.
    raise ConfigFileError(str(file), mistakes)


def _parse(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8-sig")  # some editors begin files with a mark
    except FileNotFoundError:
        raise ConfigError(
            f"there is no file {str(file)!r}; `cascade init` writes a first one"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read as UTF-8 text: {_reason(error)}") from None
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{file} is nested too deep") from None
    return {key: _with_floats(value, (key,)) for key, value in document.items()}


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return error.reason if isinstance(error, UnicodeDecodeError) else str(error.strerror)


def _with_floats(value: Any, place: tuple[str, ...]) -> Any:
    """Decimals only where money is: everywhere else a number is what JSON makes of it."""
    is_price = len(place) == 3 and place[0] == "tiers" and place[2] == "price"
    if is_price or place == ("spend", "caps", "usd"):
        return value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: _with_floats(one, (*place, key)) for key, one in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list):
        return [_with_floats(one, place) for one in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def _mistake(detail: ErrorDetails) -> Mistake:
    keys, table = _walk(detail["loc"])
    place = place_of(*keys)
    if detail["type"] == "extra_forbidden":
        return Mistake(place, _unknown_key(str(keys[-1]), table))
    if detail["type"] in _BETTER_SAID:
        return Mistake(place, _BETTER_SAID[detail["type"]])
    message = detail["msg"].replace("Input should be", "it should be")
    return Mistake(place, f"{_shown(detail['input'], keys)}{message}")


def _unknown_key(key: str, table: type[BaseModel]) -> str:
    if key.lower().replace("-", "").replace("_", "") in _KEY_WORDS:
        return (
            "keys do not belong in this file; write api_key_env with the name of the "
            "environment variable that holds it"
        )
    known = [field.alias or name for name, field in table.model_fields.items()]
    return f"there is no such key; {did_you_mean(key, known)}"


def _shown(value: Any, keys: Sequence[str | int]) -> str:
    """The value, unless it might be a secret or is long."""
    if not _SECRET_PLACES.isdisjoint(keys) or not isinstance(value, str | int | float | Decimal):
        return ""
    shown = str(value) if isinstance(value, Decimal) else repr(value)
    return f"{shown} will not do: " if len(shown) <= _LONGEST_SHOWN else ""


def _walk(loc: Sequence[str | int]) -> tuple[list[str | int], type[BaseModel]]:
    """The keys of a place without pydantic's own marks, and the innermost table around it."""
    kind: Any = ConfigTables
    table: type[BaseModel] = ConfigTables
    keys: list[str | int] = []
    for step in loc:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            table = kind
        kind, is_key = _step(kind, step)
        kind = _bare(kind)
        if is_key:
            keys.append(step)
    return keys, table


def _step(kind: Any, step: str | int) -> tuple[Any, bool]:
    """The type one step further down, and whether that step is a key of the file."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = {field.alias or name: field for name, field in kind.model_fields.items()}
        return (fields[str(step)].annotation if step in fields else Any), True
    if get_origin(kind) in (Union, types.UnionType):
        for member in get_args(kind):
            if Tag(str(step)) in getattr(member, "__metadata__", ()):
                return member, False
    if get_origin(kind) in (list, dict):
        # The mark "[key]" says that the key itself will not do, rather than its value.
        return get_args(kind)[-1], step != "[key]"
    return Any, True


def _bare(kind: Any) -> Any:
    """A type without annotations and without `| None`."""
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
            continue
        members = get_args(kind)
        if types.NoneType in members:
            kind = next(member for member in members if member is not types.NoneType)
            continue
        return kind
