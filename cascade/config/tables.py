"""The tables of a `cascade.toml`, as pydantic models: its shape, its descriptions, its JSON Schema.

What the values mean together (a ladder of known tiers, a threshold for each score) is checked
where cascades are built from them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, TypeAlias, cast

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
    "AllEntry",
    "AnyEntry",
    "AtLeastEntry",
    "CascadeTable",
    "ConfigTables",
    "Entry",
    "NotEntry",
    "PathTable",
    "PriceTable",
    "ProviderTable",
    "TierTable",
    "UseEntry",
    "ValidatorEntry",
    "WeightedEntry",
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


def _money(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise PydanticCustomError("price", "it should be a number of USD per million tokens")
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


Name: TypeAlias = Annotated[str, StringConstraints(min_length=1)]
Seconds: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Score: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Usd: TypeAlias = Annotated[
    Decimal,
    BeforeValidator(_money),
    Field(strict=False, ge=0, allow_inf_nan=False),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}]}),
]
Headers: TypeAlias = Annotated[dict[str, str], BeforeValidator(_no_key)]
Address: TypeAlias = Annotated[str, BeforeValidator(_no_password)]
# Upper case, as environment variables are: a key pasted here by mistake hardly ever is.
Variable: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]*$")]
OnExhausted: TypeAlias = Literal["raise", "best"]


def _is_by_tier(value: object) -> str:
    return "tier" if isinstance(value, Mapping) else "score"


Thresholds: TypeAlias = dict[
    str,
    Annotated[
        Annotated[Score, Tag("score")] | Annotated[dict[str, Score], Tag("tier")],
        Discriminator(_is_by_tier),
    ],
]


class PriceTable(Table):
    """What a model charges, in USD per million tokens. Numbers are read exactly."""

    input: Usd
    """For tokens read."""
    output: Usd
    """For tokens written."""
    cached_input: Usd | None = None
    """For tokens read from a prompt cache. Left out: the same as input."""
    cache_write: Usd | None = None
    """For tokens written to a prompt cache. Left out: the same as input."""
    reasoning: Usd | None = None
    """For hidden reasoning tokens. Left out: the same as output."""


class ProviderTable(Table):
    """A server that several tiers share."""

    kind: Name
    """Its wire format, as the name of a known provider: openai, anthropic, vllm ..."""
    base_url: Address | None = None
    """Where it listens. Left out: the known provider's usual address."""
    api_key_env: Variable | None = None
    """The environment variable that holds its key; never the key itself."""
    headers: Headers = Field(default_factory=dict)
    """HTTP headers sent along with each request; no keys."""


class TierTable(Table):
    """One rung of a ladder: a model with a price."""

    model: Name
    """"provider:model", such as "openai:gpt-6-luna"; with `provider`, just the model's name."""
    provider: Name | None = None
    """The [providers.NAME] table to ask."""
    price: PriceTable | None = None
    """USD per million tokens. Left out: unknown, and so is every bill it is part of."""
    base_url: Address | None = None
    """Where the provider listens. Left out: its usual address."""
    api_key_env: Variable | None = None
    """The environment variable that holds the key. Left out: the provider's usual one."""
    headers: Headers = Field(default_factory=dict)
    """HTTP headers sent along with each request; no keys."""
    params: dict[str, Annotated[JsonValue, AfterValidator(_sendable)]] = Field(default_factory=dict)
    """Request parameters for this tier, where a request does not say otherwise."""
    drop_params: list[str] = Field(default_factory=list)
    """Request parameters that this model does not take, left out on purpose."""
    timeout_s: Seconds | None = None
    """Seconds that one ask of this tier may take, its validators included."""


class PathTable(Table):
    """A named kind of call: the time it may take, and how it uses the ladder."""

    budget_s: Seconds | None = None
    """Seconds the whole call may take, validators included. Left out: no limit."""
    direct: Name | None = None
    """The one tier to ask, without a ladder."""
    first: Name | None = None
    """The lowest rung to use. Left out: the cheapest."""
    last: Name | None = None
    """The highest rung to use. Left out: the strongest."""
    on_exhausted: OnExhausted | None = None
    """As on the cascade, for this path. Left out: as the cascade says."""
    thresholds: Thresholds = Field(default_factory=dict)
    """As on the cascade, for this path; they go before the cascade's."""


class Entry(Table):
    """What every validator written as a table may say."""

    name: Name | None = None
    """Another name for it, such as to tell two of a kind apart."""
    tiers: Annotated[list[str], Field(min_length=1)] | None = None
    """The tiers whose answers it judges. Left out: all."""
    optional: bool = False
    """Whether an abstention counts as passed."""


class UseEntry(Entry):
    """A validator by its name, with its options."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue]  # pyright: ignore[reportIncompatibleVariableOverride]

    use: Name
    """The validator's name: a built-in one, or one registered by a module in `imports`."""
    at: Score | None = None
    """The least score that passes. Left out: the validator has no threshold of its own."""

    @property
    def options(self) -> dict[str, Any]:
        """What is handed to the validator's function."""
        given = dict(self.__pydantic_extra__)
        return given if self.at is None else {**given, "at": self.at}


class WeightedPart(UseEntry):
    """A validator with its weight."""

    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """How much its score counts, above 0."""


class AllEntry(Entry):
    """Passes when all of its parts do."""

    all: Annotated[list[ValidatorEntry], Field(min_length=1)]


class AnyEntry(Entry):
    """Passes when one of its parts does."""

    any: Annotated[list[ValidatorEntry], Field(min_length=1)]


class NotEntry(Entry):
    """Passes when its part fails."""

    not_: ValidatorEntry = Field(alias="not")


class AtLeastEntry(Entry):
    """Passes when so many of its parts do."""

    at_least: Annotated[int, Field(ge=1)]
    """How many must pass."""
    of: Annotated[list[ValidatorEntry], Field(min_length=1)]


class WeightedEntry(Entry):
    """Passes when the weighted mean of its parts' scores is at least `at`."""

    weighted: Annotated[list[WeightedPart], Field(min_length=1)]
    at: Score
    """The least mean that passes."""


ENTRIES: Final[Mapping[str, type[Entry]]] = {
    "use": UseEntry,
    "all": AllEntry,
    "any": AnyEntry,
    "not": NotEntry,
    "at_least": AtLeastEntry,
    "weighted": WeightedEntry,
}


def _kind_of_entry(entry: object) -> str | None:
    if isinstance(entry, str):
        return "name"
    if isinstance(entry, Mapping):
        return next((key for key in ENTRIES if key in entry), None)
    return next((key for key, kind in ENTRIES.items() if type(entry) is kind), None)


ValidatorEntry: TypeAlias = Annotated[
    Annotated[Name, Tag("name")]
    | Annotated[UseEntry, Tag("use")]
    | Annotated[AllEntry, Tag("all")]
    | Annotated[AnyEntry, Tag("any")]
    | Annotated[NotEntry, Tag("not")]
    | Annotated[AtLeastEntry, Tag("at_least")]
    | Annotated[WeightedEntry, Tag("weighted")],
    Discriminator(
        _kind_of_entry,
        custom_error_type="validator_entry",
        custom_error_message=(
            "it should be a validator's name, or a table with one of " + ", ".join(ENTRIES)
        ),
    ),
]


class CascadeTable(Table):
    """A ladder of tiers, and what an answer must pass to be accepted."""

    tiers: Annotated[list[Name], Field(min_length=1)]
    """The ladder: names of tiers, cheapest first."""
    validators: list[ValidatorEntry] = Field(default_factory=list[Any])
    """What every answer must pass. None: only failed calls escalate."""
    on_exhausted: OnExhausted = "raise"
    """When no answer is accepted: "raise" an error, or give the "best" rejected one, marked so."""
    feedback: bool = False
    """Whether a rejected answer, with what was wrong, is handed to the next tier."""
    reasks: Annotated[int, Field(ge=0)] = 0
    """How often a tier is asked again with the feedback before the call escalates."""
    thresholds: Thresholds = Field(default_factory=dict)
    """Thresholds by validator name, or by tier name and then validator name."""
    paths: dict[Name, PathTable] = Field(default_factory=dict)
    """Named kinds of call."""


class ConfigTables(Table):
    """A cascade.toml: model tiers, and the cascades built from them."""

    imports: list[Name] = Field(default_factory=list)
    """Python modules to import first, such as those that register validators with @validator."""
    providers: dict[Name, ProviderTable] = Field(default_factory=dict)
    """Servers that several tiers share."""
    tiers: dict[Name, TierTable] = Field(default_factory=dict)
    """Models with their prices, by the name they go by."""
    cascades: Annotated[dict[Name, CascadeTable], Field(min_length=1)]
    """Cascades by name; at least one."""


_TABLES: Final[tuple[type[BaseModel], ...]] = (*ENTRIES.values(), CascadeTable, ConfigTables)
# Entries hold entries, which were not all defined when the first of them was.
for _table in _TABLES:
    _table.model_rebuild()
