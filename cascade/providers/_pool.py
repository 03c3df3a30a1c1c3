"""HTTP connections: one pool for each event loop and server, closed when the loop ends.

The one module that imports httpx at its top: it is imported itself when a request is first sent.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import httpx
from anyio.lowlevel import RunVar

__all__ = ["close_connections", "send"]

CONNECT_TIMEOUT_S: Final = 10.0
IDLE_TIMEOUT_S: Final = 600.0  # without a byte moving; the path's budget is the real limit
KEEP_ALIVE_S: Final = 30.0
MAX_CONNECTIONS: Final = 1000
MAX_IDLE_CONNECTIONS: Final = 100

_Lifetime = AsyncGenerator[httpx.AsyncClient, None]
_Pools = dict[str, tuple[_Lifetime, httpx.AsyncClient]]
_open: RunVar[_Pools] = RunVar("cascade_http_clients")


async def send(
    base_url: str, path: str, headers: Mapping[str, str], content: bytes
) -> httpx.Response:
    """POST `content` to `base_url` + `path` and read the whole answer, whatever its status.

    Raises:
        httpx.HTTPError: there was no whole answer.
        httpx.InvalidURL: the address is none.
    """
    client = await _client(base_url)
    request = client.build_request("POST", base_url + path, content=content, headers=headers)
    request.stream = _Whole(content)
    response = await client.send(request, stream=True)
    try:
        # Raw, and decoded afterwards: a decoder that fails half-way would leave the connection's
        # async generators to the garbage collector.
        raw = b"".join([chunk async for chunk in response.aiter_raw()])
    finally:
        await response.aclose()
    return httpx.Response(response.status_code, headers=response.headers, content=raw)


async def close_connections() -> None:
    """Close the connections of this event loop now; they are closed at its end anyway."""
    pools = _pools()
    while pools:
        _, (lifetime, _client) = pools.popitem()
        await lifetime.aclose()


class _Whole(httpx.AsyncByteStream):
    """A request body in one piece.

    httpx's own is an async generator, which a call cancelled while it sends would leave to the
    garbage collector; trio warns of that.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._sent = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._sent = False
        return self

    async def __anext__(self) -> bytes:
        if self._sent:
            raise StopAsyncIteration
        self._sent = True
        return self._content


def _pools() -> _Pools:
    try:
        return _open.get()
    except LookupError:
        pools: _Pools = {}
        _open.set(pools)
        return pools


async def _client(base_url: str) -> httpx.AsyncClient:
    pools = _pools()
    if base_url not in pools:
        # An event loop closes the async generators that were begun in it when it ends: that is
        # what closes the connections, without anything for the user to do.
        lifetime = _lifetime(base_url)
        pools[base_url] = (lifetime, await anext(lifetime))
    return pools[base_url][1]


async def _lifetime(base_url: str) -> _Lifetime:
    client = httpx.AsyncClient(
        headers={"user-agent": "cascade-engine"},
        timeout=httpx.Timeout(IDLE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        limits=httpx.Limits(
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MAX_IDLE_CONNECTIONS,
            keepalive_expiry=KEEP_ALIVE_S,
        ),
        verify=_certificates(),
        # Proxies come from the environment, but a server on this machine is never behind one.
        trust_env=not _is_loopback(base_url),
    )
    try:
        yield client
    finally:
        await client.aclose()


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    # Shared by all clients: reading the certificates takes longer than all the rest.
    return httpx.create_ssl_context()


def _is_loopback(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
