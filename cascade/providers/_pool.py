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
# Each time httpx's pool hands out a connection it looks at all of them, and for each idle one at
# all of them again: at 100 connections that takes 2 ms. So a server's connections are kept in many
# small pools, the first ones filled first.
CONNECTIONS_PER_POOL: Final = 8

# Far beyond any answer with all its log-probabilities; a server gone mad must not take the memory.
MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024


class AnswerTooLargeError(httpx.TransportError):
    """The server sends more than any answer is long."""


_Lifetime = AsyncGenerator[httpx.AsyncClient, None]


class _Pool:
    """One small pool of connections, and how many calls are using it."""

    __slots__ = ("client", "in_use", "lifetime")

    def __init__(self, lifetime: _Lifetime, client: httpx.AsyncClient) -> None:
        self.lifetime = lifetime
        self.client = client
        self.in_use = 0


_Pools = dict[str, list[_Pool]]
_open: RunVar[_Pools] = RunVar("cascade_http_clients")


async def send(
    base_url: str, path: str, headers: Mapping[str, str], content: bytes
) -> httpx.Response:
    """POST `content` to `base_url` + `path` and read the whole answer, whatever its status.

    Raises:
        httpx.HTTPError: there was no whole answer.
        httpx.InvalidURL: the address is none.
    """
    pool = await _free_pool(base_url)
    client = pool.client
    request = client.build_request("POST", base_url + path, content=content, headers=headers)
    request.stream = _Whole(content)
    pool.in_use += 1
    try:
        response = await client.send(request, stream=True)
        try:
            # Raw, and decoded afterwards: a decoder that fails half-way would leave the
            # connection's async generators to the garbage collector.
            raw = await _bounded(response)
        finally:
            await response.aclose()
    finally:
        pool.in_use -= 1
    return httpx.Response(response.status_code, headers=response.headers, content=raw)


async def _bounded(response: httpx.Response) -> bytes:
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size <= MAX_ANSWER_BYTES:
                chunks.append(chunk)
            else:
                # Closed, not left: the iteration then comes to its own end. Its generators would
                # be the garbage collector's otherwise, and trio warns of that.
                chunks.clear()
                await response.aclose()
    except httpx.HTTPError:
        if size <= MAX_ANSWER_BYTES:
            raise
    if size > MAX_ANSWER_BYTES:
        raise AnswerTooLargeError(f"more than {MAX_ANSWER_BYTES} bytes")
    return b"".join(chunks)


async def close_connections() -> None:
    """Close the connections of this event loop now; they are closed at its end anyway."""
    pools = _pools()
    while pools:
        _, of_server = pools.popitem()
        for pool in of_server:
            await pool.lifetime.aclose()


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


async def _free_pool(base_url: str) -> _Pool:
    of_server = _pools().setdefault(base_url, [])
    for pool in of_server:
        if pool.in_use < CONNECTIONS_PER_POOL:
            return pool
    # An event loop closes the async generators that were begun in it when it ends: that is what
    # closes the connections, without anything for the user to do.
    lifetime = _lifetime(base_url)
    pool = _Pool(lifetime, await anext(lifetime))
    of_server.append(pool)
    return pool


async def _lifetime(base_url: str) -> _Lifetime:
    client = httpx.AsyncClient(
        headers={"user-agent": "cascade-engine"},
        timeout=httpx.Timeout(IDLE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        limits=httpx.Limits(
            max_connections=CONNECTIONS_PER_POOL,
            max_keepalive_connections=CONNECTIONS_PER_POOL,
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
