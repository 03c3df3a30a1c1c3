from __future__ import annotations

import anyio
import pytest

from cascade.errors import BadRequestError, ConfigError
from cascade.providers.simulated import _Server, _server
from cascade.simulated import serve_models, simulated_models
from cascade.tier import Tier
from tests.providers.support import failure_of, run_python


@pytest.mark.anyio
async def test_simulated_models_answer_without_a_key() -> None:
    answer = await Tier("t", model="simulated:sim-small").chat("hi", logprobs=True, max_tokens=3)
    assert answer.text
    assert answer.model == "sim-small"
    assert answer.finish_reason == "length"
    assert answer.usage is not None
    assert answer.logprobs is not None
    assert "".join(token.token for token in answer.logprobs) == answer.text


@pytest.mark.anyio
async def test_a_model_that_is_not_simulated_is_named() -> None:
    error = await failure_of(Tier("t", model="simulated:gpt-9"))
    assert type(error) is BadRequestError
    assert error.status == 404
    assert "simulated:gpt-9" in str(error)


@pytest.mark.anyio
async def test_a_server_of_ones_own_is_asked_instead() -> None:
    async with serve_models(simulated_models(), speed=float("inf")) as server:
        tier = Tier("t", model="simulated:sim-large", base_url=f"{server.url}/v1")
        assert (await tier.chat("hi")).model == "sim-large"
        assert len(server.requests) == 1


@pytest.mark.anyio
async def test_an_address_that_is_none() -> None:
    with pytest.raises(ConfigError, match="base_url"):
        await Tier("t", model="simulated:sim-small", base_url="nowhere").chat("hi")


def test_calls_from_many_threads_start_one_server() -> None:
    urls: list[str] = []

    async def ask() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(in_thread)

    async def in_thread() -> None:
        urls.append(await anyio.to_thread.run_sync(_server.url))

    anyio.run(ask)
    assert len(set(urls)) == 1


def test_a_server_that_could_not_start_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_place(*_: object, **__: object) -> None:
        raise OSError("no port is free")

    server = _Server()
    with monkeypatch.context() as patched:
        patched.setattr("cascade.simulated.serve", no_place)
        with pytest.raises(OSError, match="no port"):
            server.url()
    assert server.url().startswith("http://127.0.0.1:")


SCRIPT = """
import anyio
from cascade.tier import Tier

for backend in ("asyncio", "trio"):
    answer = anyio.run(Tier("t", model="simulated:sim-small").chat, "hi", backend=backend)
    print(answer.model)
"""


def test_the_server_ends_with_the_process() -> None:
    assert run_python(SCRIPT) == (0, "sim-small\nsim-small\n", "")
