"""Every way a provider can fail, as one of cascade's errors.

The message of an error is made of names, numbers and short codes. What the provider said in words
may quote the prompt or the key, so it stays on `ProviderError.body`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from cascade.errors import (
    AuthenticationError,
    BadRequestError,
    BadResponseError,
    ContentFilterError,
    ContextLengthError,
    OverloadedError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitError,
    ServerError,
)
from cascade.providers._reading import as_list, as_mapping, as_text
from cascade.types import NO_USAGE, Usage

if TYPE_CHECKING:
    from cascade.providers import Endpoint

__all__ = ["embedded_error", "label", "refuse", "retry_after_s", "status_error", "transport_error"]

_FILTERED: Final = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "invalid_prompt",
        "moderation_blocked",
        "ResponsibleAIPolicyViolation",
    }
)
_FILTERED_TEXT: Final = re.compile(r"blocked by content filtering|flagged by .*moderation", re.I)
_TOO_LONG: Final = frozenset(
    {"context_length_exceeded", "exceed_context_size_error", "string_above_max_length"}
)
# The servers that have no code for it: Anthropic, vLLM, llama.cpp, LM Studio, Gemini, SGLang.
_TOO_LONG_TEXT: Final = re.compile(
    r"prompt is too long|input is too long|context (length|window|limit|size)"
    r"|exceeds the maximum (number of|allowed) (input )?tokens|longer than the model",
    re.I,
)
# With more than four digits it is rather a key or a number of the caller's that is quoted.
_CODE: Final = re.compile(r"(?!(?:.*\d){5})[A-Za-z][A-Za-z0-9_.-]{0,63}")

# What an error inside a 200 stands for, where it does not carry a status of its own.
_STATUS_OF_CODE: Final[Mapping[str, int]] = {
    "authentication_error": 401,
    "content_filter": 400,
    "context_length_exceeded": 400,
    "insufficient_quota": 429,
    "invalid_request_error": 400,
    "not_found_error": 404,
    "overloaded_error": 529,
    "permission_error": 403,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
}

_WHY: Final[Mapping[type[ProviderError], str]] = {
    AuthenticationError: "the key is missing, wrong, or not allowed to use this model",
    BadRequestError: "the provider will not take this request; its reason is on the error's body",
    BadResponseError: "that is neither an answer nor an error; check base_url",
    ContentFilterError: "the provider refused by its content policy",
    ContextLengthError: "the request is longer than the model's context",
    OverloadedError: "the provider has no capacity for the moment",
    ProviderTimeoutError: "the provider gave up waiting",
    RateLimitError: "too many requests or tokens, or no quota left",
    ServerError: "the provider broke",
}


def label(endpoint: Endpoint) -> str:
    """How messages name a model: "openai:gpt-5-nano"."""
    return f"{endpoint.provider}:{endpoint.model}"


def refuse(who: str, why: str) -> BadRequestError:
    """A request that is not sent, because it would not mean there what it means here."""
    return BadRequestError(f"{who} was not asked: {why}", usage=NO_USAGE)


def status_error(who: str, status: int, headers: Mapping[str, str], body: Any) -> ProviderError:
    """The error for an HTTP answer that is no success.

    Args:
        who: the model, as `label` names it.
        status: the HTTP status.
        headers: those of the answer, with lower-case names.
        body: the answer's body: parsed if it is JSON, else its text.
    """
    return _error(who, str(status), status, headers, body)


def _error(
    who: str, answered: str, status: int, headers: Mapping[str, str], body: Any
) -> ProviderError:
    codes, words = _said(body)
    kind = _kind(status, codes, words)
    code = codes[0] if codes else None
    shown = f" ({code})" if code else ""
    why = "check the model's name and base_url" if status == 404 else _WHY[kind]
    return kind(
        f"{who} answered {answered}{shown}: {why}",
        status=status,
        retry_after_s=retry_after_s(headers),
        code=code,
        usage=_billed(kind),
        body=body,
    )


def embedded_error(who: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> ProviderError:
    """The error for a success that holds an error instead of an answer.

    Its `status` is the one that the error stands for; the message says what came.
    """
    codes, _ = _said(body)
    status = as_mapping(body.get("error")).get("code")
    if isinstance(status, bool) or not isinstance(status, int) or not 400 <= status <= 599:
        status = next((_STATUS_OF_CODE[c] for c in codes if c in _STATUS_OF_CODE), 500)
    return _error(who, "200 with an error in it", status, headers, body)


def transport_error(who: str, origin: str, error: Exception) -> ProviderError:
    """The error for a request that got no HTTP answer."""
    import httpx

    from cascade.providers._encoding import AnswerTooLargeError

    name = type(error).__name__
    if isinstance(error, AnswerTooLargeError):
        return BadResponseError(f"{who}: the answer from {origin} is no answer: {error}")
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return ProviderTimeoutError(
            f"{who}: no connection to {origin} in time ({name})", usage=NO_USAGE
        )
    if isinstance(error, httpx.TimeoutException):
        return ProviderTimeoutError(f"{who}: no answer from {origin} in time ({name})")
    if isinstance(error, httpx.ConnectError):
        # The system's own words (refused, unknown host, bad certificate): they hold no content.
        return ProviderConnectionError(
            f"{who}: no connection to {origin}: {error}; is the server running, and is base_url "
            "right?",
            usage=NO_USAGE,
        )
    if isinstance(error, httpx.ProxyError):
        return ProviderConnectionError(f"{who}: the proxy refused ({name})", usage=NO_USAGE)
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return refuse(who, f"the address or a header cannot be sent ({name}); check base_url")
    return ProviderConnectionError(f"{who}: the connection to {origin} broke off ({name})")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by `retry-after-ms` or `Retry-After` (RFC 9110, section 10.2.3).

    None when the provider does not say, or says something that is no time to come.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    return _until(value, headers.get("date")) if seconds is None else seconds


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _until(value: str | None, now: str | None) -> float | None:
    moment = _date(value)
    if moment is None:
        return None
    # By the provider's own clock where it shows it: ours may be off.
    seconds = (moment - (_date(now) or datetime.now(UTC))).total_seconds()
    return seconds if seconds >= 0 else None


def _date(value: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(value or "")
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _said(body: Any) -> tuple[list[str], str]:
    """The codes in an error's body, the most telling first, and its words."""
    # Gemini wraps the object in an array; vLLM leaves the "error" level out; others have only text.
    outer = as_mapping(as_list(body)[0] if as_list(body) else body)
    error = outer.get("error", outer)
    details = as_mapping(error)
    candidates = (
        details.get("code"),
        details.get("type"),
        as_mapping(details.get("innererror")).get("code"),
        details.get("status"),
    )
    codes = [c for c in candidates if isinstance(c, str) and _CODE.fullmatch(c)]
    words = as_text(details.get("message")) or as_text(error) or as_text(outer.get("detail"))
    return codes, words or ""


def _kind(status: int, codes: list[str], words: str) -> type[ProviderError]:
    if 400 <= status <= 499 and status != 429:
        if not _FILTERED.isdisjoint(codes) or _FILTERED_TEXT.search(words):
            return ContentFilterError
        too_long = not _TOO_LONG.isdisjoint(codes) or _TOO_LONG_TEXT.search(words)
        if status in (400, 413, 422) and too_long:
            return ContextLengthError
    if status in (503, 529) or "overloaded_error" in codes:
        return OverloadedError
    by_status: dict[int, type[ProviderError]] = {
        401: AuthenticationError,
        403: AuthenticationError,
        408: ProviderTimeoutError,
        429: RateLimitError,
    }
    if status in by_status:
        return by_status[status]
    if status >= 500:
        return ServerError
    return BadRequestError if status >= 400 else BadResponseError


def _billed(kind: type[ProviderError]) -> Usage | None:
    """Nothing where the provider surely refused before it worked; else unknown."""
    # A content filter may have read the prompt, or the answer, at the caller's expense.
    unbilled = (AuthenticationError, RateLimitError, OverloadedError, BadRequestError)
    return NO_USAGE if issubclass(kind, unbilled) and kind is not ContentFilterError else None
