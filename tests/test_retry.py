from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import anyio
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from cascade import (
    Answer,
    AuthenticationError,
    BadRequestError,
    BadResponseError,
    CircuitOpenError,
    ConfigError,
    ProviderError,
    RateLimitError,
    Retries,
    ServerError,
)
from cascade.retry import RETRYABLE, persevere


class Tries:
    """Plays steps: what is no error is the answer; every call's time is kept."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.at: list[float] = []

    async def __call__(self) -> Answer[Any]:
        self.at.append(anyio.current_time())
        step = self.steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        return Answer(step)


def timed(
    tries: Tries, first: ProviderError, retries: Retries, deadline_s: float = math.inf
) -> tuple[Any, list[float]]:
    """What it ended in, and when each try was made, on a clock that jumps."""

    async def main() -> tuple[Any, list[float]]:
        started = anyio.current_time()
        try:
            ended: Any = (await persevere(tries, first, retries, started + deadline_s)).value
        except ProviderError as error:
            ended = error
        return ended, [at - started for at in tries.at] + [anyio.current_time() - started]

    result: tuple[Any, list[float]] = trio.run(
        main, clock=trio.testing.MockClock(autojump_threshold=0)
    )
    return result


def test_it_tries_again_until_there_is_an_answer() -> None:
    retries = Retries(5, seed=1)
    ended, at = timed(Tries(ServerError("2"), "fine"), ServerError("1"), retries)
    assert ended == "fine"
    assert 0 < at[0] <= 0.5
    assert at[0] < at[1] <= at[0] + 1.0


def test_the_last_error_is_raised_when_the_retries_are_used_up() -> None:
    last = ServerError("3")
    tries = Tries(ServerError("2"), last, "too late")
    ended, _ = timed(tries, ServerError("1"), Retries(2))
    assert ended is last
    assert tries.steps == ["too late"]


@pytest.mark.parametrize(
    "error", [BadRequestError("x"), AuthenticationError("x"), BadResponseError("x")]
)
def test_what_would_break_again_is_not_tried_again(error: ProviderError) -> None:
    assert not isinstance(error, RETRYABLE)
    tries = Tries(error, "never")
    ended, _ = timed(tries, ServerError("1"), Retries(5))
    assert ended is error
    assert tries.steps == ["never"]


def test_retry_after_is_the_least_wait() -> None:
    asked = RateLimitError("1", retry_after_s=7.0)
    ended, at = timed(Tries("fine"), asked, Retries(1, seed=3))
    assert ended == "fine"
    assert 7.0 < at[0] <= 7.5


@pytest.mark.parametrize(("deadline_s", "tried"), [(6.9, False), (7.6, True)])
def test_a_wait_that_does_not_fit_before_the_deadline_is_not_begun(
    deadline_s: float, tried: bool
) -> None:
    asked = RateLimitError("1", retry_after_s=7.0)
    ended, at = timed(Tries("fine"), asked, Retries(1), deadline_s)
    assert (ended == "fine") is tried
    assert tried or (ended is asked and at == [0.0])  # at once: there is time to escalate


@pytest.mark.parametrize(("retry_after_s", "tried"), [(60.0, True), (60.1, False)])
def test_without_a_deadline_a_long_retry_after_is_not_waited_for(
    retry_after_s: float, tried: bool
) -> None:
    asked = RateLimitError("1", retry_after_s=retry_after_s)
    ended, _ = timed(Tries("fine"), asked, Retries(1))
    assert (ended == "fine") is tried


def test_an_open_circuit_uses_a_retry_up_and_is_not_the_error_told() -> None:
    opened = CircuitOpenError("open", retry_after_s=2.0)
    ended, at = timed(Tries(opened, "fine"), ServerError("1"), Retries(2))
    assert ended == "fine"
    assert at[1] - at[0] > 2.0
    first = ServerError("1")
    ended, _ = timed(Tries(opened, opened), first, Retries(2))
    assert ended is first


@given(st.integers(1, 2000), st.floats(0.001, 10), st.floats(0.001, 100))
def test_a_wait_is_within_its_bounds(retry: int, base_s: float, cap_s: float) -> None:
    retries = Retries(base_s=base_s, cap_s=cap_s, seed=0)
    wait_s = retries.wait_s(retry)
    assert 0 <= wait_s <= min(cap_s, base_s * 2.0 ** min(retry - 1, 60))
    assert retries.wait_s(retry, 5.0) >= 5.0


def test_waits_repeat_with_a_seed_and_differ_without() -> None:
    def waits(**options: Any) -> list[float]:
        retries = Retries(**options)
        return [retries.wait_s(n) for n in range(1, 9)]

    assert waits(seed=7) == waits(seed=7)
    assert waits() != waits()


@pytest.mark.anyio
async def test_a_cancelled_wait_is_left_at_once() -> None:
    waiting = ServerError("1", retry_after_s=50)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(persevere, Tries("never"), waiting, Retries(3), math.inf)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught


def test_tenacity_is_not_loaded_before_something_broke() -> None:
    code = "import cascade, sys; print('tenacity' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"times": -1}, "retries=-1 is not a whole number"),
        ({"times": True}, "retries=True"),
        ({"base_s": 0}, "base_s=0 is not a time"),
        ({"cap_s": math.nan}, "cap_s=nan is not a time"),
    ],
)
def test_options_out_of_their_range_are_refused(options: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Retries(**options)


def test_retries_show_their_options() -> None:
    assert repr(Retries(1)) == "Retries(1, base_s=0.5, cap_s=8.0)"
