"""The trace of a call goes on in the HTTP client and reaches the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from cascade import Answer, Cascade, Path, Price, Tier
from cascade.providers import close_connections
from cascade.simulated import HttpRequest, Reply, Server, serve
from tests.telemetry.support import Sdk, facts, good, id_of, parent_of

KEY = "sk-not-to-be-seen"


@pytest.fixture
def sdk() -> Iterator[Sdk]:
    """Spans of cascade and of httpx, in one SDK."""
    sdk = Sdk()
    httpx = HTTPXClientInstrumentor()
    httpx.instrument(tracer_provider=sdk.tracer_provider, meter_provider=sdk.meter_provider)
    yield sdk
    httpx.uninstrument()


async def answers(request: HttpRequest) -> Reply:
    """Whatever the model is called, but for a judge, which says yes."""
    model = request.json()["model"]
    said = {"bad-model": "bad", "good-model": "good"}.get(model, '{"verdict": "pass"}')
    message = {"role": "assistant", "content": said}
    return Reply(
        body={
            "model": model,
            "choices": [{"message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2},
        }
    )


def tier(name: str, server: Server) -> Tier:
    return Tier(
        name,
        model=f"openai:{name}-model",
        base_url=server.url,
        api_key=KEY,
        price=Price(input=1, output=1),
    )


def traceparents(server: Server) -> dict[str, str | None]:
    """The trace header of each request, by its model."""
    return {r.json()["model"]: r.headers.get("traceparent") for r in server.requests}


def header_of(span: ReadableSpan) -> str:
    """The trace header that names a span as the one a request lies in."""
    assert span.context is not None
    context = span.context
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def clients_of(spans: list[ReadableSpan], attempt: ReadableSpan) -> list[ReadableSpan]:
    """The HTTP client's spans within an attempt."""
    return [s for s in spans if parent_of(s) == id_of(attempt) and s.kind is SpanKind.CLIENT]


@pytest.mark.anyio
async def test_requests_are_part_of_the_attempt_that_made_them(sdk: Sdk) -> None:
    async with serve(answers) as server:
        made = Cascade(
            name="c",
            tiers=[tier("bad", server), tier("good", server)],
            validators=[good],
            observers=[sdk.observer],
        )
        await made.run("?")
        await close_connections()
        spans = sdk.spans()
        attempts = [span for span in spans if span.name.startswith("chat ")]
        assert [facts(span)["gen_ai.response.model"] for span in attempts] == [
            "bad-model",
            "good-model",
        ]
        seen = traceparents(server)
        for attempt in attempts:
            (client,) = clients_of(spans, attempt)
            assert seen[facts(attempt)["gen_ai.request.model"]] == header_of(client)
        assert len({span.context.trace_id for span in spans if span.context}) == 1
    assert KEY not in sdk.everything()


@pytest.mark.anyio
async def test_what_a_judge_asks_is_part_of_the_attempt_it_judges(sdk: Sdk) -> None:
    async with serve(answers) as server:
        made = Cascade(
            tiers=[tier("good", server)],
            validators=[good, asks(tier("judge", server))],
            observers=[sdk.observer],
        )
        await made.run("?")
        await close_connections()
        spans = sdk.spans()
        (attempt,) = [span for span in spans if span.name == "chat good-model"]
        clients = clients_of(spans, attempt)
        seen = traceparents(server)
        assert [seen["good-model"], seen["judge-model"]] == [header_of(span) for span in clients]
        # Its tokens are on the attempt's bill, and not among those of the answer.
        assert facts(attempt)["gen_ai.usage.input_tokens"] == 3
        assert facts(attempt)["cascade.cost_usd"] == 0.00001


@pytest.mark.anyio
async def test_a_hedge_sends_its_request_from_its_own_attempt(sdk: Sdk) -> None:
    async def slow_at_first(request: HttpRequest) -> Reply:
        reply = await answers(request)
        is_slow = request.json()["model"] == "bad-model"
        return Reply(body=reply.body, delay_s=60.0) if is_slow else reply

    async with serve(slow_at_first) as server:
        made = Cascade(
            tiers=[tier("bad", server), tier("good", server)],
            paths={"p": Path(hedge=0.05)},
            observers=[sdk.observer],
        )
        assert (await made.run("?", path="p")).tier == "good"
        await close_connections()
        spans = sdk.spans()
        call = spans[0]
        attempts = [span for span in spans if parent_of(span) == id_of(call)]
        assert [facts(a)["cascade.outcome"] for a in attempts] == ["skipped", "accepted"]
        seen = traceparents(server)
        for attempt in attempts:
            (client,) = clients_of(spans, attempt)
            assert seen[facts(attempt)["gen_ai.request.model"]] == header_of(client)


def asks(judging: Tier) -> Any:
    """A validator that asks a model."""

    async def is_kind(answer: Answer[Any], context: object) -> bool:
        return "pass" in str((await judging.chat("Is it kind?")).text)

    return is_kind
