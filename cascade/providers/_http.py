"""JSON over HTTP: one request sent, and its answer or the error it stands for."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from cascade.errors import AuthenticationError, BadResponseError, ConfigError, ProviderError
from cascade.providers._failures import (
    embedded_error,
    label,
    refuse,
    status_error,
    transport_error,
)
from cascade.threads import run_in_thread
from cascade.types import NO_USAGE

if TYPE_CHECKING:
    from cascade.providers import Endpoint
    from cascade.providers._pool import Reply, Taker

__all__ = ["check_endpoint", "encode", "exchange", "key_of", "post", "prepare", "read_object"]


async def post(
    endpoint: Endpoint, path: str, headers: Mapping[str, str], body: Mapping[str, Any]
) -> dict[str, Any]:
    """POST a JSON object to the endpoint's base URL + `path` and return the JSON object it answers.

    The endpoint's own headers go before `headers` of the same name.

    Raises:
        ProviderError: there was no answer, an error, or something else than a JSON object.
    """
    who = label(endpoint)
    reply = await exchange(endpoint, path, headers, encode(who, body))
    # Raised here and not where it was caught: the exceptions of httpx hold the request, and with
    # it the key.
    if isinstance(reply, ProviderError):
        raise reply
    return read_object(who, reply)


def read_object(who: str, reply: Reply) -> dict[str, Any]:
    """The JSON object that a whole answer holds.

    Raises:
        ProviderError: it is an error, or something else than a JSON object.
    """
    content = _decode(reply.body or b"")
    if not reply.is_success:
        raise status_error(who, reply.status, reply.headers, content)
    if not isinstance(content, dict):
        raise BadResponseError(
            f"{who} answered {reply.status} with something that is no JSON object; check base_url",
            status=reply.status,
            body=content,
        )
    answer = cast("dict[str, Any]", content)
    if answer.get("error"):
        raise embedded_error(who, reply.headers, answer)
    return answer


def check_endpoint(endpoint: Endpoint) -> None:
    """Raises ConfigError when the base URL or a header cannot be sent."""
    if not _is_address(endpoint.base_url or ""):
        raise ConfigError(
            f"{label(endpoint)}: base_url is not an address; write it like "
            "'http://127.0.0.1:8000/v1'"
        )
    for name, value in (endpoint.headers or {}).items():
        if not _sendable(name) or not _sendable(value):
            raise ConfigError(
                f"{label(endpoint)}: the header {name!r} has characters that HTTP cannot carry"
            )


def key_of(endpoint: Endpoint) -> str | None:
    """The key to send. None: the provider wants none.

    Raises:
        AuthenticationError: the key's environment variable is not set, or the key is no key.
    """
    if endpoint.api_key is not None:
        key = endpoint.api_key.reveal()
    elif endpoint.key_env is None or _brings_its_own_key(endpoint):
        return None
    else:
        key = os.environ.get(endpoint.key_env, "")
    key = key.strip()  # a key read from a file often ends in a line break
    if not key:
        where = f"set the environment variable {endpoint.key_env}, or " if endpoint.key_env else ""
        raise AuthenticationError(
            f"{label(endpoint)} has no key: {where}give the tier api_key=...", usage=NO_USAGE
        )
    if not _sendable(key):
        raise AuthenticationError(
            f"{label(endpoint)}: the key has characters that no HTTP header can carry; "
            "copy it again",
            usage=NO_USAGE,
        )
    return key


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _brings_its_own_key(endpoint: Endpoint) -> bool:
    names = {name.lower() for name in endpoint.headers or ()}
    return not names.isdisjoint(("authorization", "x-api-key"))


def _sendable(text: str) -> bool:
    return text.isascii() and text.isprintable()


async def exchange(
    endpoint: Endpoint,
    path: str,
    headers: Mapping[str, str],
    content: bytes,
    events: Taker | None = None,
) -> Reply | ProviderError:
    """POST `content` as `post` does and return what came: an answer, or why there is none.

    `events` takes the body where it is an event stream; see `_pool.send`.
    """
    await prepare()
    import httpx

    from cascade.providers._encoding import ENCODING_ERRORS
    from cascade.providers._pool import send

    base_url = endpoint.base_url or ""
    own = {name.lower(): value for name, value in (endpoint.headers or {}).items()}
    sent = {**headers, "content-type": "application/json", **own}
    try:
        return await send(base_url, path, sent, content, events)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, *ENCODING_ERRORS) as error:
        return transport_error(label(endpoint), origin(base_url), error)


_is_prepared = False


async def prepare() -> None:
    """Import what sends requests, once, in a thread: it takes longer than some budgets are.

    In the event loop it would hold up every deadline of the process until it is done.
    """
    global _is_prepared
    if not _is_prepared:
        await run_in_thread(_import)
        _is_prepared = True


def _import() -> None:
    import_module("tenacity")  # what a first retry needs

    from cascade.providers._pool import certificates

    certificates()


def origin(base_url: str) -> str:
    """Scheme, host and port alone: the rest of an address may hold a password."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def encode(who: str, body: Mapping[str, Any]) -> bytes:
    """A request's body. Raises BadRequestError when JSON cannot say it."""
    # Escaped to ASCII, so that lone surrogates in a text reach the provider too.
    why = ""
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":"), default=_plain).encode()
    except TypeError as error:
        why = str(error)  # names a type, never a value
    except ValueError:
        why = "a number is not finite, or an object holds itself"
    except RecursionError:
        why = "it is nested too deeply"
    raise refuse(who, f"the request cannot be written as JSON: {why}")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    raise TypeError(f"a value is a {type(value).__name__}")


def _decode(body: bytes) -> Any:
    """The body as JSON, or as text where it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")
