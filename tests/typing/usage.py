# pyright: strict
"""What type checkers must know of the public API. Checked by tests/test_typing.py, never run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_type

from cascade import Answer, Cascade, Context, Path, Price, Result, Tier, cascade, validator
from cascade.observing import Recorder, Tracer
from cascade.telemetry import OpenTelemetry, Prometheus
from cascade.validators import finish_reason, length

small = Tier("small", model="openai:gpt-5-nano", price=Price(input=0.05, output="0.40"))
large = Tier("large", call=lambda request: answer_for(str(request)))
listed = Tier("listed", model="openai:gpt-5-nano", price="auto", first_token_s=2.0)


class Notes:
    def record(self, result: Result[Any]) -> None:
        assert_type(result.accepted, bool)


watched = Cascade(tiers=[small], observers=[Notes(), OpenTelemetry(), Prometheus()])
recorder: Recorder = OpenTelemetry()
tracer: Tracer = OpenTelemetry()


async def answer_for(text: str) -> Answer[str]:
    return Answer(text)


@validator("typed", at=0.5, timeout_s=0.2)
def typed(answer: Answer[Any], context: Context) -> float:
    return 0.5


@validator("typed_async", cost="paid")
async def typed_async(answer: Answer[Any], context: Context) -> bool | None:
    return None


@cascade(
    tiers=[small, large],
    validators=[finish_reason(), length(max_chars=9) & typed | ~typed_async, lambda a, c: True],
    paths={"fast": Path(budget_s=0.3, direct="small")},
)
async def plain(tier: Tier, ticket: str, *, urgent: bool = False) -> int:
    return 1


@cascade(tiers=[small])
async def bare(tier: Tier, ticket: str) -> Answer:
    return await tier.chat([{"role": "user", "content": ticket}], temperature=0)


@cascade(tiers=[small])
async def exact(tier: Tier, ticket: str) -> Answer[dict[str, int]]:
    return Answer({"a": 1})


class Desk:
    @cascade(tiers=[small])
    async def triage(self, tier: Tier, ticket: str, limit: int = 3) -> str:
        return ticket

    @cascade(tiers=[small])
    async def answer(self, tier: Tier, ticket: str) -> Answer[float]:
        return Answer(1.0)


async def check() -> None:
    assert_type(await plain("x", urgent=True), int)
    assert_type(await plain.run("x"), Result[int])
    assert_type(await plain.on("fast")("x"), int)
    assert_type(await plain.tagged(user=7).given(stakes="high")("x", urgent=True), int)
    assert_type(
        (await bare.given(task="lookup").tagged(team="x").run("x")).metadata, Mapping[str, Any]
    )
    assert_type(await Desk().triage.tagged(user=7).given(vip=True)("x", limit=2), str)
    told = await watched.run("x", signals={"stakes": "high", "seen": None}, metadata={"user": 7})
    assert_type(told, Result[Any])
    assert_type(await bare("x"), Any)
    assert_type(await exact("x"), dict[str, int])
    assert_type((await exact.run("x")).value, dict[str, int])
    assert_type(await Desk().triage("x", limit=2), str)
    assert_type((await Desk().triage.on("fast").run("x")).value, str)
    assert_type(await Desk().answer("x"), float)
    assert_type(await Desk.triage(Desk(), "x", limit=2), str)
    assert_type(plain.cascade, Cascade)
    assert_type(await Cascade(tiers=[small]).run("x", path="fast"), Result[Any])


async def mistakes() -> None:
    await plain(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await plain("x", hurry=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await plain("x", "y", "z")  # type: ignore[call-arg,arg-type]  # pyright: ignore[reportCallIssue]
    await Desk.triage("x")  # type: ignore[arg-type,call-arg]  # pyright: ignore[reportCallIssue]
    await Desk().triage(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await plain.given(stakes=["high"])("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await plain.tagged("x")  # type: ignore[call-arg,misc]  # pyright: ignore[reportCallIssue]
    Tier("x", price="auto?")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Cascade(tiers=[small], observers=[small])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    Path(budget=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Cascade(tiers=["small"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
