from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from cascade.providers._failures import retry_after_s, status_error, transport_error
from cascade.simulated import Reply
from cascade.types import NO_USAGE
from tests.providers.support import failure_of, scripted

EVERY_STATUS = [
    (301, BadResponseError),
    (400, BadRequestError),
    (401, AuthenticationError),
    (402, BadRequestError),
    (403, AuthenticationError),
    (404, BadRequestError),
    (405, BadRequestError),
    (408, ProviderTimeoutError),
    (409, BadRequestError),
    (413, BadRequestError),
    (418, BadRequestError),
    (422, BadRequestError),
    (429, RateLimitError),
    (499, BadRequestError),
    (500, ServerError),
    (501, ServerError),
    (502, ServerError),
    (503, OverloadedError),
    (504, ServerError),
    (520, ServerError),
    (529, OverloadedError),
    (599, ServerError),
]
UNBILLED = (AuthenticationError, BadRequestError, RateLimitError, OverloadedError)


@pytest.mark.anyio
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize(("status", "kind"), EVERY_STATUS)
@pytest.mark.parametrize("body", [b"", b"<html>bad gateway</html>", {"error": {"code": "x_y"}}])
async def test_every_status_is_its_error(
    provider: str, status: int, kind: type[ProviderError], body: Any
) -> None:
    async with scripted(Reply(status, body), provider=provider) as s:
        error = await failure_of(s.tier)
    assert type(error) is kind
    assert error.status == status
    assert error.code == ("x_y" if isinstance(body, dict) else None)
    assert error.usage == (NO_USAGE if kind in UNBILLED else None)
    assert error.body == (body if isinstance(body, dict) else body.decode())
    assert f"{provider}:m answered {status}" in str(error)


BODIES: list[tuple[int, Any, type[ProviderError], str | None]] = [
    # OpenAI
    (400, {"error": {"code": "context_length_exceeded"}}, ContextLengthError, None),
    (429, {"error": {"code": "insufficient_quota"}}, RateLimitError, "insufficient_quota"),
    (400, {"error": {"code": "invalid_prompt"}}, ContentFilterError, None),
    (404, {"error": {"code": "model_not_found"}}, BadRequestError, "model_not_found"),
    (400, {"error": {"code": None, "type": "invalid_x"}}, BadRequestError, "invalid_x"),
    # Azure
    (400, {"error": {"code": "content_filter"}}, ContentFilterError, "content_filter"),
    (
        400,
        {"error": {"code": None, "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
        ContentFilterError,
        "ResponsibleAIPolicyViolation",
    ),
    # Anthropic
    (
        400,
        {"error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}},
        ContextLengthError,
        "invalid_request_error",
    ),
    (529, {"error": {"type": "overloaded_error"}}, OverloadedError, "overloaded_error"),
    (500, {"error": {"type": "overloaded_error"}}, OverloadedError, "overloaded_error"),
    (
        400,
        {"error": {"message": "Output blocked by content filtering policy"}},
        ContentFilterError,
        None,
    ),
    # vLLM, with and without the level of "error"
    (
        400,
        {"object": "error", "message": "maximum context length is 9", "type": "BadRequestError"},
        ContextLengthError,
        "BadRequestError",
    ),
    (
        400,
        {"error": {"message": "maximum context length is 9", "type": "B", "code": 400}},
        ContextLengthError,
        "B",
    ),
    # llama.cpp
    (400, {"error": {"type": "exceed_context_size_error"}}, ContextLengthError, None),
    # Ollama
    (404, {"error": "model 'm' not found"}, BadRequestError, None),
    # Gemini
    (
        400,
        [
            {
                "error": {
                    "status": "INVALID_ARGUMENT",
                    "message": "The input token count exceeds the maximum number of tokens allowed",
                }
            }
        ],
        ContextLengthError,
        "INVALID_ARGUMENT",
    ),
    # FastAPI
    (422, {"detail": "no"}, BadRequestError, None),
    (422, {"detail": [{"loc": ["body"]}]}, BadRequestError, None),
    # A word about context with another status is about something else.
    (429, {"error": {"message": "context length limit per minute"}}, RateLimitError, None),
    (500, {"error": {"message": "content_filter", "code": "content_filter"}}, ServerError, None),
]


@pytest.mark.parametrize(("status", "body", "kind", "code"), BODIES)
def test_what_a_provider_says_decides_the_error(
    status: int, body: Any, kind: type[ProviderError], code: str | None
) -> None:
    error = status_error("p:m", status, {}, body)
    assert type(error) is kind
    assert code is None or error.code == code


EMBEDDED: list[tuple[Any, type[ProviderError], int]] = [
    ({"code": 429, "message": "slow down"}, RateLimitError, 429),
    ({"code": 402}, BadRequestError, 402),
    ({"code": "rate_limit_exceeded"}, RateLimitError, 429),
    ({"type": "overloaded_error"}, OverloadedError, 529),
    ({"code": "context_length_exceeded"}, ContextLengthError, 400),
    ({"code": 200}, ServerError, 500),
    ({"code": True}, ServerError, 500),
    ("it broke", ServerError, 500),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("said", "kind", "status"), EMBEDDED)
async def test_an_error_inside_a_success_is_an_error(
    said: Any, kind: type[ProviderError], status: int
) -> None:
    async with scripted(Reply(200, {"error": said})) as s:
        error = await failure_of(s.tier)
    assert type(error) is kind
    assert error.status == status
    assert "openai:m answered 200 with an error in it" in str(error)
    assert error.body == {"error": said}


TRANSPORT: list[tuple[Exception, type[ProviderError], bool]] = [
    (httpx.ConnectTimeout("x"), ProviderTimeoutError, True),
    (httpx.PoolTimeout("x"), ProviderTimeoutError, True),
    (httpx.ReadTimeout("x"), ProviderTimeoutError, False),
    (httpx.WriteTimeout("x"), ProviderTimeoutError, False),
    (httpx.ConnectError("x"), ProviderConnectionError, True),
    (httpx.ProxyError("x"), ProviderConnectionError, True),
    (httpx.ReadError("x"), ProviderConnectionError, False),
    (httpx.WriteError("x"), ProviderConnectionError, False),
    (httpx.RemoteProtocolError("x"), ProviderConnectionError, False),
    (httpx.DecodingError("x"), ProviderConnectionError, False),
    (OSError("x"), ProviderConnectionError, False),
    (httpx.LocalProtocolError("x"), BadRequestError, True),
    (httpx.InvalidURL("x"), BadRequestError, True),
    (httpx.UnsupportedProtocol("x"), BadRequestError, True),
]


@pytest.mark.parametrize(
    ("error", "kind", "unbilled"), TRANSPORT, ids=[type(row[0]).__name__ for row in TRANSPORT]
)
def test_every_failure_of_the_transport_is_its_error(
    error: Exception, kind: type[ProviderError], unbilled: bool
) -> None:
    mapped = transport_error("p:m", "http://host", error)
    assert type(mapped) is kind
    assert mapped.usage == (NO_USAGE if unbilled else None)
    assert mapped.status is None
    assert "p:m" in str(mapped)


def test_an_unknown_model_is_mended_by_its_name() -> None:
    assert "check the model's name" in str(status_error("p:m", 404, {}, ""))


@pytest.mark.parametrize(
    "code",
    ["two words", "", "x" * 65, "sk\n", 5, None, ["a"], {"a": 1}, "_x", "ключ", "sk-12345"],
    ids=lambda code: repr(code)[:12],
)
def test_what_is_no_short_code_is_not_shown(code: Any) -> None:
    error = status_error("p:m", 400, {}, {"error": {"code": code}})
    assert error.code is None
    assert str(error).startswith("p:m answered 400: ")


DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "nan", "retry-after": "9"}, 9.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": DATE, "date": "Wed, 21 Oct 2015 07:27:30 GMT"}, 30.0),
        ({"retry-after": DATE, "date": "Wed, 21 Oct 2015 07:29:00 GMT"}, None),
        ({"retry-after": DATE}, None),
        ({"retry-after": "Wed, 21 Oct 99999 07:28:00 GMT"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after_s(headers) == expected


def test_a_date_to_come_is_measured_by_our_clock_where_the_provider_shows_none() -> None:
    seconds = retry_after_s({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"})
    assert seconds is not None
    assert seconds > 0


@pytest.mark.anyio
async def test_retry_after_is_on_the_error() -> None:
    async with scripted(Reply(429, b"", {"retry-after": "7"})) as s:
        assert (await failure_of(s.tier)).retry_after_s == 7.0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "code", "type", "message", "innererror", "detail"]), inner
        )
    ),
    max_leaves=12,
)


@given(st.integers(300, 599), JSON)
def test_any_body_makes_an_error_whose_text_is_ours(status: int, body: Any) -> None:
    error = status_error("p:m", status, {}, body)
    assert isinstance(error, ProviderError)
    assert str(error).isascii()


@given(st.text() | st.floats().map(str) | st.datetimes().map(str))
def test_any_retry_after_is_a_time_to_come_or_none(value: str) -> None:
    seconds = retry_after_s({"retry-after": value})
    assert seconds is None or 0 <= seconds < float("inf")
