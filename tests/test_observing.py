from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import (
    Answer,
    Cascade,
    CascadeExhausted,
    ConfigError,
    Context,
    DeadlineExceeded,
    Path,
    Price,
    ProviderError,
    Result,
    Tier,
    Usage,
    cascade,
    tenant,
)
from cascade.observing import NO_LABELS, CallSpan, Labels, Observers, call_id
from cascade.testing import HANG, Scripted
from cascade.types import Attempt


class Notes:
    """A recorder that keeps what it is told."""

    def __init__(self) -> None:
        self.results: list[Result[Any]] = []

    def record(self, result: Result[Any]) -> None:
        self.results.append(result)


def tier(name: str, *steps: Any) -> Tier:
    return Tier(name, call=Scripted(*steps), price=Price(input=1, output=2))


def good(answer: Answer[Any], context: Context) -> bool:
    return answer.text == "good"


@pytest.mark.anyio
async def test_a_recorder_gets_the_result_that_the_caller_gets() -> None:
    notes = Notes()
    made = Cascade(
        tiers=[tier("a", Answer("bad", usage=Usage(1, 2))), tier("b", "good")],
        validators=[good],
        name="c",
        paths={"p": Path()},
        observers=[notes],
    )
    with tenant("acme"):
        result = await made.run("?", path="p", signals={"stakes": "high"}, metadata={"user": 7})
    assert notes.results == [result]
    assert notes.results[0] is result
    assert (result.tenant, result.parent, result.rule, result.policy) == ("acme", None, None, None)
    assert (result.signals, result.metadata) == ({"stakes": "high"}, {"user": 7})
    assert result.started_at > 1.7e9
    assert [attempt.started_s >= 0 for attempt in result.attempts] == [True, True]
    assert all(v.latency_s is not None for a in result.attempts for v in a.verdicts)


@pytest.mark.anyio
async def test_calls_without_an_answer_are_recorded_too() -> None:
    notes = Notes()
    exhausted = Cascade(tiers=[tier("a", "bad")], validators=[good], observers=[notes])
    with pytest.raises(CascadeExhausted):
        await exhausted.run("?")
    late = Cascade(tiers=[tier("a", HANG)], paths={"p": Path(budget_s=0.01)}, observers=[notes])
    with pytest.raises(DeadlineExceeded):
        await late.run("?", path="p")
    assert [(r.accepted, r.reason) for r in notes.results] == [
        (False, "exhausted"),
        (False, "budget"),
    ]


@pytest.mark.anyio
async def test_a_cancelled_call_is_recorded_with_its_bill() -> None:
    notes = Notes()
    asked = anyio.Event()

    async def hangs(request: Any) -> None:
        asked.set()
        await anyio.sleep_forever()

    made = Cascade(tiers=[Tier("a", call=hangs, price=Price(input=1, output=1))], observers=[notes])
    async with anyio.create_task_group() as group:
        group.start_soon(made.run, "?")
        await asked.wait()
        group.cancel_scope.cancel()
    [result] = notes.results
    assert (result.accepted, result.reason) == (False, "cancelled")
    [attempt] = result.attempts
    assert (attempt.outcome, attempt.reason) == ("failed", "cancelled")
    assert [charge.usage for charge in attempt.charges] == [None]


@pytest.mark.anyio
async def test_a_mistake_of_the_program_is_recorded_and_raised() -> None:
    notes = Notes()

    @cascade(tiers=[tier("a", "x")], observers=[notes])
    async def ask(tier: Tier) -> str:
        raise ConfigError("wrong")

    with pytest.raises(ConfigError, match="wrong"):
        await ask()
    assert [(r.reason, r.attempts[0].reason) for r in notes.results] == [("error", "error")]


@pytest.mark.anyio
async def test_a_call_inside_of_a_call_names_the_outer_one() -> None:
    notes = Notes()
    inner = Cascade(tiers=[tier("i", "good")], name="inner", observers=[notes])

    async def by_validator(answer: Answer[Any], context: Context) -> bool:
        return (await inner.run("?")).accepted

    @cascade(tiers=[tier("o", "x")], name="outer", validators=[by_validator], observers=[notes])
    async def outer(tier: Tier) -> str:
        return str((await inner.run("?")).value)

    result = await outer.run()
    assert [r.cascade for r in notes.results] == ["inner", "inner", "outer"]
    assert [r.parent for r in notes.results] == [result.id, result.id, None]


@pytest.mark.anyio
async def test_labels_of_a_function_add_up_and_leave_the_function_alone() -> None:
    notes = Notes()

    @cascade(tiers=[tier("a", "good")], observers=[notes])
    async def ask(tier: Tier, question: str) -> Any:
        return await tier.chat(question)

    marked = ask.given(stakes="low", task="lookup").tagged(user=1).given(stakes="high")
    await marked.tagged(team="x")("?")
    await ask("?")
    assert [(r.signals, r.metadata) for r in notes.results] == [
        ({"stakes": "high", "task": "lookup"}, {"user": 1, "team": "x"}),
        ({}, {}),
    ]
    assert marked != ask


def test_labels_have_to_be_facts() -> None:
    with pytest.raises(ConfigError, match="the signal 'stakes' is a list"):
        Labels({"stakes": ["high"]})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="metadata is a list"):
        Labels(metadata=["x"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert NO_LABELS.more(metadata={"a": 1}) == Labels({}, {"a": 1})


@pytest.mark.anyio
async def test_an_observer_that_breaks_is_logged_and_harms_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken:
        def record(self, result: Result[Any]) -> None:
            raise RuntimeError("secret")

        def call_span(self, cascade: str | None, path: str | None) -> AbstractContextManager[Any]:
            raise RuntimeError("secret")

        @contextmanager
        def attempt_span(self, attempt: Attempt) -> Iterator[None]:
            yield
            raise RuntimeError("secret")

    class BrokenEnd(Broken):
        @contextmanager
        def call_span(self, cascade: str | None, path: str | None) -> Iterator[Any]:
            def end(result: Result[Any]) -> None:
                raise RuntimeError("secret")

            yield end

    notes = Notes()
    made = Cascade(tiers=[tier("a", "x")], observers=[Broken(), BrokenEnd(), notes])
    result = await made.run("?")
    assert notes.results == [result]
    said = Counter(record.getMessage() for record in caplog.records)
    assert said == {
        "observer_failed observer='Broken' error='RuntimeError'": 3,
        "observer_failed observer='BrokenEnd' error='RuntimeError'": 3,
    }
    assert "secret" not in caplog.text


_inside: ContextVar[tuple[str, ...]] = ContextVar("inside", default=())


class Spans:
    """A tracer that marks the code inside of its spans, and notes when they end."""

    def __init__(self) -> None:
        self.ended: list[Any] = []

    @contextmanager
    def call_span(self, cascade: str | None, path: str | None) -> Iterator[CallSpan]:
        token = _inside.set((*_inside.get(), f"call {cascade} {path}"))
        results: list[Result[Any]] = []
        try:
            yield results.append
        finally:
            _inside.reset(token)
            self.ended.append([(r.reason, r.accepted) for r in results])

    @contextmanager
    def attempt_span(self, attempt: Attempt) -> Iterator[None]:
        token = _inside.set((*_inside.get(), f"attempt {attempt.tier}"))
        try:
            yield
        finally:
            _inside.reset(token)
            self.ended.append((attempt.tier, attempt.outcome))


@pytest.mark.anyio
async def test_a_tracer_stands_around_calls_and_attempts() -> None:
    spans = Spans()
    seen: list[tuple[str, ...]] = []

    def looks(answer: Answer[Any], context: Context) -> bool:
        seen.append(_inside.get())
        return answer.text == "b"

    @cascade(
        tiers=[tier("a", "x"), tier("b", "x")],
        validators=[looks],
        name="c",
        observers=[spans],
    )
    async def ask(tier: Tier) -> str:
        seen.append(_inside.get())
        return tier.name

    await ask()
    assert seen == [("call c None", "attempt a")] * 2 + [("call c None", "attempt b")] * 2
    assert spans.ended == [("a", "rejected"), ("b", "accepted"), [("accepted", True)]]
    assert _inside.get() == ()


@pytest.mark.anyio
async def test_a_hedged_attempt_has_a_span_of_its_own() -> None:
    spans = Spans()
    made = Cascade(
        tiers=[tier("a", HANG), tier("b", "x")],
        paths={"p": Path(hedge=0.001)},
        observers=[spans],
    )
    assert (await made.run("?", path="p")).tier == "b"
    # What lost the race ends as cut short; it is called off when the race is over.
    assert sorted(spans.ended[:2]) == [("a", "timed_out"), ("b", "accepted")]
    assert spans.ended[2:] == [[("accepted", True)]]


@pytest.mark.anyio
async def test_a_span_is_told_of_a_call_that_raises() -> None:
    spans = Spans()
    made = Cascade(tiers=[tier("a", ProviderError("x"))], observers=[spans])
    with pytest.raises(CascadeExhausted):
        await made.run("?")
    assert spans.ended == [("a", "failed"), [("exhausted", False)]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([object()], "an observer is object"),
        ([Notes], "an observer is Notes"),
        (Notes(), "put it in a list"),
    ],
)
def test_what_cannot_be_told_is_refused(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Cascade(tiers=[tier("a", "x")], observers=given)


@given(st.integers(1, 200))
def test_every_id_is_another(count: int) -> None:
    assert len({call_id() for _ in range(count)}) == count


def test_a_forked_process_has_ids_of_its_own() -> None:
    script = (
        "import os; from cascade.observing import call_id; "
        "child = os.fork(); os.write(1, f'{call_id()} '.encode()); child and os.waitpid(child, 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    one, other = done.stdout.split()
    assert one.partition("-")[0] != other.partition("-")[0]


def test_no_observers_trace_nothing() -> None:
    assert Observers().is_tracing is False
