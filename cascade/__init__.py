"""Answer each request with the cheapest model tier that can answer it correctly."""

from __future__ import annotations

from cascade.breaker import Breaker
from cascade.composition import at_least, weighted
from cascade.context import Context
from cascade.decorator import Cascade, cascade
from cascade.delivery import Deployment
from cascade.errors import (
    AuthenticationError,
    BadRequestError,
    BadResponseError,
    CascadeClosed,
    CascadeError,
    CascadeExhausted,
    CircuitOpenError,
    ConfigError,
    ContentFilterError,
    ContextLengthError,
    DeadlineExceeded,
    LoadShedError,
    NoAnswerError,
    OverloadedError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitError,
    ServerError,
    SpendLimitExceeded,
)
from cascade.function import CascadeFunction
from cascade.limits import Limits
from cascade.metering import Handover, handover
from cascade.observing import Recorder
from cascade.retry import Retries
from cascade.routing import Path
from cascade.rules import Choice, Router, Rule
from cascade.signals import Signals
from cascade.spend import Cap, Spend, tenant
from cascade.spend_store import SQLiteStore
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
    "Breaker",
    "Cap",
    "Cascade",
    "CascadeClosed",
    "CascadeError",
    "CascadeExhausted",
    "CascadeFunction",
    "Charge",
    "Choice",
    "CircuitOpenError",
    "ConfigError",
    "ContentFilterError",
    "Context",
    "ContextLengthError",
    "DeadlineExceeded",
    "Deployment",
    "Handover",
    "Limits",
    "LoadShedError",
    "NoAnswerError",
    "OverloadedError",
    "Path",
    "Price",
    "ProviderConnectionError",
    "ProviderError",
    "ProviderTimeoutError",
    "RateLimitError",
    "Recorder",
    "Request",
    "Result",
    "Retries",
    "Router",
    "Rule",
    "SQLiteStore",
    "Secret",
    "ServerError",
    "Signals",
    "Spend",
    "SpendLimitExceeded",
    "Tier",
    "TokenLogprob",
    "ToolCall",
    "Usage",
    "Validator",
    "Verdict",
    "at_least",
    "cascade",
    "handover",
    "tenant",
    "validator",
    "weighted",
]
