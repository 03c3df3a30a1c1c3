from __future__ import annotations

import pickle
import textwrap
from typing import Any

import anyio
import pytest

from cascade.errors import (
    AuthenticationError,
    BadRequestError,
    BadResponseError,
    ConfigError,
    ProviderConnectionError,
    ProviderTimeoutError,
)
from cascade.providers import Endpoint, _http, _pool, close_connections
from cascade.simulated import Drip, Garbage, Hang, Reply, Reset, Truncate, script, serve
from cascade.tier import Tier
from cascade.types import NO_USAGE, Secret
from tests.providers.support import KEY, completion, failure_of, run_python, scripted

BODY = completion().body


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fault",
    [Reset(), Garbage(), Garbage(b""), Truncate(BODY, keep=20), Truncate(BODY, keep=0)],
    ids=["reset", "garbage", "closed", "cut", "cut at once"],
)
async def test_a_broken_connection_is_a_connection_error_of_unknown_cost(fault: Any) -> None:
    async with scripted(fault, completion()) as s:
        error = await failure_of(s.tier)
        assert type(error) is ProviderConnectionError
        assert error.status is None
        assert error.usage is None
        assert (await s.tier.chat("again")).text == "hello"


@pytest.mark.anyio
async def test_an_answer_that_comes_in_drips_is_read_whole() -> None:
    async with scripted(Drip(BODY, chunk=7, pause_s=0)) as s:
        assert (await s.tier.chat("hi")).text == "hello"


@pytest.mark.anyio
async def test_a_server_that_says_nothing_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pool, "IDLE_TIMEOUT_S", 0.05)
    async with scripted(then=Hang()) as s:
        error = await failure_of(s.tier)
        assert type(error) is ProviderTimeoutError
        assert error.usage is None


@pytest.mark.anyio
async def test_a_refused_connection_costs_nothing_and_names_the_address() -> None:
    async with serve(script()) as server:
        url = server.url
    tier = Tier("t", model="ollama:m", base_url=url.replace("//", "//me:hidden@"))
    error = await failure_of(tier)
    assert type(error) is ProviderConnectionError
    assert error.usage == NO_USAGE
    assert url in str(error)
    assert "hidden" not in str(error)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"\xff\xfe\x00",
        b"[1]",
        b'"text"',
        b"null",
        b"[" * 200_000,
        b"1" * 5000,
        b'{"choices": []}',
        b"{}",
    ],
    ids=lambda body: repr(body[:12]),
)
async def test_a_success_without_an_answer_is_a_bad_response(body: bytes) -> None:
    async with scripted(Reply(200, body)) as s:
        error = await failure_of(s.tier)
        assert type(error) is BadResponseError
        assert str(error).startswith("openai:m")
        assert error.usage is None


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_in_a_broken_encoding_is_a_connection_error(encoding: str) -> None:
    async with scripted(Reply(200, b"not compressed", {"content-encoding": encoding})) as s:
        assert type(await failure_of(s.tier)) is ProviderConnectionError


@pytest.mark.anyio
async def test_redirects_are_not_followed() -> None:
    async with scripted(Reply(307, b"", {"location": "http://127.0.0.1:9/elsewhere"})) as s:
        error = await failure_of(s.tier)
        assert type(error) is BadResponseError
        assert error.status == 307
        assert "base_url" in str(error)


@pytest.mark.anyio
async def test_a_cancelled_call_leaves_the_pool_whole() -> None:
    asked = anyio.Event()

    async def hang(request: object) -> Hang:
        asked.set()
        return Hang()

    async with scripted(hang, then=completion()) as s:
        finished: list[str] = []

        async def call() -> None:
            try:
                await s.tier.chat("hi")
            except anyio.get_cancelled_exc_class():
                finished.append("cancelled")
                raise

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await asked.wait()
            tasks.cancel_scope.cancel()
        assert finished == ["cancelled"]
        for _ in range(3):
            assert (await s.tier.chat("hi")).text == "hello"


CANCELLED = """
import sys
import anyio
from cascade.providers import _pool, prepare
from cascade.simulated import Drip, script, serve
from cascade.tier import Tier

BODY = {"choices": [{"message": {"content": "hello"}}]}

async def main():
    await prepare()
    async with serve(script(then=Drip(BODY, chunk=4, pause_s=0.01))) as server:
        tier = Tier("t", model="openai:m", base_url=server.url)

        async def call(checkpoints):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(tier.chat, "hi")
                for _ in range(checkpoints):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()

        for checkpoints in range(60):
            await call(checkpoints)
        kept = await _pool._connections()
        idle = {one.connection for one in kept._idle[server.url]}
        assert idle == kept._all
        assert not any(connection._pool.connections for connection in idle)
        assert (await tier.chat("hi")).text == "hello"

anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_calls_cancelled_at_any_point_leave_nothing_behind(backend: str) -> None:
    assert run_python(CANCELLED, backend) == (0, "", "")


@pytest.mark.anyio
async def test_a_hundred_calls_at_once_all_have_a_connection() -> None:
    waiting = 0
    everyone = anyio.Event()

    async def together(request: Any) -> Reply:
        nonlocal waiting
        waiting += 1
        if waiting == 100:
            everyone.set()
        await everyone.wait()
        return completion(request.json()["messages"][0]["content"])

    async with scripted(then=together) as s:
        texts: dict[int, str | None] = {}

        async def call(number: int) -> None:
            texts[number] = (await s.tier.chat(str(number))).text

        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(call, number)
        assert texts == {number: str(number) for number in range(100)}


@pytest.mark.anyio
async def test_connections_are_kept_and_closed_on_demand() -> None:
    async with scripted(then=completion()) as s:
        first = [await s.tier.chat("hi") for _ in range(2)]
        await close_connections()
        await close_connections()
        assert [a.text for a in (*first, await s.tier.chat("hi"))] == ["hello"] * 3


@pytest.mark.anyio
async def test_connections_that_a_burst_left_behind_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = 0
    everyone = anyio.Event()

    async def together(request: object) -> Reply:
        nonlocal waiting
        waiting += 1
        if waiting == 5:
            everyone.set()
        await everyone.wait()
        return completion()

    async with scripted(then=together) as s:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(s.tier.chat, "hi")
        kept = await _pool._connections()
        assert len(kept._all) == 5
        monkeypatch.setattr(_pool, "KEEP_ALIVE_S", -1.0)  # all of them are old now
        for left in (4, 3, 2, 1, 1):
            await s.tier.chat("hi")
            assert len(kept._all) == left
        await close_connections()


@pytest.mark.anyio
async def test_tiers_at_one_server_share_its_connections() -> None:
    async with scripted(then=completion()) as s:
        await s.tier.chat("hi")
        elsewhere = f"{s.server.url}/other"
        await Tier("u", model="openai:m", base_url=elsewhere, api_key=KEY).chat("hi")
        assert len((await _pool._connections())._all) == 1
        assert [request.path for request in s.server.requests] == [
            "/v1/chat/completions",
            "/other/chat/completions",
        ]
        await close_connections()


@pytest.mark.anyio
async def test_a_password_in_the_address_is_sent_and_a_cookie_is_not() -> None:
    cookie = Reply(body=completion().body, headers={"set-cookie": "session=someone"})
    async with serve(script(cookie, completion())) as server:
        base_url = server.url.replace("http://", "http://me:secret@")
        tier = Tier("t", model="openai:m", base_url=base_url)
        for _ in range(2):
            await tier.chat("hi")
            sent = server.requests[-1].headers
            assert sent["authorization"] == "Basic bWU6c2VjcmV0"
            assert "cookie" not in sent


def test_one_tier_works_in_one_event_loop_after_another() -> None:
    with anyio.from_thread.start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(serve(script(then=completion()))) as server:
            tier = Tier("t", model="openai:m", base_url=f"{server.url}/v1")
            for backend in ("asyncio", "trio", "asyncio"):
                answer = anyio.run(tier.chat, "hi", backend=backend)
                assert answer.text == "hello"


SCRIPT = """
import asyncio, sys
import anyio
from cascade.simulated import Reply, script, serve
from cascade.tier import Tier

BODY = {"choices": [{"message": {"content": "hello"}}]}

async def main():
    async with serve(script(then=Reply(body=BODY))) as server:
        for name in ("localhost", "127.0.0.1"):
            url = server.url.replace("127.0.0.1", name) + "/v1"
            tier = Tier("t", model="openai:m", base_url=url)
            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(tier.chat, "hi")

if sys.argv[1] == "asyncio.run":
    asyncio.run(main())
else:
    anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.parametrize("runner", ["asyncio.run", "asyncio", "trio"])
def test_nothing_is_left_open_at_the_end_of_an_event_loop(runner: str) -> None:
    assert run_python(SCRIPT, runner) == (0, "", "")


@pytest.mark.anyio
async def test_no_proxy_stands_before_a_server_on_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with scripted(completion()) as s:
        assert (await s.tier.chat("hi")).text == "hello"


@pytest.mark.anyio
async def test_other_servers_are_reached_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serve(script(completion())) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        tier = Tier("t", model="openai:m", base_url="http://models.invalid/v1")
        assert (await tier.chat("hi")).text == "hello"
        assert proxy.requests[0].path == "http://models.invalid/v1/chat/completions"


@pytest.mark.anyio
async def test_a_proxy_may_be_named_without_a_scheme_and_passed_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serve(script(then=completion())) as proxy:
        monkeypatch.delenv("HTTP_PROXY", raising=False)
        monkeypatch.delenv("http_proxy", raising=False)
        monkeypatch.setenv("ALL_PROXY", proxy.url.removeprefix("http://"))
        monkeypatch.setenv("NO_PROXY", "local.invalid")
        tier = Tier("t", model="openai:m", base_url="http://models.invalid/v1")
        assert (await tier.chat("hi")).text == "hello"
        direct = Tier("u", model="openai:m", base_url="http://models.local.invalid/v1")
        assert type(await failure_of(direct)) is ProviderConnectionError
        assert len(proxy.requests) == 1


@pytest.mark.anyio
async def test_a_proxy_that_refuses_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(script(Reply(407))) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        tier = Tier("t", model="openai:m", base_url="https://models.invalid/v1")
        error = await failure_of(tier)
        assert type(error) is ProviderConnectionError
        assert "proxy" in str(error)
        assert error.usage == NO_USAGE


@pytest.mark.parametrize(
    "base_url",
    ["127.0.0.1:8000", "ftp://host/v1", "http://", "http://[::1", "http://host:port", "v1"],
)
def test_an_address_that_is_none_is_a_config_error(base_url: str) -> None:
    with pytest.raises(ConfigError, match="base_url"):
        _http.check_endpoint(Endpoint("openai", "m", base_url=base_url))


@pytest.mark.parametrize("header", [{"x-team": "a\nb"}, {"x-team": "ä"}, {"x\r": "a"}])
def test_a_header_that_cannot_be_sent_is_a_config_error(header: dict[str, str]) -> None:
    endpoint = Endpoint("openai", "m", base_url="http://host", headers=header)
    with pytest.raises(ConfigError, match="header") as caught:
        _http.check_endpoint(endpoint)
    assert "a\nb" not in str(caught.value)


class NotJson:
    def __repr__(self) -> str:
        return "SECRET PROMPT"


@pytest.mark.anyio
@pytest.mark.parametrize("value", [NotJson(), float("nan"), {1, 2}, {(1, 2): 3}])
async def test_what_json_cannot_say_is_refused_before_it_is_sent(value: Any) -> None:
    async with scripted(completion()) as s:
        error = await failure_of(s.tier, extra=value)
        assert type(error) is BadRequestError
        assert error.usage == NO_USAGE
        assert "SECRET" not in str(error)
        assert not s.server.requests


@pytest.mark.anyio
async def test_an_endless_request_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    async with scripted(completion()) as s:
        for value in (loop, deep):
            assert type(await failure_of(s.tier, extra=value)) is BadRequestError


@pytest.mark.anyio
async def test_lone_surrogates_reach_the_provider() -> None:
    async with scripted(completion()) as s:
        await s.tier.chat("half \ud83d, whole 🙂")
        assert s.sent()["messages"][0]["content"] == "half \ud83d, whole 🙂"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("model", "variable", "header", "value"),
    [
        ("openai:m", "OPENAI_API_KEY", "authorization", f"Bearer {KEY}"),
        ("openrouter:m", "OPENROUTER_API_KEY", "authorization", f"Bearer {KEY}"),
        ("anthropic:m", "ANTHROPIC_API_KEY", "x-api-key", KEY),
    ],
)
async def test_the_key_is_read_from_the_environment_at_each_call(
    monkeypatch: pytest.MonkeyPatch, model: str, variable: str, header: str, value: str
) -> None:
    monkeypatch.delenv(variable, raising=False)
    error = await failure_of(Tier("t", model=model))
    assert type(error) is AuthenticationError
    assert variable in str(error)
    assert error.usage == NO_USAGE
    monkeypatch.setenv(variable, f"{KEY}\n")
    endpoint = Endpoint("p", "m", base_url="http://host", key_env=variable)
    assert _http.key_of(endpoint) == KEY


@pytest.mark.anyio
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_the_key_goes_into_its_header(provider: str) -> None:
    async with scripted(Reply(500), provider=provider) as s:
        await failure_of(s.tier)
        headers = s.server.requests[0].headers
        expected = {"openai": ("authorization", f"Bearer {KEY}"), "anthropic": ("x-api-key", KEY)}
        name, value = expected[provider]
        assert headers[name] == value


@pytest.mark.anyio
async def test_a_server_of_ones_own_is_not_sent_the_key_of_the_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    async with serve(script(completion())) as server:
        await Tier("t", model="openai:m", base_url=server.url).chat("hi")
        assert "authorization" not in server.requests[0].headers


@pytest.mark.anyio
async def test_headers_of_the_tier_go_before_those_of_the_provider() -> None:
    headers = {"Authorization": "Basic abc", "X-Team": "red"}
    async with scripted(completion(), headers=headers) as s:
        await s.tier.chat("hi")
        sent = s.server.requests[0].headers
        assert sent["authorization"] == "Basic abc"
        assert sent["x-team"] == "red"
        assert sent["content-type"] == "application/json"


def test_a_key_in_the_headers_is_a_key() -> None:
    endpoint = Endpoint("openai", "m", key_env="NOT_SET_ANYWHERE", headers={"Authorization": "x"})
    assert _http.key_of(endpoint) is None


@pytest.mark.parametrize("key", ["sk-\x00", "sk-ä", "sk-a\nb", " "])
def test_a_key_that_is_none_says_so_without_showing_it(key: str) -> None:
    with pytest.raises(AuthenticationError) as caught:
        _http.key_of(Endpoint("openai", "m", api_key=Secret(key)))
    assert "sk-" not in str(caught.value)


LEAKS = [
    Reply(401, {"error": {"message": f"Incorrect key {KEY} for SECRET PROMPT", "code": "bad key"}}),
    Reply(400, {"error": f"{KEY} SECRET PROMPT"}),
    Reply(500, f"{KEY} SECRET PROMPT".encode()),
    Reply(200, f"{KEY} SECRET PROMPT".encode()),
    Reply(200, {"error": {"message": f"{KEY} SECRET PROMPT", "type": f"{KEY} SECRET PROMPT"}}),
    Reply(200, {"choices": [{"message": {"content": 5, "x": f"{KEY} SECRET PROMPT"}}]}),
    Garbage(f"{KEY} SECRET PROMPT\r\n\r\n".encode()),
    Reset(),
    Truncate(f"{KEY} SECRET PROMPT".encode(), keep=10),
]


@pytest.mark.anyio
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize("leak", LEAKS, ids=map(str, range(len(LEAKS))))
async def test_no_key_and_no_prompt_is_in_an_error(provider: str, leak: Any) -> None:
    async with scripted(leak, provider=provider) as s:
        error = await failure_of(s.tier)
        chain: list[BaseException] = [error]
        while (before := chain[-1].__cause__ or chain[-1].__context__) is not None:
            chain.append(before)
        shown = textwrap.dedent(" ".join(f"{e!r} {e} {e.args}" for e in chain))
        assert KEY not in shown
        assert "SECRET PROMPT" not in shown
        assert len(chain) == 1, "the exceptions of httpx hold the request with its key"
        assert KEY not in repr(s.tier)


def test_reprs_hold_no_key() -> None:
    endpoint = Endpoint("openai", "m", api_key=Secret(KEY), headers={"authorization": KEY})
    assert KEY not in repr(endpoint)
    with pytest.raises(TypeError):
        pickle.dumps(endpoint.api_key)


FIRST_CALL = """
import sys, threading
import anyio
from cascade import Cascade
from cascade.simulated import Reply, script, serve
from cascade.tier import Tier

BODY = {"choices": [{"message": {"content": "hello"}}]}
held_up_the_loop = {}

class Watch:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in ("httpx", "tenacity"):
            held_up_the_loop[name] = threading.current_thread() is threading.main_thread()

sys.meta_path.insert(0, Watch)

async def main():
    async with serve(script(then=Reply(body=BODY))) as server:
        cascade = Cascade(tiers=[Tier("t", model="openai:m", base_url=server.url)])
        assert not held_up_the_loop
        if sys.argv[2] == "call":
            await cascade.run("hi")
        else:
            async with cascade.lifespan():
                pass
        assert held_up_the_loop == {"httpx": False, "tenacity": False}, held_up_the_loop

anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("by", ["call", "lifespan"])
def test_what_sends_requests_is_loaded_beside_the_event_loop(backend: str, by: str) -> None:
    assert run_python(FIRST_CALL, backend, by) == (0, "", "")


def test_importing_the_providers_does_not_import_httpx() -> None:
    names = "anthropic, openai, recorded, simulated"
    code = f"import sys; from cascade.providers import {names}; sys.exit('httpx' in sys.modules)"
    assert run_python(code) == (0, "", "")
