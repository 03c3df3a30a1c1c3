"""The nouns of cascade: requests, answers, prices, verdicts, attempts, results.

Plain slotted dataclasses. Those made on every call (`Answer`, `Verdict`, `Charge`, `Attempt`,
`Result`) are not frozen: freezing three-folds the cost of making one. Treat them as read-only.

Content (prompts, answers, feedback) is left out of every `repr`, so that an object that ends up
in a log line or an error message does not carry it there. Read the attribute to see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context as DecimalContext
from decimal import Decimal, Inexact, InvalidOperation
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NamedTuple, TypeAlias, cast

from cascade.errors import ConfigError
from cascade.options import named_options

if TYPE_CHECKING:
    # With a default, a bare `Answer` in a user's annotation is `Answer[Any]` under --strict too.
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")

__all__ = [
    "UNSET",
    "Answer",
    "Attempt",
    "Charge",
    "Fact",
    "Message",
    "Outcome",
    "Price",
    "Request",
    "Result",
    "Secret",
    "Status",
    "TokenLogprob",
    "ToolCall",
    "Usage",
    "Verdict",
]

Message: TypeAlias = Mapping[str, Any]
"""One chat message in the OpenAI wire format, kept exactly as it was given."""

Fact: TypeAlias = str | int | float | bool | None
"""The value of a signal: a fact about a request. None: unknown."""

Status: TypeAlias = Literal["passed", "failed", "abstained"]
Outcome: TypeAlias = Literal["accepted", "rejected", "failed", "timed_out", "skipped"]


class Unset(Enum):
    """The type of `UNSET`, which stands for "no value", where None is a value."""

    UNSET = "UNSET"


UNSET: Final = Unset.UNSET

# Sums and products of prices are exact: the precision is far beyond any bill, and a price so long
# that it would be rounded all the same raises instead.
_EXACT = DecimalContext(prec=120, traps=[Inexact, InvalidOperation])
_ZERO = Decimal(0)


def add_exactly(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """The exact sum, in USD. None as soon as one amount is unknown (None)."""
    total = _ZERO
    for amount in amounts:
        if amount is None:
            return None
        total = _EXACT.add(total, amount)
    return total


class Secret:
    """A key that never prints: `repr`, `str`, `format` and pickling do not show it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not value:
            raise ConfigError("a secret is empty; leave it out to read it from the environment")
        self._value = value

    def reveal(self) -> str:
        """The key itself, to be put into a request header and nowhere else."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled; pass the name of an environment variable instead")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, as the provider billed them.

    Attributes:
        input_tokens: all tokens read, the cached and cache-written ones included.
        output_tokens: all tokens written, the reasoning ones included.
        cached_input_tokens: the part of the input read from a prompt cache. None: not said.
        cache_write_tokens: the part of the input written to a prompt cache. None: not said.
        reasoning_tokens: the part of the output that is hidden reasoning. None: not said.
    """

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None

    def __add__(self, other: Usage) -> Usage:
        """The sum; a part that one side does not know is unknown in the sum."""

        def both(a: int | None, b: int | None) -> int | None:
            return None if a is None or b is None else a + b

        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            both(self.cached_input_tokens, other.cached_input_tokens),
            both(self.cache_write_tokens, other.cache_write_tokens),
            both(self.reasoning_tokens, other.reasoning_tokens),
        )


NO_USAGE = Usage(0, 0, 0, 0, 0)
"""A call that the provider is known not to have billed."""


def _exact_price(name: str, value: float | str | Decimal) -> Decimal:
    """USD per token, from USD per million tokens."""
    try:
        # repr of a float is the shortest number that reads back as it: 0.05, not 0.0500000...277.
        price = value if isinstance(value, Decimal) else Decimal(str(value))
        if isinstance(value, bool) or not price.is_finite() or price < 0:
            raise ValueError
        return _EXACT.scaleb(_EXACT.create_decimal(price), -6)
    except (ArithmeticError, ValueError, TypeError):
        raise ConfigError(
            f"price {name}={value!r} is not a number of USD per million tokens, 0 or more"
        ) from None


class Price:
    """What a model charges, in USD per million tokens. Numbers are kept exactly.

    Args:
        input: for tokens read.
        output: for tokens written.
        cached_input: for tokens read from a prompt cache. None: the same as `input`.
        cache_write: for tokens written to a prompt cache. None: the same as `input`.
        reasoning: for hidden reasoning tokens. None: the same as `output`.

    Raises:
        ConfigError: a price is negative or not a finite number.
    """

    __slots__ = ("_per_token",)

    @named_options
    def __init__(
        self,
        *,
        input: float | str | Decimal,
        output: float | str | Decimal,
        cached_input: float | str | Decimal | None = None,
        cache_write: float | str | Decimal | None = None,
        reasoning: float | str | Decimal | None = None,
    ) -> None:
        read, written = _exact_price("input", input), _exact_price("output", output)
        self._per_token = (
            read,
            written,
            read if cached_input is None else _exact_price("cached_input", cached_input),
            read if cache_write is None else _exact_price("cache_write", cache_write),
            written if reasoning is None else _exact_price("reasoning", reasoning),
        )

    @classmethod
    def free(cls) -> Price:
        """The price of a tier that costs nothing per call, such as a local function."""
        return cls(input=0, output=0)

    @property
    def is_free(self) -> bool:
        """Whether every price is zero, so that the cost is known without a token count."""
        return not any(self._per_token)

    def cost_usd(self, usage: Usage | None) -> Decimal | None:
        """The exact cost of `usage`, in USD. None when the usage is unknown and not free."""
        if usage is None:
            return _ZERO if self.is_free else None
        read, written, cached, cache_write, reasoning = self._per_token
        from_cache = min(usage.cached_input_tokens or 0, usage.input_tokens)
        to_cache = min(usage.cache_write_tokens or 0, usage.input_tokens - from_cache)
        hidden = min(usage.reasoning_tokens or 0, usage.output_tokens)
        total = _EXACT.multiply(read, Decimal(usage.input_tokens - from_cache - to_cache))
        for price, tokens in (
            (cached, from_cache),
            (cache_write, to_cache),
            (written, usage.output_tokens - hidden),
            (reasoning, hidden),
        ):
            if tokens:
                total = _EXACT.add(total, _EXACT.multiply(price, Decimal(tokens)))
        return total

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Price) and other._per_token == self._per_token

    def __hash__(self) -> int:
        return hash(self._per_token)

    def __repr__(self) -> str:
        names = ("input", "output", "cached_input", "cache_write", "reasoning")
        per_million = (_EXACT.scaleb(price, 6) for price in self._per_token)
        shown = ", ".join(f"{n}={p:f}" for n, p in zip(names, per_million, strict=True))
        return f"Price({shown})"


@dataclass(slots=True)
class Charge:
    """One billed call to a model.

    Attributes:
        tier: the name of the tier that was called.
        price: None when unknown.
        usage: None when unknown, as for a call that was cancelled half-way.
        purpose: "answer", or the name of the validator that made the call.
        queue_s: seconds it waited in the tier's limits before it was sent.
    """

    tier: str
    price: Price | None
    usage: Usage | None = None
    purpose: str = "answer"
    queue_s: float = 0.0

    @property
    def cost_usd(self) -> Decimal | None:
        """USD, exact. None when price or usage is unknown; what used nothing cost nothing."""
        if self.price is None:
            return _ZERO if self.usage == NO_USAGE else None
        return self.price.cost_usd(self.usage)


class TokenLogprob(NamedTuple):
    """One token of an answer with its natural log-probability.

    `top` holds the likeliest tokens at that place with theirs, as many as were asked for;
    `utf8` the token's bytes where the provider gives them (a token can be part of a character).
    """

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()
    utf8: bytes | None = None


class ToolCall(NamedTuple):
    """A tool the model wants called. `arguments` is the JSON text it wrote, not yet checked."""

    id: str | None
    name: str
    arguments: str


@dataclass(slots=True)
class Answer(Generic[T]):
    """What one tier said.

    Attributes:
        value: what the call returned: any object; the text, for a chat call.
        text: the text to judge. None when there is none, such as for a bare tool call.
        tool_calls: the tools the model wants called, in order.
        finish_reason: "stop", "length", "tool_calls", "content_filter", or the provider's own
            word where it has no counterpart. None when unknown.
        logprobs: the tokens of `text` with their log-probabilities. None when not given.
        usage: None when unknown.
        refusal: the provider's structured refusal. None when there is none.
        reasoning: visible reasoning text. None when there is none.
        model: the model that answered, by the provider's own name. None when unknown.
        raw: the provider's response as received. None when there is none.
    """

    value: T = field(repr=False)
    text: str | None = field(default=None, repr=False)
    tool_calls: Sequence[ToolCall] = field(default=(), repr=False)
    finish_reason: str | None = None
    logprobs: Sequence[TokenLogprob] | None = field(default=None, repr=False)
    usage: Usage | None = None
    refusal: str | None = field(default=None, repr=False)
    reasoning: str | None = field(default=None, repr=False)
    model: str | None = None
    raw: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.text is None and isinstance(self.value, str):
            self.text = self.value


class Request:
    """Chat messages with every parameter of the call, kept exactly as they were given.

    Args:
        messages: a string (one user message) or messages in the OpenAI wire format.
        params: any parameter of the wire format (tools, response_format, seed, stop ...).

    Raises:
        ConfigError: there are no messages, or a parameter that the tier decides is among them.
    """

    __slots__ = ("messages", "params")

    messages: tuple[Message, ...]
    params: Mapping[str, Any]

    def __init__(self, messages: str | Iterable[Message], /, **params: Any) -> None:
        if isinstance(messages, str):
            messages = ({"role": "user", "content": messages},)
        self.messages = tuple(messages)
        self.params = params
        if not self.messages:
            raise ConfigError("a request has no messages; give it at least one")
        for message in self.messages:
            if not isinstance(message, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConfigError(
                    f"a message is a {type(message).__name__}; give mappings such as "
                    '{"role": "user", "content": "..."}'
                )
        if "model" in params:
            raise ConfigError("a request names a model; leave it out: each tier names its own")
        if params.get("stream"):
            raise ConfigError(
                "a request has stream=True; leave it out: an answer is judged whole before "
                "any of it is returned"
            )

    @classmethod
    def of(cls, source: str | Request | Mapping[str, Any] | Iterable[Message]) -> Request:
        """A request from a string, messages, or a body `{"messages": [...], ...}`."""
        if isinstance(source, Request):
            return source
        if isinstance(source, Mapping):
            body = dict(cast("Mapping[str, Any]", source))
            if "messages" not in body:
                raise ConfigError('a request body has no "messages"')
            return cls(body.pop("messages"), **body)
        if not isinstance(source, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                f"a request is a {type(source).__name__}; give text, messages or a body"
            )
        return cls(source)

    def with_params(self, defaults: Mapping[str, Any]) -> Request:
        """A copy in which `defaults` stand wherever this request does not say."""
        return self if not defaults else Request(self.messages, **{**defaults, **self.params})

    def without_params(self, names: Iterable[str]) -> Request:
        """A copy without parameters of these names."""
        left_out = frozenset(names)
        kept = {name: value for name, value in self.params.items() if name not in left_out}
        return Request(self.messages, **kept)

    def followed_by(self, *messages: Message) -> Request:
        """A copy with messages added at the end."""
        return Request((*self.messages, *messages), **self.params)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Request)
            and other.messages == self.messages
            and other.params == self.params
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        params = "".join(f", {name}=..." for name in self.params)
        return f"Request(<{len(self.messages)} messages>{params})"


@dataclass(slots=True)
class Verdict:
    """One validator's judgement of one answer.

    Attributes:
        status: "passed", "failed", or "abstained": the validator could not tell. Abstaining is
            not passing.
        score: 0 (surely bad) to 1 (surely good). None: no score.
        reason: a short code such as "not_json"; safe to log and count. "" when passed.
        feedback: what was wrong, in words for the next tier. May quote the answer. None: nothing.
        value: what the validator parsed, to be the accepted value. UNSET: it parses nothing.
        validator: the validator's name; set by the engine.
        threshold: the least score that passes. None: the validator has no threshold.
        parts: the verdicts that a composed validator was made from.
        latency_s: seconds the validator took; set by the engine. None: it was not timed.

    An abstention that carries a score is decided by the validator's threshold, if it has one.
    """

    status: Status
    score: float | None = None
    reason: str = ""
    feedback: str | None = field(default=None, repr=False)
    value: Any = field(default=UNSET, repr=False)
    validator: str = ""
    threshold: float | None = None
    parts: tuple[Verdict, ...] = ()
    latency_s: float | None = None

    @classmethod
    def passed(
        cls,
        score: float = 1.0,
        *,
        value: Any = UNSET,
        reason: str = "",
        feedback: str | None = None,
    ) -> Verdict:
        """The answer is good enough."""
        return cls("passed", score, reason, feedback, value)

    @classmethod
    def failed(
        cls,
        reason: str = "failed",
        *,
        score: float = 0.0,
        feedback: str | None = None,
        value: Any = UNSET,
    ) -> Verdict:
        """The answer is not good enough, and why."""
        return cls("failed", score, reason, feedback, value)

    @classmethod
    def abstained(cls, reason: str, *, feedback: str | None = None) -> Verdict:
        """Nothing can be said of the answer, and why."""
        return cls("abstained", None, reason, feedback)

    @classmethod
    def scored(cls, score: float, *, feedback: str | None = None, value: Any = UNSET) -> Verdict:
        """A score that the validator's threshold turns into passed or failed."""
        return cls("abstained", score, "no_threshold", feedback, value)


def _nothing_yet() -> list[Any]:
    return []  # `list[Verdict]()` takes eight times as long, on every call


@dataclass(slots=True)
class Attempt:
    """One tier's try at one call.

    Attributes:
        tier: the tier's name.
        ask: 0 for the first time this tier was asked, 1 for the first re-ask, and so on.
        outcome: accepted, rejected (a validator did not pass it), failed (the call broke),
            timed_out, or skipped (the tier was never asked, or, as a hedge, called off because
            another rung was accepted first).
        reason: why, as a code: "json_schema:invalid", "RateLimitError", "budget", "hedge". "" if
            accepted.
        answer: None when the tier gave none.
        error: what broke. None unless the outcome is failed or timed_out by the transport.
        verdicts: one for each validator that ran.
        charges: one for each billed call, those of the validators included.
        latency_s: seconds from asking the tier to the last verdict. 0 when skipped.
        call_s: seconds of the tier's call alone. None when it did not come back.
        model: the tier's model, as in "openai:gpt-5-nano". None: it has none.
        started_s: seconds from the start of the call to asking the tier.
        request: the last request sent through the tier. None: none was, or it did not come back.
    """

    tier: str
    ask: int = 0
    outcome: Outcome = "timed_out"
    reason: str = "budget"
    answer: Answer[Any] | None = None
    error: Exception | None = field(default=None, repr=False)
    verdicts: list[Verdict] = field(default_factory=_nothing_yet)
    charges: list[Charge] = field(default_factory=_nothing_yet)
    latency_s: float = 0.0
    call_s: float | None = None
    model: str | None = None
    started_s: float = 0.0
    request: Request | None = field(default=None, repr=False)

    @property
    def queue_s(self) -> float:
        """Seconds its own requests waited in the tier's limits; a part of `latency_s`."""
        return sum(charge.queue_s for charge in self.charges if charge.purpose == "answer")

    @property
    def cost_usd(self) -> Decimal | None:
        """The exact sum of the charges, in USD. None when one is unknown; 0 when skipped."""
        return add_exactly(charge.cost_usd for charge in self.charges)

    @property
    def score(self) -> float | None:
        """The combined score: the lowest of the verdicts'. None when no verdict has one."""
        scores = [v.score for v in self.verdicts if v.score is not None]
        return min(scores, default=None)

    @property
    def value(self) -> Any:
        """The answer's value: what the last parsing validator made of it, else as returned.

        UNSET when the tier gave no answer.
        """
        for verdict in reversed(self.verdicts):
            if verdict.value is not UNSET:
                return verdict.value
        return UNSET if self.answer is None else self.answer.value

    @property
    def feedback(self) -> str | None:
        """What the validators found wrong, a line each. None when they said nothing."""
        lines = [v.feedback for v in self.verdicts if v.status != "passed" and v.feedback]
        return "\n".join(lines) or None


@dataclass(slots=True)
class Result(Generic[T]):
    """The whole story of one call.

    Attributes:
        value: the accepted value. When `accepted` is False: the best rejected one, or None.
        accepted: whether a tier's answer was accepted.
        tier: the name of the tier whose answer this is. None when no tier answered.
        reason: "accepted", "exhausted" (no rung left), "budget" (the deadline struck, or nothing
            more fitted before it), "spend" (a cap was reached) or "shutdown". Observers are also
            told of calls that raised: "cancelled", or "error" for a mistake in the program.
        attempts: in order, the skipped ones too.
        latency_s: seconds from the call to its end.
        path: the name of the path. None: the whole ladder without a path.
        cascade: the cascade's name. None: it has none.
        budget_s: seconds the call was given. None: no limit.
        answer: the tier's whole answer. None when no tier answered.
        id: names this call among all others, in whatever process.
        started_at: when it started, in Unix time.
        rule: the name of the routing rule that decided its rungs. None: no rule did.
        rule_reason: why it had these rungs, or began where it did, in words without content. None:
            neither a rule nor a router had a say.
        signals: the facts about the request that were declared or looked at.
        policy: the version of the policy in force. None: no policy.
        tenant: who it was made for. None: nobody was named.
        metadata: the caller's own labels.
        parent: the id of the call around this one. None: it is in none.
        plan: the names of the tiers that it could use, cheapest first: what its path, rule and
            policy left of the ladder.
    """

    value: T = field(repr=False)
    accepted: bool
    tier: str | None
    reason: str
    attempts: tuple[Attempt, ...]
    latency_s: float
    path: str | None = None
    cascade: str | None = None
    answer: Answer[Any] | None = None
    budget_s: float | None = None
    id: str = ""
    started_at: float = 0.0
    rule: str | None = None
    rule_reason: str | None = None
    signals: Mapping[str, Fact] = field(default_factory=dict[str, Fact])
    policy: str | None = None
    tenant: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    parent: str | None = None
    plan: tuple[str, ...] = ()

    @property
    def cost_usd(self) -> Decimal | None:
        """The exact sum over all attempts, in USD. None when any part of it is unknown."""
        return add_exactly(attempt.cost_usd for attempt in self.attempts)

    @property
    def known_cost_usd(self) -> Decimal:
        """The exact sum of the charges whose cost is known, in USD: a lower bound."""
        charges = (charge.cost_usd for attempt in self.attempts for charge in attempt.charges)
        return add_exactly(cost for cost in charges if cost is not None) or _ZERO

    @property
    def usage(self) -> Usage | None:
        """All tokens of all attempts. None when any part of it is unknown."""
        total = NO_USAGE
        for attempt in self.attempts:
            for charge in attempt.charges:
                if charge.usage is None:
                    return None
                total += charge.usage
        return total

    @property
    def escalations(self) -> int:
        """How often the call went on to another tier after one was asked."""
        asked = [a.tier for a in self.attempts if a.outcome != "skipped"]
        return sum(1 for before, after in pairwise(asked) if before != after)

    def story(self) -> str:
        """The call in words, a line an attempt, without content. For people, not for parsing."""
        lines = [f"{self.reason} in {self.latency_s:.3f} s for {_usd(self.cost_usd)}"]
        if self.rule_reason is not None:
            rule = "route" if self.rule is None else f"rule {self.rule!r}"
            lines.append(f"  {rule}: {self.rule_reason}")
        for a in self.attempts:
            why = f" ({a.reason})" if a.reason else ""
            lines.append(f"  {a.tier}: {a.outcome}{why}, {a.latency_s:.3f} s, {_usd(a.cost_usd)}")
        return "\n".join(lines)


def _usd(amount: Decimal | None) -> str:
    return "an unknown cost" if amount is None else f"${amount.normalize():f}"
