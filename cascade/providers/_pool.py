"""HTTP connections: one pool for each event loop and server, closed when the loop ends.

The one module that imports httpx at its top: it is imported itself when a request is first sent.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import httpx
from anyio.lowlevel import RunVar

from cascade.providers._encoding import (
    ACCEPTED,
    ENCODING_ERRORS,
    MAX_ANSWER_BYTES,
    AnswerTooLargeError,
    Decoder,
)

__all__ = ["Reply", "close_connections", "send"]

CONNECT_TIMEOUT_S: Final = 10.0
IDLE_TIMEOUT_S: Final = 600.0  # without a byte moving; the path's budget is the real limit
KEEP_ALIVE_S: Final = 30.0
# Each time httpx's pool hands out a connection it looks at all of them, and for each idle one at
# all of them again: at 100 connections that takes 2 ms. So a server's connections are kept in many
# small pools, the first ones filled first.
CONNECTIONS_PER_POOL: Final = 8


class Reply(NamedTuple):
    """A whole HTTP answer.

    Attributes:
        status: the HTTP status.
        headers: with lower-case names.
        body: decoded. None: it was an event stream, and is handed over.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes | None

    @property
    def is_success(self) -> bool:
        """Whether the status says so."""
        return 200 <= self.status <= 299


Taker = Callable[[bytes], bool]
"""Takes the next piece of a body, and says whether it wants more. It must not raise."""

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
    base_url: str,
    path: str,
    headers: Mapping[str, str],
    content: bytes,
    events: Taker | None = None,
) -> Reply:
    """POST `content` to `base_url` + `path` and read the whole answer, whatever its status.

    Args:
        events: takes the body in pieces as they come, where it is an event stream. None: it is
            read like any other.

    Raises:
        httpx.HTTPError: there was no whole answer.
        httpx.InvalidURL: the address is none.
        AnswerTooLargeError: there is more of it than any answer is long.
        BrokenEncodingError: it is not in the encoding that the server names.
    """
    pool = await _free_pool(base_url)
    client = pool.client
    request = client.build_request("POST", base_url + path, content=content, headers=headers)
    request.stream = _Whole(content)
    pool.in_use += 1
    try:
        response = await client.send(request, stream=True)
        is_stream = events is not None and _is_event_stream(response)
        body = _Body(response.headers.get("content-encoding"), events if is_stream else None)
        try:
            await _read(response, body.take)
        finally:
            await response.aclose()
    finally:
        pool.in_use -= 1
    return Reply(response.status_code, response.headers, body.whole())


def _is_event_stream(response: httpx.Response) -> bool:
    kind: str = response.headers.get("content-type", "")
    return response.is_success and kind.lower().startswith("text/event-stream")


async def _read(response: httpx.Response, take: Taker) -> None:
    """Hand over a body as it is on the wire, until it ends or no more of it is wanted."""
    wanted = True
    try:
        async for chunk in response.aiter_raw():
            wanted = wanted and take(chunk)
            if not wanted:
                # Closed, not left: the iteration then comes to its own end. Its generators would
                # be the garbage collector's otherwise, and trio warns of that.
                await response.aclose()
    except httpx.HTTPError:
        if wanted:
            raise


class _Body:
    """Takes a body from the wire. What is wrong with it is told afterwards: see `_read`."""

    __slots__ = ("_chunks", "_decoder", "_error", "_events", "_size")

    def __init__(self, encoding: str | None, events: Taker | None) -> None:
        self._decoder = Decoder(encoding)
        self._events = events
        self._chunks: list[bytes] = []
        self._size = 0
        self._error: Exception | None = None

    def take(self, chunk: bytes) -> bool:
        try:
            self._size += len(chunk)
            if self._size > MAX_ANSWER_BYTES:
                raise AnswerTooLargeError
            piece = self._decoder.feed(chunk)
        except ENCODING_ERRORS as error:
            self._error = error
            return False
        if self._events is not None:
            return self._events(piece)
        self._chunks.append(piece)
        return True

    def whole(self) -> bytes | None:
        """The body that was read, decoded. None: it was handed over."""
        if self._error is not None:
            error, self._error = self._error, None  # or its traceback would lead back to it
            raise error
        return b"".join(self._chunks) if self._events is None else None


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
        headers={"user-agent": "cascade-engine", "accept-encoding": ACCEPTED},
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
