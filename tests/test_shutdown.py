"""Draining: no new calls, those in flight end or are ended, every bill on record."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from cascade import Answer, Cascade, CascadeClosed, ConfigError, Price, Request, Tier, Usage
from cascade.testing import Scripted

pytestmark = pytest.mark.anyio

USD = Price(input=1, output=1)


class Slow:
    """Answers when told to."""

    def __init__(self) -> None:
        self.started = anyio.Event()
        self.release = anyio.Event()

    async def __call__(self, request: Request) -> Answer[str]:
        self.started.set()
        await self.release.wait()
        return Answer("late", usage=Usage(1, 1))


async def test_calls_in_flight_end_before_the_lifespan_does() -> None:
    slow = Slow()
    cascade = Cascade(tiers=[Tier("a", call=slow, price=USD)])
    answers: list[Any] = []

    async def call() -> None:
        answers.append((await cascade.run("?")).value)

    async def release() -> None:
        await slow.started.wait()
        await anyio.lowlevel.checkpoint()
        slow.release.set()

    async with anyio.create_task_group() as group:
        async with cascade.lifespan():
            group.start_soon(call)
            await slow.started.wait()
            group.start_soon(release)
        assert answers == ["late"]


async def test_calls_that_take_too_long_are_ended_with_their_bill() -> None:
    slow = Slow()
    cascade = Cascade(tiers=[Tier("a", call=slow, price=USD), Tier("b", call=slow)])
    errors: list[CascadeClosed] = []

    async def call() -> None:
        try:
            await cascade.run("?")
        except CascadeClosed as error:
            errors.append(error)

    async with anyio.create_task_group() as group:
        async with cascade.lifespan(drain_s=0.01):
            group.start_soon(call)
            await slow.started.wait()
        assert len(errors) == 1  # the lifespan ended only after the call had
    (error,) = errors
    assert "was shut down during the call" in str(error)
    assert [(a.outcome, a.reason) for a in error.attempts] == [
        ("timed_out", "shutdown"),
        ("skipped", "shutdown"),
    ]
    assert len(error.attempts[0].charges) == 1
    assert error.cost_usd is None  # unknown, for it was cut short


async def test_no_new_calls_after_the_end_until_it_is_opened_again() -> None:
    cascade = Cascade(tiers=[Tier("a", call=Scripted("yes"))])
    async with cascade.lifespan():
        assert (await cascade.run("?")).value == "yes"
    with pytest.raises(CascadeClosed, match="takes no new calls"):
        await cascade.run("?")
    async with cascade.lifespan() as again:
        assert again is cascade
        assert (await cascade.run("?")).value == "yes"


async def test_an_empty_cascade_drains_at_once() -> None:
    cascade = Cascade(tiers=[Tier("a", call=Scripted("yes"))])
    async with cascade.lifespan(drain_s=1000):
        pass
    with pytest.raises(ConfigError, match="drain_s=-1 is not a time"):
        async with cascade.lifespan(drain_s=-1):
            pass
