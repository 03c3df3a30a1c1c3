from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cascade.simulated import Drip, HttpRequest, Reply, script
from cascade.simulated.http import Outcome, encode_body

REQUEST = HttpRequest("POST", "/v1/x", "", {}, b'{"a": 1}')


async def numbered(request: HttpRequest) -> Outcome:
    return Reply(body={"path": request.path})


@pytest.mark.anyio
async def test_a_script_plays_its_steps_in_order_then_falls_back() -> None:
    first, last = Reply(201), Reply(202)
    handler = script(first, numbered, then=last)
    played = [await handler(REQUEST) for _ in range(4)]
    assert played == [first, Reply(body={"path": "/v1/x"}), last, last]


@pytest.mark.anyio
async def test_a_script_falls_back_to_a_handler() -> None:
    handler = script(then=numbered)
    assert await handler(REQUEST) == Reply(body={"path": "/v1/x"})


@pytest.mark.anyio
async def test_a_script_past_its_end_says_so() -> None:
    outcome = await script()(REQUEST)
    assert isinstance(outcome, Reply)
    assert outcome.status == 500
    assert "no more steps" in outcome.body["error"]["message"]


def test_bytes_are_sent_as_they_are_and_values_as_json() -> None:
    assert encode_body(b"{broken") == b"{broken"
    assert encode_body({"a": [1, None]}) == b'{"a":[1,null]}'


def test_a_lone_surrogate_can_be_sent() -> None:
    assert encode_body("\ud800") == rb'"\ud800"'


def test_a_request_body_parses_as_json() -> None:
    assert REQUEST.json() == {"a": 1}
    with pytest.raises(ValueError, match="Expecting"):
        HttpRequest("GET", "/", "", {}, b"").json()


def test_keys_and_prompts_stay_out_of_the_repr() -> None:
    request = HttpRequest("GET", "/", "", {"authorization": "Bearer secret"}, b"prompt")
    assert "secret" not in repr(request)
    assert "prompt" not in repr(request)


def test_options_that_would_have_no_effect_are_errors() -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b""

    with pytest.raises(ValueError, match="not both"):
        Reply(body={"a": 1}, stream=stream())
    with pytest.raises(ValueError, match="at least 1"):
        Drip(b"", chunk=0)
