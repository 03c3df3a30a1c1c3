"""What the tables of a `cascade.toml` share: their base, and the kinds of values in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    StringConstraints,
    Tag,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

__all__ = [
    "VALUE_OR_TABLE",
    "Address",
    "Count",
    "FalseOr",
    "Headers",
    "JsonParameter",
    "Name",
    "OnExhausted",
    "Score",
    "Seconds",
    "Table",
    "Thresholds",
    "Usd",
    "UsdAboveZero",
    "Variable",
]

KEY_HEADERS: Final = frozenset(
    {"api-key", "authorization", "cookie", "proxy-authorization", "x-api-key"}
)


class Table(BaseModel):
    """What all tables share: no unknown keys, no guessing at types, and no input in errors."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    def given(self) -> dict[str, Any]:
        """What the file says, without what it leaves out."""
        return {name: getattr(self, name) for name in self.model_fields_set}


def _money(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise PydanticCustomError("usd", "it should be a number of USD")
    return value


def _no_key(headers: object) -> object:
    if isinstance(headers, Mapping):
        for name in cast("Mapping[object, object]", headers):
            if str(name).lower() in KEY_HEADERS:
                raise PydanticCustomError(
                    "key_header",
                    "the header {name} would hold a key; name its environment variable in "
                    "api_key_env instead",
                    {"name": str(name)},
                )
    return cast("Any", headers)


def _sendable(value: JsonValue) -> JsonValue:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise PydanticCustomError(
            "not_json", "it should hold finite numbers only, as JSON does"
        ) from None
    return value


def _no_password(address: object) -> object:
    if isinstance(address, str) and "@" in address:
        raise PydanticCustomError(
            "password_in_url",
            "the address holds a user name or password; leave it out and use api_key_env",
        )
    return address


T = TypeVar("T")

Name: TypeAlias = Annotated[str, StringConstraints(min_length=1)]
Seconds: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Score: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Usd: TypeAlias = Annotated[
    Decimal,
    BeforeValidator(_money),
    Field(strict=False, ge=0, allow_inf_nan=False),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}]}),
]
UsdAboveZero: TypeAlias = Annotated[
    Usd,
    Field(gt=0),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}]}),
]
Headers: TypeAlias = Annotated[dict[str, str], BeforeValidator(_no_key)]
Address: TypeAlias = Annotated[str, BeforeValidator(_no_password)]
# Upper case, as environment variables are: a key pasted here by mistake hardly ever is.
Variable: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]*$")]
OnExhausted: TypeAlias = Literal["raise", "best"]
FalseOr: TypeAlias = Annotated[
    Annotated[Literal[False], Tag("false")] | Annotated[T, Tag("value")],
    Discriminator(lambda value: "false" if isinstance(value, bool) else "value"),
]


JsonParameter: TypeAlias = Annotated[JsonValue, AfterValidator(_sendable)]


def _value_or_table(value: object) -> str:
    return "table" if isinstance(value, Mapping | BaseModel) else "value"


VALUE_OR_TABLE: Final = Discriminator(_value_or_table)
"""For options that are one word or number, or a table that says more."""

Thresholds: TypeAlias = dict[
    str,
    Annotated[
        Annotated[Score, Tag("value")] | Annotated[dict[str, Score], Tag("table")],
        VALUE_OR_TABLE,
    ],
]
