"""Spans and metrics of calls, asserted one by one on the SDK's own in-memory exporters."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from cascade import (
    Answer,
    Breaker,
    Cascade,
    CascadeExhausted,
    ConfigError,
    Context,
    DeadlineExceeded,
    Limits,
    Path,
    ProviderError,
    Result,
    Tier,
    Usage,
    Verdict,
    cascade,
    tenant,
    validator,
)
from cascade.telemetry import OpenTelemetry
from cascade.telemetry.conventions import SCHEMA_URL
from cascade.telemetry.measures import METRICS
from cascade.testing import HANG
from tests.telemetry.support import USD, Sdk, facts, good, id_of, parent_of, scripted

USAGE = Usage(100, 10, cached_input_tokens=40, cache_write_tokens=5, reasoning_tokens=3)


@validator("graded", at=0.5)
def graded(answer: Answer[Any], context: Context) -> Verdict:
    return Verdict.scored(0.9 if answer.text == "good" else 0.2, feedback="secret feedback")


@pytest.mark.anyio
async def test_a_trace_span_by_span() -> None:
    sdk = Sdk()

    @cascade(
        name="support",
        tiers=[
            Tier("small", model="openai:gpt-5-nano", price=USD),
            Tier("large", model="anthropic:claude-sonnet-4", price=USD),
        ],
        validators=[graded],
        paths={"chat": Path(budget_s=9.0)},
        observers=[sdk.observer],
    )
    async def ask(tier: Tier, question: str) -> Answer[str]:
        text = "good" if tier.name == "large" else "bad"
        return Answer(text, model=f"{tier.name}-2026", finish_reason="stop", usage=USAGE)

    with tenant("acme"):
        result = await ask.on("chat").run("secret question")
    call, small, large = sdk.spans()
    assert call.name == "cascade support"
    assert call.kind is SpanKind.INTERNAL
    assert parent_of(call) is None
    assert call.status.status_code is StatusCode.UNSET
    assert facts(call) == {
        "cascade.name": "support",
        "cascade.path": "chat",
        "cascade.call.id": result.id,
        "cascade.plan": ("small", "large"),
        "cascade.accepted": True,
        "cascade.reason": "accepted",
        "cascade.tier": "large",
        "cascade.escalations": 1,
        "cascade.budget_s": 9.0,
        "cascade.cost_usd": 0.00024,
        "cascade.tenant": "acme",
    }
    assert call.events == ()
    assert (small.name, large.name) == ("chat gpt-5-nano", "chat claude-sonnet-4")
    assert {small.kind, large.kind} == {SpanKind.CLIENT}
    assert {parent_of(small), parent_of(large)} == {id_of(call)}
    assert {small.status.status_code, large.status.status_code} == {StatusCode.UNSET}
    assert facts(small) == {
        "cascade.tier": "small",
        "cascade.ask": 0,
        "cascade.outcome": "rejected",
        "cascade.reason": "graded:below_threshold",
        "cascade.queue_s": 0.0,
        "cascade.cost_usd": 0.00012,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5-nano",
        "gen_ai.response.model": "small-2026",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 10,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "gen_ai.usage.cache_creation.input_tokens": 5,
        "gen_ai.usage.reasoning.output_tokens": 3,
    }
    assert facts(large)["gen_ai.provider.name"] == "anthropic"
    assert facts(large)["cascade.outcome"] == "accepted"
    assert "cascade.reason" not in facts(large)
    verdicts = [
        (span.events[0].name, dict(span.events[0].attributes or {})) for span in (small, large)
    ]
    for _, said in verdicts:
        assert said.pop("cascade.latency_s", 0) > 0  # type: ignore[operator]
    graded_as = {"gen_ai.evaluation.name": "graded", "cascade.threshold": 0.5}
    low = {"gen_ai.evaluation.score.label": "failed", "gen_ai.evaluation.score.value": 0.2}
    high = {"gen_ai.evaluation.score.label": "passed", "gen_ai.evaluation.score.value": 0.9}
    assert verdicts == [
        ("gen_ai.evaluation.result", {**graded_as, **low, "cascade.reason": "below_threshold"}),
        ("gen_ai.evaluation.result", {**graded_as, **high}),
    ]
    for span in (call, small, large):
        assert span.instrumentation_scope is not None
        scope = span.instrumentation_scope
        assert (scope.name, scope.version) == ("cascade", version("cascade-engine"))
        assert scope.schema_url == SCHEMA_URL
    assert "secret" not in sdk.everything()


@pytest.mark.anyio
async def test_spans_end_when_what_they_stand_for_ended() -> None:
    sdk = Sdk()
    made = Cascade(
        tiers=[scripted("a", "x")], validators=[good], observers=[sdk.observer], on_exhausted="best"
    )
    await made.run("?")
    call, attempt = sdk.spans()
    times = [call.start_time, attempt.start_time, attempt.end_time, call.end_time]
    assert times == sorted(time for time in times if time is not None)
    (verdict,) = attempt.events
    assert verdict.timestamp == attempt.end_time


@pytest.mark.anyio
async def test_a_tier_without_a_model_is_no_client_of_one() -> None:
    sdk = Sdk()
    made = Cascade(tiers=[scripted("rules", "good")], observers=[sdk.observer])
    await made.run("?")
    call, attempt = sdk.spans()
    assert (call.name, attempt.name) == ("cascade", "chat rules")
    assert attempt.kind is SpanKind.INTERNAL
    assert not any(name.startswith("gen_ai") for name in facts(attempt))


@pytest.mark.anyio
async def test_a_model_for_an_sdk_is_named_without_a_provider() -> None:
    sdk = Sdk()

    @cascade(tiers=[Tier("a", model="gpt-5-nano", price=USD)], observers=[sdk.observer])
    async def ask(tier: Tier) -> str:
        return "x"

    await ask()
    _, attempt = sdk.spans()
    assert attempt.name == "chat gpt-5-nano"
    assert attempt.kind is SpanKind.CLIENT
    assert facts(attempt)["gen_ai.request.model"] == "gpt-5-nano"
    assert "gen_ai.provider.name" not in facts(attempt)
    assert "gen_ai.usage.input_tokens" not in facts(attempt)  # unknown is not 0
    assert "cascade.cost_usd" not in facts(attempt)


@pytest.mark.anyio
async def test_what_broke_is_an_error_and_a_rejection_is_none() -> None:
    sdk = Sdk()
    made = Cascade(
        tiers=[
            scripted("a", ProviderError("secret")),
            scripted("b", TimeoutError("secret")),
            scripted("c", "bad"),
        ],
        validators=[good],
        observers=[sdk.observer],
    )
    with pytest.raises(CascadeExhausted):
        await made.run("?")
    told = [
        (span.status.status_code, span.status.description, facts(span).get("error.type"))
        for span in sdk.spans()
    ]
    assert told == [
        (StatusCode.ERROR, None, "exhausted"),
        (StatusCode.ERROR, None, "ProviderError"),
        (StatusCode.ERROR, None, "TimeoutError"),
        (StatusCode.UNSET, None, None),
    ]
    assert all(event.name != "exception" for span in sdk.spans() for event in span.events)
    assert "secret" not in sdk.everything()


@pytest.mark.anyio
async def test_a_mistake_of_the_program_passes_through_without_its_words() -> None:
    sdk = Sdk()

    @cascade(tiers=[scripted("a", "x")], observers=[sdk.observer])
    async def ask(tier: Tier) -> str:
        raise ConfigError("secret")

    with pytest.raises(ConfigError, match="secret"):
        await ask()
    told = [(span.status.description, facts(span)["error.type"]) for span in sdk.spans()]
    assert told == [(None, "error"), (None, "error")]
    assert [span.events for span in sdk.spans()] == [(), ()]
    assert "secret" not in sdk.everything()


@pytest.mark.anyio
async def test_rungs_that_were_never_asked_are_events_of_the_call() -> None:
    sdk = Sdk()
    made = Cascade(
        tiers=[scripted("a", HANG), scripted("b", "x")],
        paths={"p": Path(budget_s=0.01)},
        observers=[sdk.observer],
    )
    with pytest.raises(DeadlineExceeded):
        await made.run("?", path="p")
    call, attempt = sdk.spans()
    assert facts(call)["error.type"] == "budget"
    assert (facts(attempt)["cascade.outcome"], facts(attempt)["error.type"]) == (
        "timed_out",
        "budget",
    )
    assert [(event.name, dict(event.attributes or {})) for event in call.events] == [
        ("cascade.skipped", {"cascade.tier": "b", "cascade.reason": "budget"})
    ]


@pytest.mark.anyio
async def test_a_cancelled_call_has_whole_spans() -> None:
    sdk = Sdk()
    asked = anyio.Event()

    async def hangs(request: Any) -> None:
        asked.set()
        await anyio.sleep_forever()

    made = Cascade(tiers=[Tier("a", call=hangs)], observers=[sdk.observer])
    async with anyio.create_task_group() as group:
        group.start_soon(made.run, "?")
        await asked.wait()
        group.cancel_scope.cancel()
    assert [facts(span)["error.type"] for span in sdk.spans()] == ["cancelled", "cancelled"]


@pytest.mark.anyio
async def test_a_hedge_and_what_it_beat_are_siblings_that_tell_how_the_race_ended() -> None:
    sdk = Sdk()
    made = Cascade(
        tiers=[scripted("a", HANG), scripted("b", "x")],
        paths={"p": Path(hedge=0.001)},
        observers=[sdk.observer],
    )
    assert (await made.run("?", path="p")).tier == "b"
    call, one, other = sdk.spans()
    assert (parent_of(one), parent_of(other)) == (id_of(call), id_of(call))
    assert [(facts(s)["cascade.tier"], facts(s)["cascade.outcome"]) for s in (one, other)] == [
        ("a", "skipped"),
        ("b", "accepted"),
    ]
    assert facts(one)["cascade.reason"] == "hedge"
    assert one.status.status_code is StatusCode.UNSET
    assert call.events == ()  # the hedge was asked, and has its span


@pytest.mark.anyio
async def test_of_two_accepted_at_once_one_span_says_so() -> None:
    sdk = Sdk()
    both = anyio.Event()
    asked: list[str] = []

    @cascade(
        tiers=[scripted("a", "x"), scripted("b", "x")],
        paths={"p": Path(hedge=0.001)},
        observers=[sdk.observer],
    )
    async def ask(tier: Tier) -> str:
        asked.append(tier.name)
        if len(asked) == 2:
            both.set()
        await both.wait()
        return tier.name

    result = await ask.on("p").run()
    outcomes = {a.tier: a.outcome for a in result.attempts}
    spans = {facts(s)["cascade.tier"]: facts(s)["cascade.outcome"] for s in sdk.spans()[1:]}
    assert spans == outcomes
    assert sorted(spans.values()) == ["accepted", "skipped"]


@pytest.mark.anyio
async def test_code_of_the_users_and_calls_inside_of_calls_lie_within_the_attempt() -> None:
    sdk = Sdk()
    tracer = sdk.tracer_provider.get_tracer("mine")
    judges = Cascade(tiers=[scripted("judge", "yes")], name="judges", observers=[sdk.observer])

    async def judged(answer: Answer[Any], context: Context) -> bool:
        return (await judges.run("?")).accepted

    @cascade(
        tiers=[scripted("a", "x")], name="outer", validators=[judged], observers=[sdk.observer]
    )
    async def ask(tier: Tier) -> str:
        with tracer.start_as_current_span("mine"):
            await anyio.lowlevel.checkpoint()
        return "x"

    await ask()
    outer, attempt, mine, inner, judge = sdk.spans()
    assert [s.name for s in (outer, mine, inner)] == ["cascade outer", "mine", "cascade judges"]
    assert (parent_of(mine), parent_of(inner)) == (id_of(attempt), id_of(attempt))
    assert parent_of(judge) == id_of(inner)
    assert facts(inner)["cascade.call.parent"] == facts(outer)["cascade.call.id"]
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.anyio
async def test_a_call_lies_within_the_span_it_is_made_in() -> None:
    sdk = Sdk()
    made = Cascade(tiers=[scripted("a", "x")], observers=[sdk.observer])
    with sdk.tracer_provider.get_tracer("host").start_as_current_span("request") as request:
        await made.run("?")
    assert parent_of(sdk.spans()[1]) == request.get_span_context().span_id


@pytest.mark.anyio
async def test_what_is_not_sampled_is_measured_all_the_same() -> None:
    sdk = Sdk(ALWAYS_OFF)
    await Cascade(tiers=[scripted("a", "x")], observers=[sdk.observer], name="c").run("?")
    assert sdk.spans() == []
    assert sdk.values("cascade.requests") == {("c", "none", "a", "accepted", "false"): 1}


@pytest.mark.anyio
async def test_the_metrics_of_calls() -> None:
    class Lossy:
        lost = 7

    sdk = Sdk(ledgers=[Lossy()])
    answer = Answer("good", usage=Usage(100, 10))
    tiers = [
        scripted("small", "bad", limits=Limits(concurrency=1)),
        scripted("large", answer, breaker=Breaker()),
    ]
    made = Cascade(
        name="c",
        tiers=tiers,
        validators=[good],
        paths={"p": Path(budget_s=9.0)},
        observers=[sdk.observer],
    )
    for _ in range(3):
        await made.run("?", path="p")
    told = {metric.name for metric in METRICS if ".audit." not in metric.name}  # nothing is audited
    assert {name for name, _, _ in sdk.points()} == told
    for name, labels, _ in sdk.points():
        (metric,) = [metric for metric in METRICS if metric.name == name]
        assert tuple(labels) == metric.labels
    assert sdk.values("cascade.requests") == {("c", "p", "large", "accepted", "false"): 3}
    assert sdk.values("cascade.escalations") == {("c", "p", "small", "large", "good"): 3}
    assert sdk.values("cascade.duration") == {("c", "p", "true", "true"): 3}
    assert sdk.values("cascade.attempt.duration") == {
        ("c", "small", "rejected"): 3,
        ("c", "large", "accepted"): 3,
    }
    assert sdk.values("cascade.validator.duration") == {("good",): 6}
    assert sdk.values("cascade.cost") == {
        ("c", "p", "large", "answer", "false"): pytest.approx(0.00036)
    }
    assert sdk.values("cascade.cost.unknown") == {("c", "p", "small", "answer", "false"): 3}
    assert sdk.values("cascade.tokens") == {
        ("large", "input", "false"): 300,
        ("large", "output", "false"): 30,
    }
    assert sdk.values("cascade.breaker.state")[("large", "large-1")] == 0
    assert sdk.values("cascade.queue.depth")[("small",)] == 0
    assert sdk.values("cascade.ledger.lost") == {(): 7}


@pytest.mark.anyio
async def test_without_an_sdk_nothing_happens() -> None:
    made = Cascade(tiers=[scripted("a", "x")], observers=[OpenTelemetry()])
    assert (await made.run("?")).accepted


@pytest.mark.anyio
async def test_an_attempt_without_its_call_is_a_span_all_the_same() -> None:
    sdk = Sdk()
    attempts: list[Any] = []

    class Keeps:
        def record(self, result: Result[Any]) -> None:
            attempts.extend(result.attempts)

    await Cascade(tiers=[scripted("a", "x")], observers=[Keeps()]).run("?")
    with sdk.observer.attempt_span(attempts[0]):
        pass
    assert [facts(span)["cascade.outcome"] for span in sdk.spans()] == ["accepted"]


def test_it_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from cascade.errors import ConfigError\n"
        "from cascade.telemetry import OpenTelemetry\n"
        "try: OpenTelemetry()\n"
        "except ConfigError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert 'pip install "cascade-engine[otel]"' in done.stdout


def test_it_is_loaded_only_when_it_is_made() -> None:
    script = (
        "import sys, cascade.telemetry\n"
        "print(sorted({'opentelemetry', 'prometheus_client'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_it_is_an_observer() -> None:
    with pytest.raises(ConfigError, match="put it in a list"):
        Cascade(tiers=[scripted("a", "x")], observers=OpenTelemetry())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
