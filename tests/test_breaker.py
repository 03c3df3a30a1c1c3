from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import Breaker, ConfigError
from cascade.breaker import Circuit


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def circuit(**options: Any) -> tuple[Circuit, Clock]:
    clock = Clock()
    return Circuit("d", Breaker(**{"clock": clock, **options})), clock


def permit(of: Circuit) -> int:
    given = of.admit()
    assert given is not None
    return given


def is_blocked(of: Circuit) -> bool:
    return of.blocked


def fail(of: Circuit, times: int, retry_after_s: float | None = None) -> None:
    for _ in range(times):
        of.failed(permit(of), retry_after_s)


def succeed(of: Circuit, times: int = 1) -> None:
    for _ in range(times):
        of.succeeded(permit(of), 0.0)


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not() -> None:
    broken, _ = circuit(consecutive=3)
    fail(broken, 2)
    succeed(broken)
    fail(broken, 2)
    assert not is_blocked(broken)
    fail(broken, 1)
    assert is_blocked(broken)
    assert broken.admit() is None
    assert broken.retry_after_s == 10


def test_a_share_of_failures_opens_it_once_there_are_enough_calls() -> None:
    broken, _ = circuit(consecutive=None)
    fail(broken, 5)
    succeed(broken, 4)
    assert not is_blocked(broken)  # 5 of 9: too few to tell
    fail(broken, 1)
    assert is_blocked(broken)  # 6 of 10
    healthy, _ = circuit(consecutive=None)
    succeed(healthy, 6)
    fail(healthy, 5)
    assert not is_blocked(healthy)  # 5 of 11


def test_old_failures_are_forgotten() -> None:
    broken, clock = circuit(consecutive=None, min_calls=4)
    fail(broken, 3)
    clock.now += 31
    fail(broken, 1)
    assert not is_blocked(broken)
    clock.now += 20
    fail(broken, 3)
    assert is_blocked(broken)


def test_one_probe_finds_out_whether_the_endpoint_is_back() -> None:
    broken, clock = circuit(consecutive=1)
    fail(broken, 1)
    clock.now += 9.99
    assert broken.admit() is None
    clock.now += 0.01
    probe = permit(broken)
    assert [broken.admit() for _ in range(3)] == [None] * 3
    assert (broken.blocked, broken.retry_after_s) == (True, None)
    broken.succeeded(probe, 0.0)
    assert broken.closed
    assert permit(broken) == permit(broken)


def test_a_probe_that_fails_opens_it_again_for_as_long() -> None:
    broken, clock = circuit(consecutive=1)
    fail(broken, 1)
    clock.now += 10
    fail(broken, 1)
    assert broken.retry_after_s == 10
    clock.now += 10
    fail(broken, 1, retry_after_s=25)
    assert broken.retry_after_s == 25


def test_a_cancelled_probe_is_no_judgement_and_the_next_one_may_go() -> None:
    broken, clock = circuit(consecutive=1)
    fail(broken, 1)
    clock.now += 10
    broken.cancelled(permit(broken), 3.0)
    assert not broken.closed
    succeed(broken)
    assert broken.closed


def test_exactly_one_of_many_threads_gets_the_probe() -> None:
    broken, clock = circuit(consecutive=1)
    fail(broken, 1)
    clock.now += 10
    start = threading.Barrier(16)
    permits: list[int | None] = []

    def ask() -> None:
        start.wait()
        permits.append(broken.admit())

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([one for one in permits if one is not None]) == 1


def test_retry_after_opens_it_for_that_long() -> None:
    broken, clock = circuit()
    fail(broken, 1, retry_after_s=2.5)
    assert broken.retry_after_s == 2.5
    clock.now += 2.5
    succeed(broken)
    assert broken.closed
    late, clock = circuit(consecutive=1)
    one, other = permit(late), permit(late)
    late.failed(one)
    late.failed(other, retry_after_s=60)  # of an earlier era, and true all the same
    assert late.retry_after_s == 60


def test_what_an_earlier_era_tells_is_old_news() -> None:
    broken, clock = circuit(consecutive=2)
    old = [permit(broken) for _ in range(8)]
    for one in old[:2]:
        broken.failed(one)
    broken.succeeded(old[2], 0.0)  # began before it opened
    assert is_blocked(broken)
    clock.now += 10
    probe = permit(broken)
    broken.cancelled(old[3], 0.0)
    assert broken.admit() is None  # the probe is still on its way
    broken.succeeded(probe, 0.0)
    for one in old[4:]:
        broken.failed(one)
    assert broken.closed


@pytest.mark.parametrize("end", ["succeeded", "cancelled"])
def test_a_slow_call_counts_as_failed(end: str) -> None:
    broken, _ = circuit(consecutive=2, slow_s=1.0)
    for took_s, blocked in ((0.9, False), (1.0, False), (1.5, True)):
        getattr(broken, end)(permit(broken), took_s)
        assert broken.blocked is blocked
    unhurried, _ = circuit(consecutive=1)
    getattr(unhurried, end)(permit(unhurried), 1e9)
    assert unhurried.closed


@given(st.lists(st.tuples(st.sampled_from("sfchw"), st.floats(0, 20)), max_size=80))
def test_half_open_never_lets_two_through(steps: list[tuple[str, float]]) -> None:
    broken, clock = circuit(consecutive=2, min_calls=3)
    out: list[int] = []
    for step, time_s in steps:
        clock.now += time_s
        was_closed = broken.closed
        if step == "w":
            given = broken.admit()
            if given is not None:
                assert was_closed or broken.admit() is None
                out.append(given)
        elif out:
            if step == "f":
                broken.failed(out.pop())
            elif step == "h":
                broken.cut_short(out.pop(), 1.0)
            else:
                (broken.succeeded if step == "s" else broken.cancelled)(out.pop(), 0.0)
        assert broken.closed or broken.blocked or broken.retry_after_s == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"failure_rate": 0}, "failure_rate=0 would open at the first success"),
        ({"failure_rate": 2}, "failure_rate is 2"),
        ({"min_calls": 0}, "min_calls=0"),
        ({"consecutive": 0}, "consecutive=0"),
        ({"open_s": None}, "open_s=None is not a time"),
        ({"window_s": 0}, "window_s=0 is not a time"),
        ({"slow_s": -1}, "slow_s=-1 is not a time"),
        ({"opens": 1}, "no option 'opens'; did you mean 'open_s'"),
    ],
)
def test_options_out_of_their_range_are_refused(options: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Breaker(**options)


def test_a_breaker_shows_its_options() -> None:
    assert "open_s=3" in repr(Breaker(open_s=3))


def cut(of: Circuit, times: int, took_s: float) -> None:
    for _ in range(times):
        of.cut_short(permit(of), took_s)


def test_calls_that_hang_open_it_once_there_are_enough_in_a_row() -> None:
    hung, _ = circuit(min_calls=4)
    cut(hung, 3, 5.5)
    hung.succeeded(permit(hung), 2.0)  # an answer between them: it is not dead
    cut(hung, 3, 5.5)
    fail(hung, 1)  # no answer, and no silence either
    assert hung.closed
    cut(hung, 1, 5.5)
    assert hung.retry_after_s == 10


@pytest.mark.parametrize(
    ("facts", "hangs_s"),
    [
        ({}, 5.0),
        ({"latency_s": 0.5}, 2.0),
        ({"latency_s": 0.5, "timeout_s": 1.0}, 1.0),
        ({"timeout_s": 0.01}, 0.01),
    ],
)
def test_how_long_is_hanging_before_there_was_an_answer(
    facts: dict[str, float], hangs_s: float
) -> None:
    of = Circuit("d", Breaker(min_calls=1), **facts)
    cut(of, 100, hangs_s * 0.99)
    assert not of.blocked
    cut(of, 1, hangs_s)
    assert of.blocked


def test_a_tight_budget_opens_no_circuit_of_a_healthy_endpoint() -> None:
    """Of its calls a fifth makes 100 ms; what is known of it are those alone."""
    healthy, _ = circuit(min_calls=3)
    for _ in range(200):
        healthy.succeeded(permit(healthy), 0.08)
        cut(healthy, 9, 0.1)
    assert healthy.closed


def test_a_call_cut_short_before_the_usual_time_of_an_answer_says_nothing() -> None:
    unhurried, _ = circuit(min_calls=3)
    for took_s in (0.8, 1.0, 1.2) * 50:
        unhurried.succeeded(permit(unhurried), took_s)
    cut(unhurried, 100, 2.0)
    assert unhurried.closed
    cut(unhurried, 2, 3.5)
    assert unhurried.closed
    cut(unhurried, 1, 3.5)
    assert unhurried.blocked


def test_what_the_caller_gave_up_is_no_call_that_hangs() -> None:
    left_alone, _ = circuit(min_calls=1, consecutive=1)
    for _ in range(100):
        left_alone.cancelled(permit(left_alone), 60.0)
    assert left_alone.closed


def test_a_probe_that_hangs_leaves_it_open() -> None:
    broken, clock = circuit(consecutive=1, min_calls=50)
    succeed(broken)
    broken.succeeded(permit(broken), 1.0)
    fail(broken, 1)
    clock.now += 10
    cut(broken, 1, 0.1)  # too short a time to tell
    assert broken.retry_after_s == 0
    cut(broken, 1, 3.0)
    assert broken.retry_after_s == 10
    clock.now += 10
    succeed(broken)
    cut(broken, 49, 3.0)  # counted from the answer on
    assert broken.closed


def test_a_slow_call_that_is_cut_short_fails_once() -> None:
    slow, _ = circuit(consecutive=2, slow_s=1.0)
    cut(slow, 1, 1.5)
    assert slow.closed
    cut(slow, 1, 1.5)
    assert slow.blocked


@given(
    takes_s=st.lists(st.floats(0.01, 10), min_size=200, max_size=400),
    scale=st.sampled_from([1e-3, 1.0, 60.0]),
)
def test_the_usual_time_lies_among_the_times_seen(takes_s: list[float], scale: float) -> None:
    """Ones cut short before twice the quickest never count, after twice the slowest always."""
    seen, _ = circuit(min_calls=1)
    for took_s in takes_s:
        seen.succeeded(permit(seen), took_s * scale)
    cut(seen, 1, min(takes_s) * scale * 2 * 0.99)
    assert seen.closed
    cut(seen, 1, max(takes_s) * scale * 2 * 1.2)
    assert seen.blocked
