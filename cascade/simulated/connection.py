"""One client connection: HTTP/1.1 framing by h11, replies and faults on the socket."""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from http import HTTPStatus
from importlib.util import find_spec
from typing import TYPE_CHECKING

import anyio
from anyio.abc import SocketAttribute, SocketStream

from cascade.simulated.http import (
    Drip,
    Garbage,
    Handler,
    Hang,
    HttpRequest,
    Outcome,
    Reply,
    Reset,
    Truncate,
    encode_body,
)

if TYPE_CHECKING:
    import h11

LINGER_S = 2.0  # how long a closing server waits for the client to read the last bytes
GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


def require_h11() -> None:
    """Raise ImportError with the install line when h11 is missing."""
    if find_spec("h11") is None:
        raise ImportError(
            'The simulated server needs h11. Install it with: pip install "cascade-engine[cli]"'
        )


class BadRequest(Exception):
    """The request cannot be read; carries the status to answer with."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Connection:
    """Answers the requests of one connection, one after another."""

    def __init__(
        self,
        stream: SocketStream,
        handler: Handler,
        requests: deque[HttpRequest],
        failures: deque[Exception],
    ) -> None:
        import h11

        self._h11 = h11
        self._stream = stream
        self._handler = handler
        self._requests = requests
        self._failures = failures
        self._wire = h11.Connection(h11.SERVER)

    async def run(self, max_body_bytes: int) -> None:
        """Answer requests until either side closes; never raises for a client gone away."""
        try:
            while await self._turn(max_body_bytes):
                self._wire.start_next_cycle()
        except GONE:
            return

    async def _turn(self, max_body_bytes: int) -> bool:
        """Read and answer one request; True when the connection can take another."""
        try:
            request = await self._read_request(max_body_bytes)
        except BadRequest as error:
            await self._send_reply(Reply(error.status, {"error": {"message": str(error)}}), "")
            await self._close_gently()
            return False
        if request is None:
            return False
        self._requests.append(request)
        await self._answer_while_connected(request, max_body_bytes)
        if self._wire.our_state is self._wire.their_state is self._h11.DONE:
            return True
        await self._close_gently()
        return False

    async def _read_request(self, max_body_bytes: int) -> HttpRequest | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = await self._next_event()
            if isinstance(event, self._h11.Request):
                head = event
            elif isinstance(event, self._h11.Data):
                body += event.data
                if len(body) > max_body_bytes:
                    raise BadRequest(413, f"The body is over {max_body_bytes} bytes.")
            elif isinstance(event, self._h11.EndOfMessage) and head is not None:
                return _request(head, bytes(body))
            else:
                return None

    async def _next_event(self) -> object:
        while True:
            try:
                event = self._wire.next_event()
            except self._h11.RemoteProtocolError as error:
                raise BadRequest(error.error_status_hint, f"Not an HTTP request: {error}") from None
            if event is not self._h11.NEED_DATA:
                return event
            if self._wire.they_are_waiting_for_100_continue:
                await self._send(self._h11.InformationalResponse(status_code=100, headers=[]))
            try:
                self._wire.receive_data(await self._stream.receive())
            except anyio.EndOfStream:
                self._wire.receive_data(b"")

    async def _answer_while_connected(self, request: HttpRequest, max_bytes: int) -> None:
        """Answer, and stop at once when the client goes away before the answer is complete."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._cancel_when_gone, tasks.cancel_scope, max_bytes)
            try:
                await self._play(await self._outcome(request), request.method)
            except GONE:
                pass
            except Exception as error:  # of a reply that cannot be sent, or of its stream
                self._failures.append(error)
            tasks.cancel_scope.cancel()

    async def _cancel_when_gone(self, scope: anyio.CancelScope, max_bytes: int) -> None:
        received = 0
        while received < max_bytes:  # what a client sends ahead is kept, within the same bound
            try:
                data = await self._stream.receive()
            except GONE:
                scope.cancel()
                return
            received += len(data)
            self._wire.receive_data(data)

    async def _outcome(self, request: HttpRequest) -> Outcome:
        try:
            return await self._handler(request)
        except Exception as error:
            self._failures.append(error)
            message = f"The handler raised {type(error).__name__}."
            return Reply(500, {"error": {"message": message}})

    async def _play(self, outcome: Outcome, method: str) -> None:
        match outcome:
            case Reply():
                await anyio.sleep(outcome.delay_s)
                await self._send_reply(outcome, method)
            case Hang():
                await anyio.sleep_forever()
            case Reset():
                await self._reset()
            case Garbage():
                await self._stream.send(outcome.data)
            case Truncate():
                body = encode_body(outcome.body)
                await self._send_head(outcome.status, {"content-length": str(len(body))})
                await self._send(self._h11.Data(data=body[: outcome.keep]))
                if outcome.reset:
                    await self._reset()
            case Drip():
                await self._drip(outcome)

    async def _send_reply(self, reply: Reply, method: str) -> None:
        if reply.stream is not None:
            headers = {"content-type": "text/event-stream", **_lower(reply.headers)}
            await self._send_head(reply.status, headers)
            await self._send_stream(reply.stream)
            return
        body = encode_body(reply.body)
        headers = {
            "content-type": "application/json",
            **_lower(reply.headers),
            "content-length": str(len(body)),
        }
        events: list[h11.Event] = [_response(reply.status, headers)]
        if method != "HEAD":
            events.append(self._h11.Data(data=body))
        await self._send(*events, self._h11.EndOfMessage())

    async def _send_stream(self, stream: AsyncIterable[bytes]) -> None:
        try:
            async for chunk in stream:
                await self._send(self._h11.Data(data=chunk))
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()  # or it would be the garbage collector's
        await self._send(self._h11.EndOfMessage())

    async def _drip(self, drip: Drip) -> None:
        body = encode_body(drip.body)
        headers = {"content-type": "application/json", "content-length": str(len(body))}
        await self._send_head(drip.status, headers)
        for start in range(0, len(body), drip.chunk):
            await anyio.sleep(drip.pause_s)
            await self._send(self._h11.Data(data=body[start : start + drip.chunk]))
        await self._send(self._h11.EndOfMessage())

    async def _send_head(self, status: int, headers: dict[str, str]) -> None:
        await self._send(_response(status, headers))

    async def _send(self, *events: h11.Event) -> None:
        data = b"".join(self._wire.send(event) or b"" for event in events)
        if data:
            await self._stream.send(data)

    async def _reset(self) -> None:
        # A linger time of zero makes close() send RST and drop what is buffered.
        raw = self._stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self._stream.aclose()

    async def _close_gently(self) -> None:
        # Closing at once would drop bytes the client has not read yet.
        with anyio.move_on_after(LINGER_S):
            try:
                await self._stream.send_eof()
                while True:
                    await self._stream.receive()
            except (*GONE, OSError):
                return


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _response(status: int, headers: dict[str, str]) -> h11.Response:
    import h11

    try:
        reason = HTTPStatus(status).phrase
    except ValueError:  # 529 and the like are not in the standard's list
        reason = "Simulated"
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return h11.Response(status_code=status, headers=pairs, reason=reason.encode())


def _request(head: h11.Request, body: bytes) -> HttpRequest:
    path, _, query = head.target.decode("latin-1").partition("?")
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    return HttpRequest(head.method.decode("latin-1"), path, query, headers, body)
