from __future__ import annotations

import gc
from typing import Any

import anyio
import pytest

from cascade import Breaker, Deployment, Limits, ProviderError, Tier
from cascade.live import LaneState, QueueDepth, lane_states, queue_depths
from cascade.testing import HANG, Scripted


def of(name: str, found: list[Any]) -> list[Any]:
    """Those of one tier: tiers of other tests may still be alive."""
    return [one for one in found if one.tier == name]


@pytest.mark.anyio
async def test_a_circuit_is_told_from_the_first_request_on_until_its_tier_is_gone() -> None:
    now = 0.0

    def clock() -> float:
        return now

    breaker = Breaker(consecutive=1, open_s=5.0, clock=clock)
    deployments = [
        Deployment("near", call=Scripted(ProviderError("x"), HANG)),
        Deployment("far", call=Scripted("x")),
    ]
    tier = Tier("live", deployments=deployments, breaker=breaker)
    assert of("live", lane_states()) == []
    await tier.chat("?")
    near, far = of("live", lane_states())
    assert near == LaneState("live", "near", "open")
    assert far == LaneState("live", "far", "closed")
    now = 5.0
    assert of("live", lane_states())[0].state == "half_open"  # it is time for a probe
    async with anyio.create_task_group() as group:
        group.start_soon(tier.chat, "?")
        await anyio.wait_all_tasks_blocked()
        assert of("live", lane_states())[0].state == "half_open"  # the probe is on its way
        group.cancel_scope.cancel()
    del tier, deployments  # what raised holds the frames it passed
    gc.collect()
    assert of("live", lane_states()) == []


@pytest.mark.anyio
async def test_a_queue_is_told_for_tiers_with_limits() -> None:
    free = Tier("free", call=Scripted("x"))
    await free.chat("?")
    assert of("free", queue_depths()) == []
    narrow = Tier("narrow", call=Scripted(HANG), limits=Limits(concurrency=1))
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(narrow.chat, "?")
        await anyio.wait_all_tasks_blocked()
        assert of("narrow", queue_depths()) == [QueueDepth("narrow", 2)]
        group.cancel_scope.cancel()
    assert of("narrow", queue_depths()) == [QueueDepth("narrow", 0)]


def test_what_waits_in_several_event_loops_is_added_up() -> None:
    narrow = Tier("wide", call=Scripted(HANG), limits=Limits(concurrency=1))
    seen: list[int] = []

    async def two_wait(further: Any) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(narrow.chat, "?")
            await anyio.wait_all_tasks_blocked()
            await further()
            group.cancel_scope.cancel()

    async def look() -> None:
        seen.extend(one.waiting for one in of("wide", queue_depths()))

    async def in_another_loop() -> None:
        await anyio.to_thread.run_sync(lambda: anyio.run(two_wait, look, backend="trio"))

    anyio.run(two_wait, in_another_loop)
    assert seen == [2]
