from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

import anyio
import pytest
from anyio.lowlevel import checkpoint

from cascade.threads import MAX_THREADS, run_in_thread


@pytest.mark.anyio
async def test_work_runs_in_another_thread_and_its_result_comes_back() -> None:
    assert await run_in_thread(threading.get_ident) != threading.get_ident()
    assert [await run_in_thread(lambda n=n: n * 2) for n in range(3)] == [0, 2, 4]  # type: ignore[misc]


@pytest.mark.anyio
@pytest.mark.parametrize("error", [ValueError("x"), KeyError("y")])
async def test_what_it_raises_is_raised_here(error: Exception) -> None:
    def breaks() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await run_in_thread(breaks)
    assert caught.value is error
    for _ in range(2 * MAX_THREADS):  # and its place is free again
        with pytest.raises(type(error)):
            await run_in_thread(breaks)


class Gate:
    """Work that blocks until it is let go."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._lock = threading.Lock()
        self.inside = self.most = self.done = 0

    def work(self) -> None:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self._open.wait(60)
        with self._lock:
            self.inside -= 1
            self.done += 1

    def open(self) -> None:
        self._open.set()


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not holds():
            await checkpoint()


@pytest.mark.anyio
async def test_no_more_threads_than_places_even_with_those_left_behind() -> None:
    gate = Gate()
    try:
        async with anyio.create_task_group() as group:
            for _ in range(MAX_THREADS):
                group.start_soon(run_in_thread, gate.work)
            await until(lambda: gate.inside == MAX_THREADS)
            group.cancel_scope.cancel()
        # All callers are gone; their threads are not, and keep their places.
        assert gate.inside == MAX_THREADS
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(run_in_thread, gate.work)
            for _ in range(20):
                await checkpoint()
            assert gate.most == MAX_THREADS
            gate.open()
        assert gate.most == MAX_THREADS
        await until(lambda: gate.done == MAX_THREADS + 3)
    finally:
        gate.open()


@pytest.mark.anyio
async def test_who_is_cancelled_while_waiting_for_a_place_takes_none() -> None:
    gate = Gate()
    try:
        async with anyio.create_task_group() as group:
            for _ in range(MAX_THREADS):
                group.start_soon(run_in_thread, gate.work)
            await until(lambda: gate.inside == MAX_THREADS)
            ran: list[str] = []
            with anyio.move_on_after(0) as scope:
                await run_in_thread(lambda: ran.append("ran"))
            assert scope.cancelled_caught
            assert ran == []
            gate.open()
        assert await run_in_thread(lambda: "free") == "free"
    finally:
        gate.open()


LEAVES = """
import sys, threading, anyio
from cascade.threads import run_in_thread

started, released = threading.Event(), threading.Event()

def work():
    started.set()
    released.wait()

async def leaves():
    async with anyio.create_task_group() as group:
        group.start_soon(run_in_thread, work)
        while not started.is_set():
            await anyio.sleep(0)
        group.cancel_scope.cancel()

if sys.argv[1] == "stopped":
    import asyncio
    asyncio.new_event_loop().run_until_complete(leaves())  # and is never closed
else:
    anyio.run(leaves, backend=sys.argv[1])
released.set()
print("left")
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio", "stopped"])
def test_a_thread_that_outlives_its_event_loop_ends_in_peace(backend: str) -> None:
    """The interpreter waits for it before it exits, so it must neither hang nor complain."""
    script = [sys.executable, "-c", LEAVES, backend]
    done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "left\n", "")
