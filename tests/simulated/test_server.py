from __future__ import annotations

import socket
import struct
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from cascade.simulated import (
    Drip,
    Garbage,
    Hang,
    HttpRequest,
    Reply,
    Reset,
    Truncate,
    script,
    serve,
)
from cascade.simulated.http import Outcome

pytestmark = pytest.mark.anyio


async def echo(request: HttpRequest) -> Outcome:
    return Reply(
        body={"method": request.method, "path": request.path, "query": request.query},
        headers={"X-Seen": request.headers.get("x-sent", "")},
    )


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def broken_stream() -> AsyncIterator[bytes]:
    yield b"first"
    raise RuntimeError("the stream broke")


async def raw_exchange(url: str, sent: bytes) -> bytes:
    """What the server answers to raw bytes, until it closes the connection."""
    address = httpx.URL(url)
    received = b""
    async with await anyio.connect_tcp(address.host, address.port or 0) as stream:
        await stream.send(sent)
        with anyio.fail_after(10):
            while True:
                try:
                    received += await stream.receive()
                except anyio.EndOfStream:
                    return received


async def test_a_request_is_recorded_and_answered() -> None:
    async with serve(echo) as server, httpx.AsyncClient() as client:
        reply = await client.put(f"{server.url}/a/b?c=d", json={"e": 1}, headers={"X-Sent": "f"})
        assert reply.json() == {"method": "PUT", "path": "/a/b", "query": "c=d"}
        assert reply.headers["x-seen"] == "f"
        assert reply.headers["content-type"] == "application/json"
        (request,) = server.requests
        assert (request.method, request.path, request.json()) == ("PUT", "/a/b", {"e": 1})
        assert server.url.startswith("http://127.0.0.1:")
        assert not server.failures


async def test_a_connection_is_kept_alive() -> None:
    async with serve(echo) as server:
        async with await anyio.connect_tcp("127.0.0.1", httpx.URL(server.url).port or 0) as stream:
            for _ in range(3):
                await stream.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await stream.receive()).startswith(b"HTTP/1.1 200 OK")


async def test_requests_sent_ahead_are_answered_in_order() -> None:
    both = (
        b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    async with serve(echo) as server:
        answer = await raw_exchange(server.url, both)
    assert answer.index(b"/1") < answer.index(b"/2")
    assert answer.count(b"HTTP/1.1 200") == 2


async def test_a_request_sent_while_another_is_answered_waits() -> None:
    answering, go_on = anyio.Event(), anyio.Event()

    async def slow(request: HttpRequest) -> Outcome:
        answering.set()
        await go_on.wait()
        return Reply(body={"path": request.path})

    async with serve(slow) as server:
        async with await anyio.connect_tcp("127.0.0.1", httpx.URL(server.url).port or 0) as stream:
            await stream.send(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
            await answering.wait()
            await stream.send(b"GET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            go_on.set()
            received = b"".join([part async for part in stream])
    assert 0 < received.index(b"/1") < received.index(b"/2")


async def test_a_stream_is_closed_when_its_client_goes_away() -> None:
    closed = anyio.Event()

    async def for_ever() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"data: x\n\n"
                await anyio.lowlevel.checkpoint()
        finally:
            closed.set()

    async with serve(script(Reply(stream=for_ever()))) as server:
        async with await anyio.connect_tcp("127.0.0.1", httpx.URL(server.url).port or 0) as stream:
            await stream.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"text/event-stream" in await stream.receive()
        with anyio.fail_after(10):
            await closed.wait()


async def test_a_client_may_reset_an_idle_connection() -> None:
    def reset(url: str) -> None:
        with socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0), timeout=10) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert raw.recv(12) == b"HTTP/1.1 200"
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async with serve(echo) as server, httpx.AsyncClient() as client:
        await anyio.to_thread.run_sync(reset, server.url)
        assert (await client.get(server.url)).status_code == 200
        assert not server.failures


async def test_a_stream_is_sent_in_chunks() -> None:
    reply = Reply(stream=chunks(b"data: 1\n\n", b"data: 2\n\n"))
    async with serve(script(reply)) as server, httpx.AsyncClient() as client:
        async with client.stream("POST", server.url) as response:
            body = b"".join([part async for part in response.aiter_bytes()])
        assert response.headers["transfer-encoding"] == "chunked"
        assert response.headers["content-type"] == "text/event-stream"
        assert body == b"data: 1\n\ndata: 2\n\n"


async def test_a_stream_that_raises_ends_in_the_middle() -> None:
    handler = script(Reply(stream=broken_stream()))
    async with serve(handler) as server, httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(server.url)
        assert [str(failure) for failure in server.failures] == ["the stream broke"]


async def test_a_head_request_gets_no_body() -> None:
    async with serve(echo) as server, httpx.AsyncClient() as client:
        reply = await client.head(server.url)
        assert (reply.status_code, reply.content) == (200, b"")
        assert (await client.get(server.url)).status_code == 200


async def test_a_large_body_arrives_whole() -> None:
    async with serve(script(Reply(body=b"x" * 5_000_000))) as server, httpx.AsyncClient() as client:
        reply = await client.get(server.url, headers={"Connection": "close"})
        assert len(reply.content) == 5_000_000


async def test_hang_never_answers() -> None:
    async with serve(script(Hang(), then=echo)) as server:
        async with httpx.AsyncClient(timeout=httpx.Timeout(30, read=0.05)) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.get(server.url)
        async with httpx.AsyncClient() as client:
            assert (await client.get(server.url)).status_code == 200


async def test_reset_breaks_the_connection() -> None:
    async with serve(script(Reset(), then=echo)) as server, httpx.AsyncClient() as client:
        with pytest.raises(httpx.ReadError):
            await client.get(server.url)
        assert (await client.get(server.url)).status_code == 200


async def test_reset_is_a_tcp_reset() -> None:
    async with serve(script(Reset())) as server:

        def ask() -> bytes:
            address = ("127.0.0.1", httpx.URL(server.url).port or 0)
            with socket.create_connection(address, timeout=10) as raw:
                raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                return raw.recv(1)

        with pytest.raises(ConnectionResetError):
            await anyio.to_thread.run_sync(ask)


@pytest.mark.parametrize("keep", [0, 5, 2_500_000])
async def test_truncate_promises_more_than_it_sends(keep: int) -> None:
    fault = Truncate(b"z" * 3_000_000, keep=keep)
    async with serve(script(fault)) as server, httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError, match=f"received {keep} bytes"):
            await client.get(server.url)


async def test_truncate_can_end_in_a_reset() -> None:
    fault = Truncate(b"z" * 100, keep=5, reset=True)
    async with serve(script(fault)) as server, httpx.AsyncClient() as client:
        with pytest.raises(httpx.ReadError):
            await client.get(server.url)


async def test_drip_sends_everything_slowly() -> None:
    fault = Drip({"answer": "late"}, chunk=4, pause_s=0.001, status=202)
    async with serve(script(fault)) as server, httpx.AsyncClient() as client:
        reply = await client.get(server.url)
        assert (reply.status_code, reply.json()) == (202, {"answer": "late"})


async def test_drip_can_outlast_a_read_timeout() -> None:
    fault = Drip(b"abcdef", chunk=1, pause_s=60)
    async with (
        serve(script(fault)) as server,
        httpx.AsyncClient(timeout=httpx.Timeout(30, read=0.05)) as client,
    ):
        with pytest.raises(httpx.ReadTimeout):
            await client.get(server.url)


async def test_garbage_is_not_http() -> None:
    async with serve(script(Garbage(b"\x00\x01 what?\r\n\r\n"))) as server:
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(server.url)


async def test_a_closed_server_refuses_connections() -> None:
    async with serve(echo) as server:
        pass
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(server.url)


async def test_a_hundred_requests_are_answered_at_once() -> None:
    waiting, everyone_here = 0, anyio.Event()

    async def meet(request: HttpRequest) -> Outcome:
        nonlocal waiting
        waiting += 1
        if waiting == 100:
            everyone_here.set()
        await everyone_here.wait()
        return Reply(body={"path": request.path})

    answers: dict[int, Any] = {}
    limits = httpx.Limits(max_connections=100)
    async with serve(meet) as server, httpx.AsyncClient(limits=limits, timeout=30) as client:

        async def ask(number: int) -> None:
            answers[number] = (await client.get(f"{server.url}/{number}")).json()

        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(ask, number)
    assert answers == {number: {"path": f"/{number}"} for number in range(100)}
    assert len(server.requests) == 100


async def test_a_client_gone_away_ends_its_handler() -> None:
    started, ended = anyio.Event(), anyio.Event()

    async def slow(request: HttpRequest) -> Outcome:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        raise AssertionError("never reached")

    async with serve(slow) as server, httpx.AsyncClient(timeout=60) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.get, server.url)
            await started.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(10):
            await ended.wait()


async def test_leaving_the_block_cancels_what_is_being_answered() -> None:
    started, ended = anyio.Event(), anyio.Event()

    async def slow(request: HttpRequest) -> Outcome:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        raise AssertionError("never reached")

    async def ask(url: str) -> None:
        async with httpx.AsyncClient(timeout=60) as client:
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
                await client.get(url)

    async with anyio.create_task_group() as tasks:
        async with serve(slow) as server:
            tasks.start_soon(ask, server.url)
            await started.wait()
        assert ended.is_set()


async def test_a_handler_that_raises_is_answered_and_recorded() -> None:
    async def broken(request: HttpRequest) -> Outcome:
        raise LookupError("secret detail")

    async with serve(broken) as server, httpx.AsyncClient() as client:
        reply = await client.get(server.url)
        assert reply.status_code == 500
        assert "LookupError" in reply.text
        assert "secret detail" not in reply.text
        assert [type(failure) for failure in server.failures] == [LookupError]


async def test_a_reply_that_cannot_be_sent_is_recorded() -> None:
    handler = script(Reply(body=object()), then=echo)
    async with serve(handler) as server, httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(server.url)
        assert [type(failure) for failure in server.failures] == [TypeError]
        assert (await client.get(server.url)).status_code == 200


async def test_a_body_over_the_bound_is_refused() -> None:
    async with serve(echo, max_body_bytes=1000) as server, httpx.AsyncClient() as client:
        assert (await client.post(server.url, content=b"x" * 1000)).status_code == 200
        assert (await client.post(server.url, content=b"x" * 1001)).status_code == 413
        assert len(server.requests) == 1


async def test_what_is_not_http_is_refused() -> None:
    async with serve(echo) as server:
        assert (await raw_exchange(server.url, b"what?\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        too_long = b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 100_000
        assert (await raw_exchange(server.url, too_long)).startswith(b"HTTP/1.1 431 ")
        assert not server.requests


async def test_a_client_may_wait_for_100_continue() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"
    async with serve(echo) as server:
        async with await anyio.connect_tcp("127.0.0.1", httpx.URL(server.url).port or 0) as stream:
            await stream.send(head)
            assert (await stream.receive()).startswith(b"HTTP/1.1 100 ")
            await stream.send(b"x")
            assert (await stream.receive()).startswith(b"HTTP/1.1 200 ")


async def test_the_newest_requests_are_kept() -> None:
    async with serve(echo, keep_requests=2) as server, httpx.AsyncClient() as client:
        for number in range(4):
            await client.get(f"{server.url}/{number}")
        assert [request.path for request in server.requests] == ["/2", "/3"]


async def test_an_error_of_the_block_arrives_unwrapped() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with serve(echo):
            raise KeyError("mine")


async def test_a_cancelled_block_closes_the_server() -> None:
    url = ""
    with anyio.CancelScope() as scope:
        async with serve(echo) as server:
            url = server.url
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(url)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])  # noqa: S104 - it is refused
async def test_hosts_others_can_reach_are_refused(host: str) -> None:
    with pytest.raises(ValueError, match="reachable from other machines"):
        async with serve(echo, host=host):
            pass


async def test_a_host_has_to_be_an_address() -> None:
    with pytest.raises(ValueError, match="is not an IP address"):
        async with serve(echo, host="example.org"):
            pass


async def test_other_hosts_are_served_when_asked_for() -> None:
    async with serve(echo, host="0.0.0.0", allow_remote=True) as server:  # noqa: S104
        port = httpx.URL(server.url).port
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{port}")).status_code == 200


async def test_a_missing_h11_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h11", None)
    with pytest.raises(ImportError, match=r'pip install "cascade-engine\[cli\]"'):
        async with serve(echo):
            pass
