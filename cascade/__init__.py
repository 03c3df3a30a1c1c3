"""Answer each request with the cheapest model tier that can answer it correctly."""

from __future__ import annotations

from cascade.composition import at_least, weighted
from cascade.context import Context
from cascade.decorator import Cascade, cascade
from cascade.errors import (
    AuthenticationError,
    BadRequestError,
    BadResponseError,
    CascadeError,
    CascadeExhausted,
    ConfigError,
    ContentFilterError,
    ContextLengthError,
    DeadlineExceeded,
    NoAnswerError,
    OverloadedError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitError,
    ServerError,
)
from cascade.function import CascadeFunction
from cascade.metering import Handover, handover
from cascade.routing import Path
from cascade.tier import Tier
from cascade.types import (
    Answer,
    Attempt,
    Charge,
    Price,
    Request,
    Result,
    Secret,
    TokenLogprob,
    ToolCall,
    Usage,
    Verdict,
)
from cascade.validation import Validator, validator

__all__ = [
    "Answer",
    "Attempt",
    "AuthenticationError",
    "BadRequestError",
    "BadResponseError",
    "Cascade",
    "CascadeError",
    "CascadeExhausted",
    "CascadeFunction",
    "Charge",
    "ConfigError",
    "ContentFilterError",
    "Context",
    "ContextLengthError",
    "DeadlineExceeded",
    "Handover",
    "NoAnswerError",
    "OverloadedError",
    "Path",
    "Price",
    "ProviderConnectionError",
    "ProviderError",
    "ProviderTimeoutError",
    "RateLimitError",
    "Request",
    "Result",
    "Secret",
    "ServerError",
    "Tier",
    "TokenLogprob",
    "ToolCall",
    "Usage",
    "Validator",
    "Verdict",
    "at_least",
    "cascade",
    "handover",
    "validator",
    "weighted",
]
