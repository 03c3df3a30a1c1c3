from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import httpx
import pytest

from cascade.simulated import (
    TICKET_SCHEMA,
    Hang,
    HttpRequest,
    Reply,
    Reset,
    Server,
    SimulatedModel,
    grade,
    model_handler,
    script,
    serve,
    serve_models,
    simulated_models,
    workload,
)
from cascade.simulated.http import Outcome

pytestmark = pytest.mark.anyio

CHAT, MESSAGES, MODELS = "/v1/chat/completions", "/v1/messages", "/v1/models"
USER = [{"role": "user", "content": "Hello there"}]
OPENAI_BODY: dict[str, Any] = {"model": "sim-small", "messages": USER}
ANTHROPIC_BODY: dict[str, Any] = {"model": "sim-small", "messages": USER, "max_tokens": 100}
ANTHROPIC = {"anthropic-version": "2023-06-01"}


@asynccontextmanager
async def client_of(
    *models: SimulatedModel, **options: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, Server]]:
    chosen = models or simulated_models()
    async with serve_models(chosen, **{"speed": math.inf, **options}) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            yield client, server


def events(text: str) -> list[Any]:
    """The JSON of each `data:` line; the closing [DONE] as it is."""
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [item if item == "[DONE]" else json.loads(item) for item in data]


async def test_every_reply_says_that_it_is_simulated() -> None:
    async with client_of() as (client, server):
        replies = [
            await client.post(CHAT, json=OPENAI_BODY),
            await client.post(MESSAGES, json=ANTHROPIC_BODY),
            await client.post(CHAT, json=OPENAI_BODY | {"stream": True}),
            await client.post(CHAT, json={}),
            await client.get(MODELS),
            await client.get("/nowhere"),
        ]
        assert [reply.headers["x-simulated"] for reply in replies] == ["true"] * 6
        assert replies[0].json()["system_fingerprint"] == "simulated"
        assert not server.failures


async def test_an_openai_completion_has_every_field() -> None:
    async with client_of() as (client, _):
        reply = await client.post(CHAT, json=OPENAI_BODY | {"logprobs": True, "top_logprobs": 2})
    body = reply.json()
    assert body["id"].startswith("chatcmpl-sim")
    assert reply.headers["x-request-id"].startswith("req_")
    assert (body["object"], body["model"]) == ("chat.completion", "sim-small")
    assert isinstance(body["created"], int)
    (choice,) = body["choices"]
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    assert choice["message"].keys() == {"role", "content", "refusal"}
    tokens = choice["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == choice["message"]["content"]
    encoded = bytes(byte for token in tokens for byte in token["bytes"])
    assert encoded.decode() == choice["message"]["content"]
    assert {len(token["top_logprobs"]) for token in tokens} == {2}
    usage = body["usage"]
    assert usage["completion_tokens"] == len(tokens)
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 0


async def test_an_anthropic_message_has_every_field() -> None:
    async with client_of() as (client, _):
        reply = await client.post(MESSAGES, json=ANTHROPIC_BODY)
    body = reply.json()
    assert body["id"].startswith("msg_sim")
    assert reply.headers["request-id"].startswith("req_")
    assert (body["type"], body["role"], body["model"]) == ("message", "assistant", "sim-small")
    assert [block["type"] for block in body["content"]] == ["text"]
    assert (body["stop_reason"], body["stop_sequence"]) == ("end_turn", None)
    assert body["usage"]["output_tokens"] > 0
    assert body["usage"].keys() == {
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
    }


async def test_log_probabilities_come_only_when_asked_for() -> None:
    async with client_of() as (client, _):
        plain = (await client.post(CHAT, json=OPENAI_BODY)).json()
        bare = (await client.post(CHAT, json=OPENAI_BODY | {"logprobs": True})).json()
    assert plain["choices"][0]["logprobs"] is None
    assert bare["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == []


async def test_both_formats_give_the_same_answer_to_a_ticket() -> None:
    (case,) = workload(1)
    system, user = case.messages
    async with client_of() as (client, _):
        body = {"model": "sim-large", "messages": [system, user], "temperature": 0}
        chat = (await client.post(CHAT, json=body)).json()
        body = {
            "model": "sim-large",
            "system": [{"type": "text", "text": system["content"]}],
            "messages": [{"role": "user", "content": [{"type": "text", "text": user["content"]}]}],
            "max_tokens": 500,
        }
        message = (await client.post(MESSAGES, json=body)).json()
    assert chat["choices"][0]["message"]["content"] == message["content"][0]["text"]
    assert chat["usage"]["prompt_tokens"] == message["usage"]["input_tokens"]
    assert grade(case, message["content"][0]["text"])


async def test_limits_stops_and_choices_are_honoured() -> None:
    async with client_of() as (client, _):
        for name in ("max_tokens", "max_completion_tokens"):
            cut = (await client.post(CHAT, json=OPENAI_BODY | {name: 3})).json()
            assert cut["choices"][0]["finish_reason"] == "length"
            assert cut["usage"]["completion_tokens"] == 3
        stopped = (await client.post(CHAT, json=OPENAI_BODY | {"stop": "reply"})).json()
        assert stopped["choices"][0]["message"]["content"] == "[simulated "
        assert stopped["choices"][0]["finish_reason"] == "stop"
        three = (await client.post(CHAT, json=OPENAI_BODY | {"n": 3, "temperature": 1})).json()
        assert [choice["index"] for choice in three["choices"]] == [0, 1, 2]
        cut = (await client.post(MESSAGES, json=ANTHROPIC_BODY | {"max_tokens": 2})).json()
        assert cut["stop_reason"] == "max_tokens"
        body = ANTHROPIC_BODY | {"stop_sequences": ["zzz", "reply"]}
        stopped = (await client.post(MESSAGES, json=body)).json()
        assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", "reply")


async def test_response_formats_are_accepted() -> None:
    formats: list[dict[str, Any]] = [
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "ticket", "schema": TICKET_SCHEMA}},
    ]
    async with client_of() as (client, _):
        for wanted in formats:
            reply = await client.post(CHAT, json=OPENAI_BODY | {"response_format": wanted})
            assert isinstance(json.loads(reply.json()["choices"][0]["message"]["content"]), dict)
        reply = await client.post(CHAT, json=OPENAI_BODY | {"response_format": {"type": "text"}})
        assert reply.status_code == 200


async def test_an_openai_stream_builds_up_the_same_completion() -> None:
    body = OPENAI_BODY | {"n": 2, "logprobs": True, "stream_options": {"include_usage": True}}
    async with client_of() as (client, _):
        whole = (await client.post(CHAT, json=body)).json()
        reply = await client.post(CHAT, json=body | {"stream": True})
    assert reply.headers["content-type"] == "text/event-stream"
    *chunks, last, done = events(reply.text)
    assert done == "[DONE]"
    assert (last["choices"], last["usage"]) == ([], whole["usage"])
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["usage"] for chunk in chunks} == {None}
    for choice in whole["choices"]:
        parts = [c["choices"][0] for c in chunks if c["choices"][0]["index"] == choice["index"]]
        assert parts[0]["delta"]["role"] == "assistant"
        text = "".join(part["delta"].get("content") or "" for part in parts)
        assert text == choice["message"]["content"]
        assert [part["finish_reason"] for part in parts if part["finish_reason"]] == ["stop"]
        streamed = [
            token for part in parts for token in (part["logprobs"] or {}).get("content", [])
        ]
        assert streamed == choice["logprobs"]["content"]


async def test_an_openai_stream_without_usage_has_none() -> None:
    async with client_of() as (client, _):
        reply = await client.post(CHAT, json=OPENAI_BODY | {"stream": True})
    *chunks, done = events(reply.text)
    assert done == "[DONE]"
    assert not any("usage" in chunk for chunk in chunks)


async def test_an_anthropic_stream_follows_the_event_sequence() -> None:
    async with client_of() as (client, _):
        whole = (await client.post(MESSAGES, json=ANTHROPIC_BODY)).json()
        reply = await client.post(MESSAGES, json=ANTHROPIC_BODY | {"stream": True})
    data = events(reply.text)
    names = [line.removeprefix("event: ") for line in reply.text.splitlines() if "event: " in line]
    assert names == [item["type"] for item in data]
    deltas = names.count("content_block_delta")
    assert names == [
        "message_start",
        "ping",
        "content_block_start",
        *["content_block_delta"] * deltas,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert data[0]["message"]["content"] == []
    text = "".join(item["delta"]["text"] for item in data if item["type"] == names[3])
    assert text == whole["content"][0]["text"]
    assert data[-2]["delta"]["stop_reason"] == "end_turn"
    assert data[-2]["usage"]["output_tokens"] == whole["usage"]["output_tokens"]


async def test_tools_are_called_in_both_formats() -> None:
    parameters = {"type": "object", "properties": {"order_id": {"type": "string"}}}
    messages = [{"role": "user", "content": "the order status of A-77, please"}]
    openai_tool = {"name": "order_status", "parameters": parameters}
    openai_body = OPENAI_BODY | {
        "messages": messages,
        "tools": [{"type": "function", "function": openai_tool}],
    }
    anthropic_body = ANTHROPIC_BODY | {
        "messages": messages,
        "tools": [{"name": "order_status", "input_schema": parameters}],
    }
    async with client_of() as (client, _):
        choice = (await client.post(CHAT, json=openai_body)).json()["choices"][0]
        message = (await client.post(MESSAGES, json=anthropic_body)).json()
        anthropic_body["messages"] = [
            *messages,
            {"role": "assistant", "content": message["content"]},
            {"role": "user", "content": [{"type": "tool_result", "content": "in transit"}]},
        ]
        answered = (await client.post(MESSAGES, json=anthropic_body)).json()
        forced = {"tool_choice": {"type": "function", "function": {"name": "order_status"}}}
        openai_body |= forced | {"messages": USER, "stream": True}
        openai_stream = (await client.post(CHAT, json=openai_body)).text
        forced = {"tool_choice": {"type": "tool", "name": "order_status"}}
        anthropic_body |= forced | {"messages": USER, "stream": True}
        anthropic_stream = (await client.post(MESSAGES, json=anthropic_body)).text
    assert '"finish_reason":"tool_calls"' in openai_stream
    assert '"stop_reason":"tool_use"' in anthropic_stream
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["function"] == {"name": "order_status", "arguments": '{"order_id": "A-77"}'}
    assert message["stop_reason"] == "tool_use"
    assert message["content"][0]["input"] == {"order_id": "A-77"}
    assert answered["stop_reason"] == "end_turn"


async def test_a_refusal_has_its_field_in_both_formats() -> None:
    model = SimulatedModel("sim-shy", refusal=1)
    found: set[tuple[bool, str]] = set()
    async with client_of(model) as (client, _):
        for number in range(20):
            messages = [{"role": "user", "content": f"Hello {number}"}]
            body = {"model": "sim-shy", "messages": messages, "max_tokens": 50, "logprobs": True}
            choice = (await client.post(CHAT, json=body)).json()["choices"][0]
            stop_reason = (await client.post(MESSAGES, json=body)).json()["stop_reason"]
            in_field = choice["message"]["refusal"] is not None
            assert (choice["message"]["content"] is None) == in_field
            assert (choice["logprobs"]["content"] is None) == in_field
            found.add((in_field, stop_reason))
    assert found == {(True, "refusal"), (False, "end_turn")}


async def test_models_are_listed_in_both_formats() -> None:
    async with client_of() as (client, _):
        openai_list = (await client.get(MODELS)).json()
        anthropic_list = (await client.get(MODELS, headers=ANTHROPIC)).json()
    names = ["sim-small", "sim-medium", "sim-large"]
    assert [item["id"] for item in openai_list["data"]] == names
    assert [item["id"] for item in anthropic_list["data"]] == names
    assert openai_list["object"] == "list"
    assert anthropic_list["has_more"] is False


BAD_OPENAI: list[tuple[dict[str, Any], str | None]] = [
    ({"messages": None}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "hello"}, "messages"),
    ({"messages": ["hello"]}, "messages"),
    ({"messages": [{"content": "x"}]}, "role"),
    ({"messages": [{"role": "user", "content": 5}]}, "content"),
    ({"model": None}, "model"),
    ({"temperature": 3}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"n": 0}, "n"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ({"stop": [1]}, "stop"),
    ({"tools": [{"type": "function"}]}, "function"),
    ({"tool_choice": "sometimes"}, "tool_choice"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
]


@pytest.mark.parametrize(("change", "param"), BAD_OPENAI, ids=lambda part: str(part)[:40])
async def test_openai_errors_name_the_field(change: dict[str, Any], param: str) -> None:
    async with client_of() as (client, server):
        reply = await client.post(CHAT, json=OPENAI_BODY | change)
        error = reply.json()["error"]
        assert reply.status_code == 400
        assert error["type"] == "invalid_request_error"
        assert (error["param"], error["code"]) == (param, None)
        assert not server.failures


BAD_ANTHROPIC: list[tuple[dict[str, Any], str]] = [
    ({"max_tokens": None}, "max_tokens"),
    ({"messages": None}, "messages"),
    ({"temperature": 1.5}, "temperature"),
    ({"stop_sequences": [""]}, "stop_sequences"),
    ({"tools": [{}]}, "name"),
    ({"tool_choice": {"type": "maybe"}}, "tool_choice"),
]


@pytest.mark.parametrize(("change", "named"), BAD_ANTHROPIC, ids=lambda part: str(part)[:40])
async def test_anthropic_errors_name_the_field(change: dict[str, Any], named: str) -> None:
    async with client_of() as (client, server):
        reply = await client.post(MESSAGES, json=ANTHROPIC_BODY | change)
        body = reply.json()
        assert (reply.status_code, body["type"]) == (400, "error")
        assert body["error"]["type"] == "invalid_request_error"
        assert named in body["error"]["message"]
        assert not server.failures


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"[" * 100_000, b"\xff"], ids=range(5))
async def test_a_body_which_is_no_json_object_is_refused(body: bytes) -> None:
    async with client_of() as (client, server):
        for path in (CHAT, MESSAGES):
            assert (await client.post(path, content=body)).status_code == 400
        assert not server.failures


async def test_an_unknown_model_is_not_found() -> None:
    async with client_of() as (client, _):
        body = json.dumps(OPENAI_BODY | {"model": "gpt-\ud800"})  # not text in any encoding
        reply = await client.post(CHAT, content=body)
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")
        reply = await client.post(MESSAGES, json=ANTHROPIC_BODY | {"model": "other"})
        assert (reply.status_code, reply.json()["error"]["type"]) == (404, "not_found_error")


async def test_unknown_paths_and_methods_are_refused() -> None:
    async with client_of() as (client, _):
        assert (await client.post("/v1/completions", json=OPENAI_BODY)).status_code == 404
        reply = await client.get(CHAT)
        assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
        reply = await client.delete(MODELS)
        assert (reply.status_code, reply.headers["allow"]) == (405, "GET")


async def test_a_configured_key_is_required() -> None:
    bearer, key = {"authorization": "Bearer right"}, {"x-api-key": "right"}
    async with client_of(api_key="right") as (client, _):
        assert (await client.post(CHAT, json=OPENAI_BODY, headers=bearer)).status_code == 200
        for headers in (key, bearer):  # old and new versions of the SDK
            reply = await client.post(MESSAGES, json=ANTHROPIC_BODY, headers=headers)
            assert reply.status_code == 200
        refused = [
            await client.post(CHAT, json=OPENAI_BODY),
            await client.post(CHAT, json=OPENAI_BODY, headers=key),
            await client.post(
                CHAT, json=OPENAI_BODY, headers={b"authorization": b"Bearer wr\xf6ng"}
            ),
            await client.post(MESSAGES, json=ANTHROPIC_BODY),
            await client.post(MESSAGES, json=ANTHROPIC_BODY, headers={"x-api-key": "wrong"}),
            await client.get(MODELS),
        ]
    assert [reply.status_code for reply in refused] == [401] * 6
    assert refused[0].json()["error"]["code"] == "invalid_api_key"
    assert refused[3].json()["error"]["type"] == "authentication_error"
    assert "wr" not in refused[2].json()["error"]["message"]


async def test_a_failing_model_sends_the_errors_of_its_format() -> None:
    model = SimulatedModel("sim-small", error_rate=1)
    openai_types: set[tuple[int, str]] = set()
    anthropic_types: set[tuple[int, str]] = set()
    async with client_of(model, speed=1e6) as (client, _):
        for _ in range(30):
            reply = await client.post(CHAT, json=OPENAI_BODY)
            openai_types.add((reply.status_code, reply.json()["error"]["type"]))
            assert ("retry-after" in reply.headers) == (reply.status_code == 429)
            reply = await client.post(MESSAGES, json=ANTHROPIC_BODY)
            anthropic_types.add((reply.status_code, reply.json()["error"]["type"]))
    assert openai_types == {(429, "requests"), (500, "server_error"), (503, "server_error")}
    assert anthropic_types == {
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    }


async def test_a_long_prompt_is_cached_the_second_time() -> None:
    long = [{"role": "user", "content": "word " * 2000}]
    marked = [{"type": "text", "text": "other " * 2000, "cache_control": {"type": "ephemeral"}}]
    body = ANTHROPIC_BODY | {"messages": [{"role": "user", "content": marked}]}
    async with client_of() as (client, _):
        chats = [await client.post(CHAT, json=OPENAI_BODY | {"messages": long}) for _ in range(2)]
        replies = [await client.post(MESSAGES, json=body) for _ in range(2)]
        plain = [await client.post(MESSAGES, json=ANTHROPIC_BODY | {"messages": long})]
    cached = [c.json()["usage"]["prompt_tokens_details"]["cached_tokens"] for c in chats]
    assert cached[0] == 0
    assert cached[1] > 1024
    first, second = (reply.json()["usage"] for reply in replies)
    assert first["cache_creation_input_tokens"] == second["cache_read_input_tokens"] > 1024
    assert first["input_tokens"] == second["input_tokens"] < 128
    assert plain[0].json()["usage"]["cache_read_input_tokens"] == 0


async def test_the_same_seed_gives_the_same_replies_on_another_server() -> None:
    async def replies(seed: int) -> list[str]:
        async with client_of(seed=seed) as (client, _):
            found = []
            for case in workload(20, 1):
                body = {"model": "sim-small", "messages": case.messages, "logprobs": True}
                found.append((await client.post(CHAT, json=body)).text)
            return found

    assert await replies(3) == await replies(3)
    assert await replies(3) != await replies(4)


async def test_sampling_varies_from_visit_to_visit() -> None:
    body = OPENAI_BODY | {"temperature": 1, "logprobs": True}
    async with client_of() as (client, _):
        sampled = [(await client.post(CHAT, json=body)).json()["choices"] for _ in range(2)]
        body |= {"temperature": 0}
        greedy = [(await client.post(CHAT, json=body)).json()["choices"] for _ in range(2)]
    assert sampled[0] != sampled[1]
    assert greedy[0] == greedy[1]


async def test_visits_are_counted_for_the_newest_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cascade.simulated.handler.REMEMBERED_PROMPTS", 2)
    async with client_of() as (client, _):
        ids: list[str] = []
        for text in ("a", "b", "a", "c", "b"):
            body = OPENAI_BODY | {"messages": [{"role": "user", "content": text}]}
            ids.append((await client.post(CHAT, json=body)).json()["id"])
    assert ids[0][:-4] == ids[2][:-4]
    assert [reply_id[-4:] for reply_id in ids] == ["0000", "0000", "0001", "0000", "0000"]


async def test_faults_come_before_the_models() -> None:
    faults = (Reset(), Reply(503, {"error": {}}))
    async with client_of(faults=faults) as (client, _):
        with pytest.raises(httpx.ReadError):
            await client.post(CHAT, json=OPENAI_BODY)
        assert (await client.post(CHAT, json=OPENAI_BODY)).status_code == 503
        assert (await client.post(CHAT, json=OPENAI_BODY)).status_code == 200


async def test_a_handler_can_choose_who_fails() -> None:
    models = model_handler(simulated_models(), speed=math.inf)

    async def small_hangs(request: HttpRequest) -> Outcome:
        return Hang() if request.json()["model"] == "sim-small" else await models(request)

    async with serve(script(then=small_hangs)) as server:
        timeout = httpx.Timeout(30, read=0.2)
        async with httpx.AsyncClient(base_url=server.url, timeout=timeout) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.post(CHAT, json=OPENAI_BODY)
            reply = await client.post(CHAT, json=OPENAI_BODY | {"model": "sim-large"}, timeout=30)
            assert reply.status_code == 200


async def test_speed_divides_the_wait() -> None:
    request = HttpRequest("POST", CHAT, "", {}, json.dumps(OPENAI_BODY).encode())
    waits_s: list[float] = []
    for speed in (1.0, 10.0, math.inf):
        outcome = await model_handler(simulated_models(), speed=speed)(request)
        assert isinstance(outcome, Reply)
        waits_s.append(outcome.delay_s)
    assert waits_s[0] == pytest.approx(10 * waits_s[1])
    assert waits_s[0] > 0.05
    assert waits_s[2] == 0


async def test_a_hundred_completions_at_once() -> None:
    cases = workload(100, 2)
    right: list[bool] = []
    limits = httpx.Limits(max_connections=100)
    async with serve_models(simulated_models(), speed=20) as server:
        async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=60) as client:

            async def ask(number: int) -> None:
                case = cases[number]
                body = {"model": "sim-large", "messages": case.messages}
                reply = (await client.post(CHAT, json=body)).json()
                right.append(grade(case, reply["choices"][0]["message"]["content"]))

            async with anyio.create_task_group() as tasks:
                for number in range(100):
                    tasks.start_soon(ask, number)
    assert len(right) == 100
    assert sum(right) > 90


def test_impossible_servers_are_refused() -> None:
    tier = simulated_models()[0]
    for speed in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="must be above 0"):
            model_handler([tier], speed=speed)
    with pytest.raises(ValueError, match="not all named differently"):
        serve_models([tier, replace(tier, seed=5)])
