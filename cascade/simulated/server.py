"""A small HTTP/1.1 server on the loopback interface, for simulated models and scripted faults."""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from anyio.abc import SocketAttribute, SocketStream

from cascade.simulated.connection import Connection, require_h11
from cascade.simulated.http import Handler, HttpRequest

MAX_BODY_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    `requests` holds the newest requests in the order of their arrival. `failures` holds what
    handlers and streams raised: such a request is answered with status 500, or its connection
    is closed when the reply had begun.
    """

    url: str
    requests: deque[HttpRequest]
    failures: deque[Exception]


@asynccontextmanager
async def serve(
    handler: Handler,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    allow_remote: bool = False,
    max_body_bytes: int = MAX_BODY_BYTES,
    keep_requests: int = 10_000,
) -> AsyncGenerator[Server, None]:
    """Serve `handler` at `host`:`port` (0 picks a free port) until the block ends.

    Leaving the block cancels whatever is still being answered. A body over `max_body_bytes` is
    refused with status 413. `keep_requests` bounds `Server.requests`.

    Raises ValueError for a host that is not a loopback address unless `allow_remote` is set,
    OSError when the port is taken, and ImportError when h11 is not installed.
    """
    require_h11()
    _check_host(host, allow_remote)
    listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
    bound_port = listener.extra(SocketAttribute.local_port)
    server = Server(
        url=f"http://{f'[{host}]' if ':' in host else host}:{bound_port}",
        requests=deque(maxlen=keep_requests),
        failures=deque(maxlen=keep_requests),
    )

    async def serve_connection(stream: SocketStream) -> None:
        async with stream:
            connection = Connection(stream, handler, server.requests, server.failures)
            await connection.run(max_body_bytes)

    raised: BaseException | None = None
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve_connection)
        try:
            yield server
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:
            # Raised again below: a task group would wrap the caller's error in a group.
            raised = error
        tasks.cancel_scope.cancel()
    if raised is not None:
        raise raised


def _check_host(host: str, allow_remote: bool) -> None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"host {host!r} is not an IP address; use 127.0.0.1") from None
    if not address.is_loopback and not allow_remote:
        raise ValueError(
            f"host {host!r} is reachable from other machines; use 127.0.0.1, "
            "or pass allow_remote=True if that is what you want"
        )
