"""The tables of a `cascade.toml`, as pydantic models: its shape, its descriptions, its JSON Schema.

What the values mean together (a ladder of known tiers, a threshold for each score) is checked
where cascades are built from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from cascade.config.audit_tables import AuditTable
from cascade.config.entries import ValidatorEntry
from cascade.config.fields import (
    VALUE_OR_TABLE,
    Address,
    Count,
    FalseOr,
    Headers,
    JsonParameter,
    Name,
    OnExhausted,
    Seconds,
    Table,
    Thresholds,
    Usd,
    UsdAboveZero,
    Variable,
)
from cascade.config.rule_tables import FunctionName, RouterEntry, RuleTable
from cascade.config.telemetry_table import TelemetryTable
from cascade.spend import Period, Scope

__all__ = [
    "BreakerTable",
    "CapTable",
    "CascadeTable",
    "ConfigTables",
    "DeploymentTable",
    "LedgerTable",
    "LimitsTable",
    "PathTable",
    "PriceTable",
    "ProviderTable",
    "RetriesTable",
    "SpendTable",
    "TelemetryTable",
    "TierTable",
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


class RetriesTable(Table):
    """How often a tier tries again, and how long it waits before each try."""

    times: Annotated[int, Field(ge=0)] | None = None
    """Retries after the first try. Left out: 2."""
    base_s: Seconds | None = None
    """The longest wait before the first retry, in seconds; it doubles each time. Left out: 0.5."""
    cap_s: Seconds | None = None
    """The longest wait before any retry, in seconds. Left out: 8."""


class BreakerTable(Table):
    """When an endpoint that keeps failing is left alone, and for how long."""

    failure_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    """The share of failed calls in the window that opens a circuit. Left out: 0.5."""
    min_calls: Count | None = None
    """With fewer calls in the window a share says nothing. Left out: 10."""
    window_s: Seconds | None = None
    """Seconds that the share is taken over. Left out: 30."""
    consecutive: FalseOr[Count] | None = None
    """Failures in a row that open a circuit as well; false for no such number. Left out: 5."""
    open_s: Seconds | None = None
    """Seconds without a call before one probe is sent. Left out: 10."""
    slow_s: Seconds | None = None
    """Seconds from which on a call counts as failed, though it succeeded. Left out: none does."""

    def given(self) -> dict[str, Any]:
        """What the file says, in the words of `Breaker`."""
        return {name: None if value is False else value for name, value in super().given().items()}


class LimitsTable(Table):
    """How much a tier may be asked for; what is too much waits, or is shed."""

    concurrency: Count | None = None
    """Requests under way at once. Left out: no limit."""
    requests_per_min: Count | None = None
    """Requests sent per minute, retries included. Left out: no limit."""
    tokens_per_min: Count | None = None
    """Input and output tokens per minute. Left out: no limit."""
    max_queue: Annotated[int, Field(ge=0)] | None = None
    """Requests waiting at once; one more is shed. Left out: no limit."""


class DeploymentTable(Table):
    """One place where a tier's model is: an endpoint or a key. What is left out is the tier's."""

    name: Name | None = None
    """For messages. Left out: the tier's name and its number, from 1."""
    provider: Name | None = None
    """The [providers.NAME] table to ask."""
    model: Name | None = None
    """"provider:model"; with `provider`, just the model's name. Left out: the tier's."""
    base_url: Address | None = None
    """Where it listens. Left out: the tier's address."""
    api_key_env: Variable | None = None
    """The environment variable that holds its key. Left out: the tier's, at the tier's address."""
    headers: Headers = Field(default_factory=dict)
    """HTTP headers sent along with each request; no keys. Left out: as with api_key_env."""


def _price_kind(value: object) -> str | None:
    if value == "auto":
        return "auto"
    return "table" if isinstance(value, Mapping | PriceTable) else None


PriceEntry: TypeAlias = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[PriceTable, Tag("table")],
    Discriminator(
        _price_kind,
        custom_error_type="price",
        custom_error_message="it should be a table of USD per million tokens, or 'auto'",
    ),
]
RetriesEntry: TypeAlias = Annotated[
    Annotated[Annotated[int, Field(ge=0)], Tag("value")] | Annotated[RetriesTable, Tag("table")],
    VALUE_OR_TABLE,
]
BreakerEntry: TypeAlias = Annotated[
    Annotated[bool, Tag("value")] | Annotated[BreakerTable, Tag("table")], VALUE_OR_TABLE
]


class TierTable(Table):
    """One rung of a ladder: a model with a price."""

    model: Name
    """"provider:model", such as "openai:gpt-6-luna"; with `provider`, just the model's name."""
    provider: Name | None = None
    """The [providers.NAME] table to ask."""
    price: PriceEntry | None = None
    """USD per million tokens, or "auto": what the model is listed at (extra `prices`). Left out:
    unknown, and so is every bill it is part of."""
    base_url: Address | None = None
    """Where the provider listens. Left out: its usual address."""
    api_key_env: Variable | None = None
    """The environment variable that holds the key. Left out: the provider's usual one."""
    headers: Headers = Field(default_factory=dict)
    """HTTP headers sent along with each request; no keys."""
    params: dict[str, JsonParameter] = Field(default_factory=dict)
    """Request parameters for this tier, where a request does not say otherwise."""
    drop_params: list[str] = Field(default_factory=list)
    """Request parameters that this model does not take, left out on purpose."""
    latency_s: Seconds | None = None
    """About how long one ask takes at its median, in seconds, for budgets to reckon with until
    enough was seen. Left out: nothing is known at first."""
    timeout_s: Seconds | None = None
    """Seconds that one ask of this tier may take, its validators included."""
    first_token_s: Seconds | None = None
    """Seconds within which each answer has to begin, or the request counts as timed out; it is
    streamed for that. Left out: it is not, and may begin late."""
    deployments: Annotated[list[DeploymentTable], Field(min_length=1)] | None = None
    """The model at several endpoints or with several keys, tried in this order before the tier
    counts as failed. Left out: the tier's own endpoint is the only one."""
    retries: RetriesEntry | None = None
    """How often to try again what may pass: a number, or a table. Left out: twice for a model
    behind an address, else never."""
    breaker: BreakerEntry | None = None
    """When an endpoint that keeps failing is left alone: false for never, true, or a table. Left
    out: true for a model behind an address, else false."""
    limits: LimitsTable | None = None
    """How much may be under way at once and per minute. Left out: no limits."""


HedgeEntry: TypeAlias = Annotated[
    Annotated[Literal["never", "deadline"], Tag("word")] | Annotated[Seconds, Tag("time")],
    Discriminator(lambda value: "word" if isinstance(value, str) else "time"),
]


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
    fast: Name | None = None
    """The tier to ask, alone, when none can be expected to finish within the budget. Left out: the
    one that is expected to be quickest."""
    hedge: HedgeEntry = "never"
    """When the next rung is started beside one that has not answered yet: "never"; "deadline", as
    late as it can still make the budget; or after so many seconds."""
    on_exhausted: OnExhausted | None = None
    """As on the cascade, for this path. Left out: as the cascade says."""
    thresholds: Thresholds = Field(default_factory=dict)
    """As on the cascade, for this path; they go before the cascade's."""
    stakes: Name | None = None
    """What its calls declare as the signal `stakes`, such as "high". Left out: nothing."""
    task: Name | None = None
    """What its calls declare as the signal `task`. Left out: nothing, so that it is detected."""
    feature: Name | None = None
    """What its calls declare as the signal `feature`. Left out: nothing."""


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
    policy: Name | None = None
    """The file of a tuned policy, which `cascade tune` wrote: it weighs scores in place of
    thresholds. Its path starts at the folder of this file. Left out: the thresholds decide."""
    audit: AuditTable | None = None
    """How a share of its accepted answers is audited; an application does so inside of
    `lifespan`, and `cascade run` when it is done. Left out: not at all."""
    spend: bool = True
    """Whether its calls are held to the caps of [spend]: false for a cascade outside of them."""
    near_last: FalseOr[Name] | None = None
    """As in [spend], for this cascade: the highest tier that its calls may still use once a cap of
    theirs is near; false for the whole ladder. Left out: as [spend] says."""
    paths: dict[Name, PathTable] = Field(default_factory=dict)
    """Named kinds of call."""
    rules: list[RuleTable] = Field(default_factory=list[RuleTable])
    """What a call may use of the ladder, by its signals; the first that matches counts."""
    floors: dict[Name, Name] = Field(default_factory=dict)
    """The lowest tier that calls of some stakes may begin with, whatever the rules say, such as
    high = "large"."""
    router: RouterEntry | None = None
    """A learned router, which chooses the first rung where the rules fix none: the file that
    `cascade learn` wrote, or a table that says more. Left out: the path's ladder is used."""
    signals: dict[Name, FunctionName] = Field(default_factory=dict)
    """Signals of your own for the rules, each a function "module:function" of the request and the
    other signals."""
    request_from: FunctionName | None = None
    """A function "module:function" that finds the request among the arguments of functions this
    cascade wraps. Left out: the first that is one, else all text in them."""


class CapTable(Table):
    """The most that may be spent, in USD, in each period, by each of a scope."""

    usd: UsdAboveZero
    """The most, in USD. Read exactly."""
    per: Period = "day"
    """"call" (all its attempts), "day" or "month" (of UTC), "process" (until it ends) or "total"
    (for ever; in memory: as "process")."""
    scope: Scope = "all"
    """"all" shares one amount; "path", "key" and "cascade" give each path, tenant or cascade its
    own."""
    path: Name | None = None
    """Only calls on this path count. Left out: all."""
    key: Name | None = None
    """Only calls of this tenant count: its name, not a secret. Left out: all."""
    cascade: Name | None = None
    """Only calls of this cascade count. Left out: all."""


def _known_store(store: str) -> str:
    kind, _, file = store.partition(":")
    if store != "memory" and (kind != "sqlite" or not file):
        raise PydanticCustomError("store", "it should be 'memory' or 'sqlite:FILE'")
    return store


class SpendTable(Table):
    """Spend caps, which the cascades of the file share. Every tier of theirs then needs a price."""

    caps: Annotated[list[CapTable], Field(min_length=1)]
    """What a call has to fit: all the caps that it belongs to."""
    store: Annotated[
        str,
        AfterValidator(_known_store),
        WithJsonSchema({"type": "string", "pattern": "^(memory|sqlite:.+)$"}),
    ] = "memory"
    """Where days, months and totals are counted: "memory", or "sqlite:FILE", which processes and
    restarts share; the file's path starts at the folder of this file."""
    near: Annotated[float, Field(gt=0, le=1)] | None = None
    """The share of a cap from which on it counts as near. Left out: 0.8."""
    near_last: Name | None = None
    """The highest tier that calls may still use once a cap of theirs is near. Left out: they use
    the whole ladder until the cap is spent."""
    output_tokens: Count | None = None
    """What is reserved for an answer where nothing says max_tokens. Left out: 4096."""
    input_safety: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    """What guesses of input tokens are multiplied with. Left out: 1.25."""


def _no_secret(address: str) -> str:
    if "@" in address:
        raise PydanticCustomError(
            "secret_in_url",
            "the address holds a user name or password; put it into an environment variable, and "
            "the name of that into url_env",
        )
    return address


Days: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class LedgerTable(Table):
    """Where the calls of all cascades are recorded. Paths start at the folder of this file."""

    url: Annotated[Name, AfterValidator(_no_secret)] | None = None
    """"sqlite:FILE"; or "postgresql://HOST/DATABASE", if that needs no password."""
    url_env: Variable | None = None
    """The environment variable that holds the address, where there is a password in it."""
    jsonl: Name | None = None
    """A file that a JSON object a call is appended to; beside a ledger, or in place of one."""
    content: Literal["none", "answers", "all"] = "none"
    """Whether the text of "answers" is stored, "all" of it with the requests, or "none"."""
    redact: list[FunctionName] = Field(default_factory=list[FunctionName])
    """Functions "module:function" from text to text, which it goes through before."""
    retention_days: Days | None = None
    """How long calls are kept. Left out: for ever."""
    content_days: Days | None = None
    """How long that text is kept. Left out: as long as the calls."""


class ConfigTables(Table):
    """A cascade.toml: model tiers, and the cascades built from them."""

    imports: list[Name] = Field(default_factory=list)
    """Python modules to import first, such as those that register validators with @validator."""
    providers: dict[Name, ProviderTable] = Field(default_factory=dict)
    """Servers that several tiers share."""
    tiers: dict[Name, TierTable] = Field(default_factory=dict)
    """Models with their prices, by the name they go by."""
    tokenizers: dict[Name, Name] = Field(default_factory=dict)
    """Files `tokenizer.json` by how the names of their models begin, to count tokens exactly under
    [spend] and tokens_per_min (extra `tokenizers`). Their paths start at the folder of this
    file. Left out: tokens are estimated."""
    spend: SpendTable | None = None
    """Spend caps of all cascades together. Left out: nothing is capped."""
    ledger: LedgerTable | None = None
    """Where calls are recorded. Left out: nowhere."""
    telemetry: TelemetryTable | None = None
    """Where traces and metrics go. Left out: nowhere."""
    cascades: Annotated[dict[Name, CascadeTable], Field(min_length=1)]
    """Cascades by name; at least one."""
