"""Streams read through real connections: what becomes of them, and what is left behind."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

from cascade import Cascade, CascadeExhausted, Path, Price
from cascade.errors import (
    BadRequestError,
    BadResponseError,
    ConfigError,
    DeadlineExceeded,
    OverloadedError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    ServerError,
)
from cascade.providers import Endpoint, _encoding, _pool, connect
from cascade.providers.openai import read_completion
from cascade.simulated import (
    Handler,
    Hang,
    HttpRequest,
    Reply,
    Reset,
    serve_models,
    simulated_models,
    workload,
)
from cascade.tier import Tier
from cascade.types import NO_USAGE, Answer, Usage
from tests.providers.support import TOOL, completion, failure_of, run_python, scripted

SOON_S = 0.05
LATER_S = 30.0
DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2}
BILLED = Usage(3, 2)


def event(data: Any, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


ROLE = chunk(role="assistant", content="")
HELLO = chunk(content="hel") + chunk(content="lo")
END = chunk("stop")
BILL = event({"choices": [], "usage": USAGE})


def streamed(*events: bytes, **headers: str) -> Reply:
    return Reply(200, b"".join(events), {"content-type": "text/event-stream", **headers})


def dripping(
    *events: bytes,
    then: Callable[[], Any] = anyio.sleep_forever,
    content_type: str = "text/event-stream",
) -> Handler:
    """The events one by one; then what `then` does, such as never to end."""

    async def stream() -> AsyncIterator[bytes]:
        for one in events:
            yield one
        await then()

    async def handle(request: HttpRequest) -> Reply:
        return Reply(stream=stream(), headers={"content-type": content_type})

    return handle


@pytest.mark.anyio
async def test_a_stream_is_asked_for_and_read_with_its_bill() -> None:
    async with scripted(streamed(ROLE, HELLO, END, BILL, DONE), first_token_s=LATER_S) as s:
        answer = await s.tier.chat("hi", temperature=0)
        sent = s.sent()
    assert (answer.text, answer.finish_reason, answer.usage) == ("hello", "stop", BILLED)
    assert (sent["stream"], sent["stream_options"]) == (True, {"include_usage": True})
    assert sent["temperature"] == 0


@pytest.mark.anyio
async def test_without_first_token_s_nothing_is_streamed() -> None:
    async with scripted(completion()) as s:
        await s.tier.chat("hi")
        assert not s.sent().keys() & {"stream", "stream_options"}


@pytest.mark.anyio
async def test_the_options_of_a_stream_may_be_ones_own_or_left_out() -> None:
    answer = streamed(HELLO, END, DONE)
    async with scripted(then=answer, first_token_s=LATER_S) as s:
        await s.tier.chat("hi", stream_options={"include_obfuscation": False})
        own = {"include_usage": True, "include_obfuscation": False}
        assert s.sent()["stream_options"] == own
    options: Any = {"first_token_s": LATER_S, "drop_params": ["stream_options"]}
    async with scripted(then=answer, **options) as s:
        assert (await s.tier.chat("hi")).usage is None
        assert "stream_options" not in s.sent()


ASKED: list[tuple[str, dict[str, Any]]] = [
    ("openai", {}),
    ("openai", {"logprobs": True, "top_logprobs": 3, "n": 3, "temperature": 1.0}),
    ("openai", {"tools": [TOOL], "tool_choice": "required"}),
    ("openai", {"max_tokens": 3, "response_format": {"type": "json_object"}}),
    ("anthropic", {}),
    ("anthropic", {"stop": ["a"]}),
    ("anthropic", {"tools": [TOOL], "tool_choice": "required"}),
    ("anthropic", {"max_tokens": 3}),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("provider", "params"), ASKED)
async def test_a_streamed_answer_is_the_plain_one(provider: str, params: dict[str, Any]) -> None:
    async def ask(first_token_s: float | None) -> list[Answer[Any]]:
        async with serve_models(simulated_models(), speed=math.inf) as server:
            tiers = [
                Tier(
                    name,
                    model=f"{provider}:{name}",
                    base_url=f"{server.url}/v1",
                    first_token_s=first_token_s,
                )
                for name in ("sim-small", "sim-medium")
            ]
            asked = [*workload(10), *workload(2)]  # some twice, and so from a cache
            return [await tier.chat(case.prompt, **params) for tier in tiers for case in asked]

    plain, put_together = await ask(None), await ask(LATER_S)
    assert plain == put_together
    assert [answer.raw for answer in plain] == [answer.raw for answer in put_together]


QUIET: list[Any] = [
    Hang(),
    dripping(),
    dripping(ROLE),
    dripping(b": a comment\n\n" * 3, event({"choices": [], "usage": None})),
    dripping(b'{"choices"', content_type="application/json"),
]


@pytest.mark.anyio
@pytest.mark.parametrize("number", range(len(QUIET)))
async def test_no_first_token_in_time_is_a_timeout_of_unknown_cost(number: int) -> None:
    async with scripted(QUIET[number], first_token_s=SOON_S) as s:
        error = await failure_of(s.tier)
    assert type(error) is ProviderTimeoutError
    assert str(error) == "openai:m: no first token in 0.05 s"
    assert error.usage is None


@pytest.mark.anyio
async def test_pings_of_a_message_are_no_tokens() -> None:
    started = event({"type": "message_start", "message": {"usage": {}}}, "message_start")
    begun = {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}}
    empty = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": ""}}
    quiet = dripping(started, event({"type": "ping"}, "ping"), event(begun), event(empty))
    async with scripted(quiet, provider="anthropic", first_token_s=SOON_S) as s:
        assert "no first token" in str(await failure_of(s.tier))


FIRST = [
    chunk(content="h"),
    chunk(refusal="n"),
    chunk(reasoning_content="t"),
    chunk(tool_calls=[{"index": 0, "id": "1", "function": {"name": "f", "arguments": ""}}]),
    chunk(function_call={"name": "f"}),
    chunk("stop"),
]


@pytest.mark.anyio
@pytest.mark.parametrize("first", FIRST, ids=[str(number) for number in range(len(FIRST))])
async def test_once_it_has_begun_only_the_tiers_own_time_ends_a_stream(first: bytes) -> None:
    stuck = dripping(ROLE, first)
    async with scripted(stuck, first_token_s=SOON_S, timeout_s=4 * SOON_S) as s:
        assert "gave no answer in 0.2 s" in str(await failure_of(s.tier))


@pytest.mark.anyio
async def test_a_first_token_that_is_late_escalates_within_the_budget() -> None:
    usd = Price(input=1, output=1)
    async with (
        scripted(Hang(), first_token_s=SOON_S, price=usd) as slow,
        scripted(completion(), price=usd) as good,
    ):
        late, quick = slow.tier, Tier("quick", model="openai:m", base_url=good.tier.base_url)
        result = await Cascade(tiers=[late, quick], paths={"p": Path(budget_s=LATER_S)}).run(
            "hi", path="p"
        )
        assert [a.outcome for a in result.attempts] == ["timed_out", "accepted"]
        assert result.attempts[0].cost_usd is None
        assert type(result.attempts[0].error) is ProviderTimeoutError


@pytest.mark.anyio
async def test_a_shorter_budget_goes_before_the_first_token() -> None:
    async with scripted(Hang(), first_token_s=LATER_S) as s:
        hurried = Cascade(tiers=[s.tier], paths={"p": Path(budget_s=SOON_S)})
        with pytest.raises(DeadlineExceeded):
            await hurried.run("hi", path="p")


@pytest.mark.anyio
async def test_a_first_token_that_is_late_is_tried_again() -> None:
    # The second try has to be in time, on a busy machine too.
    async with scripted(Hang(), streamed(HELLO, END), first_token_s=2.0, retries=1) as s:
        assert (await s.tier.chat("hi")).text == "hello"
        assert len(s.server.requests) == 2


@pytest.mark.anyio
async def test_a_plain_answer_to_a_request_for_a_stream_is_understood() -> None:
    async with scripted(completion(), Reply(200, b"<html>"), first_token_s=LATER_S) as s:
        assert await s.tier.chat("hi") == read_completion(completion().body)
        assert type(await failure_of(s.tier)) is BadResponseError


@pytest.mark.anyio
async def test_a_refused_request_for_a_stream_is_its_error() -> None:
    refusal = Reply(400, {"error": {"message": "no stream_options", "code": "unknown"}})
    async with scripted(refusal, first_token_s=LATER_S) as s:
        error = await failure_of(s.tier)
    assert type(error) is BadRequestError
    assert error.usage == NO_USAGE


BROKEN: list[tuple[Any, type[ProviderError], Usage | None]] = [
    (streamed(), BadResponseError, None),
    (streamed(HELLO), BadResponseError, None),
    (streamed(HELLO, BILL), BadResponseError, BILLED),
    (streamed(HELLO, END[:-20]), BadResponseError, None),
    (streamed(HELLO, b"data: nonsense\n\n"), BadResponseError, None),
    (streamed(HELLO, b"data: [1]\n\n", END), BadResponseError, None),
    (streamed(HELLO, b"data: \xff\n\n", END), BadResponseError, None),
    (streamed(HELLO, b"data: " + b"[" * 200_000 + b"\n\n", END), BadResponseError, None),
    (streamed(BILL, DONE), BadResponseError, BILLED),
    (streamed(event({}, "error")), ServerError, None),
    (streamed(event({"error": {"code": 503}})), OverloadedError, NO_USAGE),
    (streamed(HELLO, event({"error": {"code": 503}})), OverloadedError, None),
    (streamed(HELLO, BILL, event({"error": {"code": 503}})), OverloadedError, BILLED),
    (streamed(HELLO, b"event: error\ndata: it broke\n\n", END, DONE), ServerError, None),
    (dripping(HELLO, event({"error": "it broke"})), ServerError, None),
    (streamed(HELLO, event({"error": "it broke"}), b"data: {}"), ServerError, None),
    (Reset(), ProviderConnectionError, None),
    (streamed(gzip.compress(HELLO)[:-9], **{"content-encoding": "gzip"}), BadResponseError, None),
    (streamed(HELLO, **{"content-encoding": "gzip"}), ProviderConnectionError, None),
]


@pytest.mark.anyio
@pytest.mark.parametrize("number", range(len(BROKEN)))
async def test_a_broken_stream_is_its_error(number: int) -> None:
    stream, kind, usage = BROKEN[number]
    async with scripted(stream, streamed(HELLO, END, DONE), first_token_s=LATER_S) as s:
        error = await failure_of(s.tier)
        assert type(error) is kind
        assert error.usage == usage
        assert "openai:m" in str(error)
        assert error.__context__ is None, "the exceptions of httpx hold the request with its key"
        assert (await s.tier.chat("hi")).text == "hello"


@pytest.mark.anyio
async def test_a_stream_that_breaks_off_is_a_connection_error_of_unknown_cost() -> None:
    async def fall() -> None:
        raise RuntimeError

    async with scripted(dripping(HELLO, END, then=fall), first_token_s=LATER_S) as s:
        error = await failure_of(s.tier)
    assert type(error) is ProviderConnectionError
    assert error.usage is None


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_a_stream_longer_than_any_answer_is_a_bad_response(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_encoding, "MAX_ANSWER_BYTES", 100_000)
    monkeypatch.setattr(_pool, "MAX_ANSWER_BYTES", 100_000)
    flood = HELLO * 2000
    body = gzip.compress(flood) if encoding == "gzip" else flood
    async with scripted(
        streamed(body, **{"content-encoding": encoding}),
        streamed(HELLO, END, DONE),
        first_token_s=LATER_S,
    ) as s:
        error = await failure_of(s.tier)
        assert type(error) is BadResponseError
        assert "100000 bytes" in str(error)
        assert error.usage is None
        assert (await s.tier.chat("hi")).text == "hello"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "stream",
    [
        streamed(HELLO, END),
        streamed(HELLO, DONE, DONE),
        streamed(HELLO, END, DONE, b"data: nonsense\n\n", event({"error": "late"})),
        streamed(HELLO, END, b"data: [DONE]"),
        streamed(gzip.compress(HELLO + END), **{"content-encoding": "gzip"}),
        streamed(event({"choices": None}), event({"choices": [None]}), HELLO, END),
    ],
    ids=range(6),
)
async def test_streams_that_are_a_little_odd_are_understood(stream: Reply) -> None:
    async with scripted(stream, first_token_s=LATER_S) as s:
        assert (await s.tier.chat("hi")).text == "hello"


@pytest.mark.anyio
async def test_a_stream_that_goes_on_after_its_end_is_left() -> None:
    async with scripted(dripping(HELLO, END, DONE), completion(), first_token_s=LATER_S) as s:
        assert (await s.tier.chat("hi")).text == "hello"
        assert (await s.tier.chat("hi")).text == "hello"


@pytest.mark.anyio
async def test_the_connection_of_a_whole_stream_is_used_again() -> None:
    ports: set[int] = set()
    async with scripted(then=streamed(HELLO, END, DONE), first_token_s=LATER_S) as s:
        for _ in range(5):
            await s.tier.chat("hi")
            transport: Any
            (transport,) = (await _pool._connections())._all
            (connection,) = transport._pool.connections
            ports.add(id(connection))
    assert len(ports) == 1


def test_a_stream_and_no_stream_do_not_go_together() -> None:
    with pytest.raises(ConfigError, match="first_token_s needs a stream"):
        Tier("t", model="openai:m", first_token_s=1, drop_params=["stream"])


def test_recorded_runs_do_not_stream() -> None:
    with pytest.raises(ConfigError, match="first_token_s has no effect on recorded runs"):
        connect("recorded:runs.jsonl", first_token_s=1.0)


def test_an_endpoint_tells_its_first_token() -> None:
    assert Endpoint("openai", "m").first_token_s is None


@pytest.mark.anyio
async def test_simulated_models_stream() -> None:
    tier = Tier("t", model="simulated:sim-small", first_token_s=LATER_S)
    answer = await tier.chat("hi", max_tokens=3)
    assert (answer.model, answer.finish_reason) == ("sim-small", "length")
    assert answer.usage is not None
    assert answer.usage.output_tokens == 3


@pytest.mark.anyio
async def test_an_answer_alone_is_refused_where_nothing_passes() -> None:
    async with scripted(streamed(HELLO, END), first_token_s=LATER_S) as s:
        with pytest.raises(CascadeExhausted) as caught:
            await Cascade(tiers=[s.tier], validators=[lambda answer, context: False]).run("hi")
    assert caught.value.best is not None
    assert caught.value.best.text == "hello"


CANCELLED = """
import sys
import anyio
from cascade.providers import _pool, prepare
from cascade.simulated import Reply, script, serve
from cascade.tier import Tier

async def events():
    for _ in range(20):
        yield b'data: {"choices": [{"delta": {"content": "hello "}}]}\\n\\n'
        await anyio.lowlevel.checkpoint()
    yield b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\\n\\ndata: [DONE]\\n\\n'

async def answer(request):
    return Reply(stream=events())

async def main():
    await prepare()
    async with serve(script(then=answer)) as server:
        tier = Tier("t", model="openai:m", base_url=server.url, first_token_s=30)

        async def call(checkpoints):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(tier.chat, "hi")
                for _ in range(checkpoints):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()

        for checkpoints in range(80):
            await call(checkpoints)
        kept = await _pool._connections()
        assert {one.connection for one in kept._idle[server.url]} == kept._all
        assert (await tier.chat("hi")).text == "hello " * 20
        for first_token_s in (0.0001, 0.001, 0.002, 0.003, 0.005) * 5:
            hasty = Tier("t", model="openai:m", base_url=server.url, retries=0, breaker=None,
                         first_token_s=first_token_s)
            try:
                await hasty.chat("hi")
            except Exception as error:
                assert "no first token" in str(error), error
        assert {one.connection for one in kept._idle[server.url]} == kept._all

anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_streams_cancelled_at_any_point_leave_nothing_behind(backend: str) -> None:
    assert run_python(CANCELLED, backend) == (0, "", "")
