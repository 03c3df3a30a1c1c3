"""HTTP connections: kept for each event loop and server, and closed when the loop ends.

The one module that imports httpx at its top: it is imported itself when a request is first sent.

A request goes through a transport of httpx and not through its client, of which nothing else would
be used here: that halves what a request costs this process, and under load it is this cost that
makes deadlines strike late. Instrumentation of httpx sees transports too.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Final, NamedTuple, cast
from urllib.request import getproxies, proxy_bypass

import httpx
from anyio import current_time
from anyio.lowlevel import RunVar

from cascade.providers._encoding import (
    ACCEPTED,
    ENCODING_ERRORS,
    MAX_ANSWER_BYTES,
    AnswerTooLargeError,
    Decoder,
)

__all__ = ["Reply", "certificates", "close_connections", "send"]

CONNECT_TIMEOUT_S: Final = 10.0
IDLE_TIMEOUT_S: Final = 600.0  # without a byte moving; the path's budget is the real limit
KEEP_ALIVE_S: Final = 30.0


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
    address = _address(base_url, path)
    request = httpx.Request(
        "POST",
        address.url,
        headers={**address.headers, "content-length": str(len(content)), **headers},
        stream=_Whole(content),
        extensions={"timeout": _timeouts()},
    )
    connections = await _connections()
    connection = connections.take(address)
    try:
        await connections.trim(address)
        response = await connection.handle_async_request(request)
        stream = cast("httpx.AsyncByteStream", response.stream)
        is_stream = events is not None and _is_event_stream(response)
        body = _Body(response.headers.get("content-encoding"), events if is_stream else None)
        try:
            await _read(stream, body.take)
        finally:
            await stream.aclose()
    finally:
        connections.give_back(address, connection)
    return Reply(response.status_code, response.headers, body.whole())


def _is_event_stream(response: httpx.Response) -> bool:
    kind: str = response.headers.get("content-type", "")
    return response.is_success and kind.lower().startswith("text/event-stream")


async def _read(stream: httpx.AsyncByteStream, take: Taker) -> None:
    """Hand over a body as it is on the wire, until it ends or no more of it is wanted."""
    wanted = True
    try:
        async for chunk in stream:
            wanted = wanted and take(chunk)
            if not wanted:
                # Closed, not left: the iteration then comes to its own end. Its generators would
                # be the garbage collector's otherwise, and trio warns of that.
                await stream.aclose()
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


class _Address(NamedTuple):
    """Where a request goes.

    Attributes:
        url: all of it.
        server: scheme, host and port: whose connections serve it.
        headers: those that say so, and those that are always the same.
    """

    url: httpx.URL
    server: str
    headers: Mapping[str, str]


@lru_cache(maxsize=256)
def _address(base_url: str, path: str) -> _Address:
    """Raises httpx.InvalidURL."""
    url = httpx.URL(base_url + path)
    host = url.netloc.decode("ascii")
    headers = {
        "host": host,
        "accept": "*/*",
        "accept-encoding": ACCEPTED,
        "user-agent": "cascade-engine",
    }
    if url.userinfo:
        named = f"{url.username}:{url.password}".encode()
        headers["authorization"] = f"Basic {b64encode(named).decode('ascii')}"
    return _Address(url, f"{url.scheme}://{host}", headers)


def _timeouts() -> Mapping[str, float | None]:
    return httpx.Timeout(IDLE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S).as_dict()


class _Idle(NamedTuple):
    connection: httpx.AsyncHTTPTransport
    since: float  # on the event loop's clock


class _Connections:
    """The connections of one event loop, each in a transport of its own.

    A pool of many looks at all of them whenever it hands one out; at a hundred that takes longer
    than all the rest of a request.
    """

    __slots__ = ("_all", "_idle", "lifetime")

    def __init__(self) -> None:
        self.lifetime: AsyncGenerator[_Connections, None] | None = None
        self._all: set[httpx.AsyncHTTPTransport] = set()
        self._idle: dict[str, deque[_Idle]] = {}  # by server, the one used last at the end

    def take(self, address: _Address) -> httpx.AsyncHTTPTransport:
        """A connection for one request: the one that was used last, or a new one."""
        idle = self._idle.setdefault(address.server, deque())
        if idle:
            return idle.pop().connection
        connection = _connect(address.url)
        self._all.add(connection)
        return connection

    def give_back(self, address: _Address, connection: httpx.AsyncHTTPTransport) -> None:
        """Keep it for the next request, whatever came of this one: what broke is dropped in it."""
        if connection in self._all:  # they may have been closed meanwhile
            self._idle[address.server].append(_Idle(connection, current_time()))

    async def trim(self, address: _Address) -> None:
        """Close one that a burst has left behind. One a request is enough to get rid of them."""
        idle = self._idle[address.server]
        if idle and current_time() - idle[0].since > KEEP_ALIVE_S:
            expired = idle.popleft().connection
            self._all.discard(expired)
            await expired.aclose()

    async def aclose(self) -> None:
        """Close them all."""
        for idle in self._idle.values():
            idle.clear()
        while self._all:
            await self._all.pop().aclose()


_open: RunVar[_Connections] = RunVar("cascade_http_connections")


async def _connections() -> _Connections:
    try:
        return _open.get()
    except LookupError:
        # An event loop closes the async generators that were begun in it when it ends: that is
        # what closes the connections, without anything for the user to do.
        lifetime = _lifetime()
        connections = await anext(lifetime)
        connections.lifetime = lifetime  # kept, or the garbage collector would end it
        _open.set(connections)
        return connections


async def _lifetime() -> AsyncGenerator[_Connections, None]:
    connections = _Connections()
    try:
        yield connections
    finally:
        await connections.aclose()


async def close_connections() -> None:
    """Close the connections of this event loop now; they are closed at its end anyway."""
    await (await _connections()).aclose()


def _connect(url: httpx.URL) -> httpx.AsyncHTTPTransport:
    return httpx.AsyncHTTPTransport(
        verify=certificates(),
        limits=httpx.Limits(max_connections=1, keepalive_expiry=KEEP_ALIVE_S),
        proxy=_proxy_for(url),
    )


def _proxy_for(url: httpx.URL) -> str | None:
    """The proxy that the environment names. None: there is none."""
    # A server on this machine is never behind one.
    if _is_loopback(url.host) or proxy_bypass(url.host):
        return None
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


@lru_cache(maxsize=1)
def certificates() -> ssl.SSLContext:
    """What servers are known by; shared, as reading it takes longer than many requests."""
    return httpx.create_ssl_context()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
