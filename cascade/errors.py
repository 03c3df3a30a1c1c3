"""Every error cascade raises, in one place.

    CascadeError
    ├── ConfigError                  a cascade, tier, path, validator or file that cannot work
    ├── NoAnswerError                the call ended without an accepted answer
    │   ├── CascadeExhausted         every rung was tried
    │   ├── CascadeClosed            the cascade was shut down
    │   ├── DeadlineExceeded         the path's budget ran out first
    │   └── SpendLimitExceeded       a spend cap has too little left for the next call
    └── ProviderError                a call to a model broke
        ├── AuthenticationError      401, 403: the key is missing, wrong or not allowed
        ├── RateLimitError           429; `retry_after_s` says when to come back
        ├── OverloadedError          503, 529: the provider is out of capacity for now
        ├── ServerError              any other 5xx
        ├── BadRequestError          any other 4xx: asking again the same way fails again
        │   ├── ContextLengthError   the request is longer than the model reads
        │   └── ContentFilterError   the provider refused the request by policy
        ├── ProviderTimeoutError     no answer within the transport's own time limits
        ├── ProviderConnectionError  no connection, or one that broke off
        ├── BadResponseError         an answer that is not the provider's wire format
        ├── CircuitOpenError         not sent: the model's endpoint has kept failing
        └── LoadShedError            not sent: the tier's limits let no more through in time

Messages hold names, numbers and codes only: never a prompt, an answer or a key. What a provider
said in full stays on `ProviderError.body`, for those who ask for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from decimal import Decimal

    from cascade.spend import Cap
    from cascade.types import Answer, Attempt, Result, Usage

__all__ = [
    "AuthenticationError",
    "BadRequestError",
    "BadResponseError",
    "CascadeClosed",
    "CascadeError",
    "CascadeExhausted",
    "CircuitOpenError",
    "ConfigError",
    "ContentFilterError",
    "ContextLengthError",
    "DeadlineExceeded",
    "LoadShedError",
    "NoAnswerError",
    "OverloadedError",
    "ProviderConnectionError",
    "ProviderError",
    "ProviderTimeoutError",
    "RateLimitError",
    "ServerError",
    "SpendLimitExceeded",
]


class CascadeError(Exception):
    """Root of every error that cascade raises on purpose."""


class ConfigError(CascadeError, ValueError):
    """Something was put together in a way that cannot work; the message names the mend."""


class NoAnswerError(CascadeError):
    """A call ended with no accepted answer. Base of the two ways in which that happens.

    Attributes:
        result: the whole story of the call, `accepted` False. None only on an error that was
            built by hand.
    """

    def __init__(self, message: str, *, result: Result[Any] | None = None) -> None:
        super().__init__(message)
        self.result = result

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every attempt of the call, in order, the skipped ones too."""
        return self.result.attempts if self.result else ()

    @property
    def best(self) -> Answer[Any] | None:
        """The best-scoring answer that was rejected. None when no tier answered at all."""
        return self.result.answer if self.result else None

    @property
    def cost_usd(self) -> Decimal | None:
        """What the call cost all the same, in USD. None when any part of it is unknown."""
        return self.result.cost_usd if self.result else None

    @property
    def latency_s(self) -> float | None:
        """How long the call took, in seconds."""
        return self.result.latency_s if self.result else None


class CascadeExhausted(NoAnswerError):
    """Every rung was tried and no answer was accepted."""


class CascadeClosed(NoAnswerError):
    """The cascade was shut down: it took no new call, or ended this one at the drain's deadline."""


class DeadlineExceeded(NoAnswerError, TimeoutError):
    """The path's budget ran out before an answer was accepted."""


class SpendLimitExceeded(NoAnswerError):
    """The next call might cost more than a spend cap has left, so it was not made.

    Attributes:
        cap: the cap that refused it.
        spent_usd: what is spent or reserved under the cap, in USD.
        asked_usd: what the call might have cost, in USD.
        resets_at: when the cap's period ends, in UTC. None: it does not.
    """

    def __init__(
        self,
        message: str,
        *,
        cap: Cap | None = None,
        spent_usd: Decimal | None = None,
        asked_usd: Decimal | None = None,
        resets_at: datetime | None = None,
        result: Result[Any] | None = None,
    ) -> None:
        super().__init__(message, result=result)
        self.cap = cap
        self.spent_usd = spent_usd
        self.asked_usd = asked_usd
        self.resets_at = resets_at


class ProviderError(CascadeError):
    """A call to a model broke.

    Attributes:
        status: the HTTP status. None when there was no HTTP answer.
        retry_after_s: seconds the provider asks to wait. None when it did not say.
        code: the provider's own error code, such as "rate_limit_exceeded". None when it gave none.
        usage: tokens billed for the broken call: zero where the provider refused before it
            generated anything, None where that is unknown.
        body: the provider's answer as received. It may quote the prompt: not for logs.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        code: str | None = None,
        usage: Usage | None = None,
        body: Any = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s
        self.code = code
        self.usage = usage
        self.body = body


class AuthenticationError(ProviderError):
    """The key is missing, wrong, or not allowed to use the model (401, 403)."""


class RateLimitError(ProviderError):
    """Too many requests or tokens (429)."""


class OverloadedError(ProviderError):
    """The provider has no capacity for the moment (503, 529)."""


class ServerError(ProviderError):
    """The provider broke (any other 5xx)."""


class BadRequestError(ProviderError):
    """The provider will not take this request (any other 4xx)."""


class ContextLengthError(BadRequestError):
    """The request is longer than the model's context."""


class ContentFilterError(BadRequestError):
    """The provider refused the request by its content policy."""


class ProviderTimeoutError(ProviderError):
    """No answer came within the transport's own time limits."""


class ProviderConnectionError(ProviderError):
    """No connection could be made, or it broke off."""


class BadResponseError(ProviderError):
    """The answer is not what the provider's wire format promises."""


class CircuitOpenError(ProviderError):
    """Nothing was sent: the circuits of all the tier's deployments are open.

    `retry_after_s` says when the next probe is due; None while one is on its way.
    """


class LoadShedError(ProviderError):
    """Nothing was sent: by the tier's limits it could not be in time, or the queue is full.

    `retry_after_s` is the estimated wait.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The tail of a message about an unknown word: the nearest known one, or all of them."""
    from difflib import get_close_matches

    names = sorted(known)
    close = get_close_matches(word, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(map(repr, names))}" if names else "none are known"
