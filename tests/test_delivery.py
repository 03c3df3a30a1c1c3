from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import anyio
import pytest
import trio
import trio.testing

from cascade import (
    Answer,
    AuthenticationError,
    BadRequestError,
    Breaker,
    Cascade,
    CascadeExhausted,
    CircuitOpenError,
    ConfigError,
    Deployment,
    Limits,
    LoadShedError,
    Path,
    Price,
    ProviderError,
    RateLimitError,
    Request,
    Retries,
    ServerError,
    SpendLimitExceeded,
    Tier,
    Usage,
)
from cascade.simulated import HttpRequest, Reply, Server, script, serve
from cascade.testing import HANG, Scripted
from cascade.types import NO_USAGE

pytestmark = pytest.mark.anyio

USD = Price(input=1, output=2)
ONE = Usage(1_000_000, 0)
AT_ONCE = Retries(2, base_s=0.001, cap_s=0.001)


def said(text: str = "fine") -> Answer[str]:
    return Answer(text, usage=ONE)


def tier(*scripts: Scripted, **options: Any) -> Tier:
    deployments = [Deployment(call=one) for one in scripts]
    return Tier("t", deployments=deployments, price=USD, **{"retries": AT_ONCE, **options})


async def failure(of: Tier) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await of.chat("hi")
    return caught.value


# Deployments


async def test_the_next_deployment_is_tried_before_the_tier_has_failed() -> None:
    first, second = Scripted(ServerError("down")), Scripted(said())
    assert (await tier(first, second, retries=0).chat("hi")).value == "fine"
    assert first.requests == second.requests == [Request("hi")]


@pytest.mark.parametrize(
    "error",
    [AuthenticationError("this key"), BadRequestError("no such model here", status=404)],
)
async def test_what_is_wrong_with_one_deployment_need_not_be_with_the_next(
    error: ProviderError,
) -> None:
    assert (await tier(Scripted(error), Scripted(said())).chat("hi")).value == "fine"


async def test_a_request_that_is_wrong_is_not_sent_elsewhere() -> None:
    wrong = BadRequestError("wrong", status=400)
    second = Scripted(said())
    assert await failure(tier(Scripted(wrong), second)) is wrong
    assert second.requests == []
    down_then_wrong = tier(Scripted(ServerError("down")), Scripted(wrong))
    assert await failure(down_then_wrong) is wrong


async def test_all_deployments_are_tried_before_the_first_wait() -> None:
    order: list[str] = []

    def deployment(name: str) -> Deployment:
        async def call(request: Request) -> Any:
            order.append(name)
            raise ServerError(name)

        return Deployment(name, call=call)

    both = Tier("t", deployments=[deployment("a"), deployment("b")], retries=AT_ONCE)
    await failure(both)
    assert order == ["a", "b"] * 3


async def test_the_error_that_passes_soonest_is_told() -> None:
    late, soon = RateLimitError("late", retry_after_s=9), RateLimitError("soon", retry_after_s=1)
    never = AuthenticationError("never")
    scripts = [Scripted(error) for error in (never, late, soon)]
    assert await failure(tier(*scripts, retries=0)) is soon


@asynccontextmanager
async def two_servers() -> AsyncIterator[tuple[Server, Server]]:
    body = {"choices": [{"message": {"content": "hello"}}]}
    async with (
        serve(script(then=Reply(503, {}))) as first,
        serve(script(then=Reply(body=body))) as second,
    ):
        yield first, second


def sent_key(request: HttpRequest) -> str | None:
    return request.headers.get("authorization")


async def test_a_key_is_not_sent_to_another_server_than_it_was_given_for() -> None:
    async with two_servers() as (first, second):
        both = Tier(
            "t",
            model="openai:m",
            base_url=first.url,
            api_key="sk-first",
            headers={"x-key": "sk-first"},
            params={"seed": 1},
            deployments=[Deployment(), Deployment(base_url=second.url)],
        )
        assert (await both.chat("hi")).value == "hello"
    (at_first,), (at_second,) = first.requests, second.requests
    assert sent_key(at_first) == "Bearer sk-first"
    assert "sk-first" not in str(dict(at_second.headers))
    assert at_first.json() == at_second.json()


async def test_a_deployment_may_differ_in_its_key_alone() -> None:
    async with two_servers() as (first, second):
        both = Tier(
            "t",
            model="openai:m",
            base_url=second.url,
            headers={"x": "y"},
            deployments=[
                Deployment(base_url=first.url, api_key="sk-a", headers={"z": "1"}),
                Deployment(api_key="sk-b"),
            ],
        )
        assert (await both.chat("hi")).value == "hello"
    (at_first,), (at_second,) = first.requests, second.requests
    assert (sent_key(at_first), sent_key(at_second)) == ("Bearer sk-a", "Bearer sk-b")
    assert (at_first.headers["z"], at_second.headers["x"]) == ("1", "y")
    assert "x" not in at_first.headers


# Retries and the bill


async def test_every_send_is_on_the_bill_and_a_refused_one_at_nothing() -> None:
    refused = RateLimitError("later", usage=NO_USAGE)
    flaky = tier(Scripted(refused, refused, said()))
    result = await Cascade(tiers=[flaky]).run("hi")
    assert [charge.usage for charge in result.attempts[0].charges] == [NO_USAGE, NO_USAGE, ONE]
    assert (result.cost_usd, len(result.attempts)) == (Decimal(1), 1)


async def test_a_send_of_unknown_cost_makes_the_bill_unknown() -> None:
    result = await Cascade(tiers=[tier(Scripted(ServerError("?"), said()))]).run("hi")
    assert result.accepted
    assert [charge.usage for charge in result.attempts[0].charges] == [None, ONE]
    assert result.cost_usd is None


async def test_a_failed_tier_is_no_rejected_answer_and_escalates() -> None:
    broken = tier(Scripted(ServerError("down", usage=NO_USAGE)))
    result = await Cascade(tiers=[broken, Tier("big", call=Scripted(said()), price=USD)]).run("hi")
    failed, accepted = result.attempts
    assert (failed.outcome, failed.reason, len(failed.charges)) == ("failed", "ServerError", 3)
    assert (accepted.outcome, result.cost_usd) == ("accepted", Decimal(1))


async def test_a_callable_is_not_tried_again_unless_told_to() -> None:
    script = Scripted(ServerError("down"), said())
    await failure(Tier("t", call=script))
    assert len(script.requests) == 1
    script = Scripted(ServerError("down"), said())
    assert (await Tier("t", call=script, retries=AT_ONCE).chat("hi")).value == "fine"


async def test_an_error_of_a_callables_own_passes_through() -> None:
    error = ZeroDivisionError("mine")
    with pytest.raises(ZeroDivisionError) as caught:
        await tier(Scripted(error), Scripted(said()), breaker=Breaker()).chat("hi")
    assert caught.value is error


def test_a_wait_that_does_not_fit_the_budget_escalates_at_once() -> None:
    busy = tier(Scripted(RateLimitError("later", retry_after_s=2.0, usage=NO_USAGE)))
    big = Tier("big", call=Scripted(said()), price=USD)
    cascade = Cascade(tiers=[busy, big], paths={"fast": Path(budget_s=1.0)})

    async def main() -> float:
        started = anyio.current_time()
        result = await cascade.run("hi", path="fast")
        assert [attempt.outcome for attempt in result.attempts] == ["failed", "accepted"]
        return anyio.current_time() - started

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)) == 0


def test_the_callers_own_time_limit_counts_too() -> None:
    busy = tier(Scripted(RateLimitError("later", retry_after_s=2.0)))

    async def main() -> float:
        started = anyio.current_time()
        with anyio.move_on_after(1.0) as scope:
            assert isinstance(await failure(busy), RateLimitError)
        assert not scope.cancelled_caught
        return anyio.current_time() - started

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)) == 0


def test_a_password_in_an_address_is_not_told() -> None:
    there = Deployment("west", base_url="https://user:s3cret@example.com/v1?key=s3cret")
    assert repr(there) == "Deployment('west', base_url='https://example.com')"
    with pytest.raises(ConfigError, match="has no provider") as caught:
        Tier("t", deployments=[there])
    assert "s3cret" not in str(caught.value)


# The circuit


async def test_an_open_circuit_is_told_apart_and_costs_nothing() -> None:
    script = Scripted(ServerError("down", usage=NO_USAGE))
    broken = tier(script, retries=0, breaker=Breaker(consecutive=1))
    await failure(broken)
    with pytest.raises(CascadeExhausted) as caught:
        await Cascade(tiers=[broken]).run("hi")
    (attempt,) = caught.value.attempts
    assert (attempt.outcome, attempt.reason) == ("failed", "CircuitOpenError")
    assert caught.value.cost_usd == 0
    assert isinstance(attempt.error, CircuitOpenError)
    assert 0 < (attempt.error.retry_after_s or 0) <= 10
    assert str(attempt.error).startswith("tier 't' was not asked: it kept failing")
    assert len(script.requests) == 1


async def test_a_deployment_with_an_open_circuit_is_skipped_and_the_others_are_not() -> None:
    first, second = Scripted(ServerError("down")), Scripted(said())
    both = tier(first, second, breaker=Breaker(consecutive=2))
    for _ in range(5):
        assert (await both.chat("hi")).value == "fine"
    assert (len(first.requests), len(second.requests)) == (2, 5)


async def test_all_circuits_open_is_an_error_of_its_own() -> None:
    broken = tier(
        Scripted(RateLimitError("x", retry_after_s=8)),
        Scripted(RateLimitError("x", retry_after_s=3)),
        retries=0,
        breaker=Breaker(),
    )
    await failure(broken)
    error = await failure(broken)
    assert isinstance(error, CircuitOpenError)
    assert 2 < (error.retry_after_s or 0) <= 3
    assert "tier 't', deployment 't-2' was not asked" in str(error)


@pytest.mark.parametrize("error", [AuthenticationError("x"), BadRequestError("x", status=400)])
async def test_a_wrong_key_or_request_does_not_open_the_circuit(error: ProviderError) -> None:
    wrong = tier(Scripted(error), breaker=Breaker(consecutive=1))
    for _ in range(3):
        assert await failure(wrong) is error


async def test_half_open_sends_one_probe_under_concurrency() -> None:
    now = [0.0]
    gate, asked = anyio.Event(), [0]

    async def endpoint(request: Request) -> Any:
        asked[0] += 1
        if asked[0] == 1:
            raise ServerError("down")
        await gate.wait()
        return said()

    shy = Tier("t", call=endpoint, breaker=Breaker(consecutive=1, clock=lambda: now[0]))
    await failure(shy)
    now[0] = 10.0
    outcomes: list[str] = []

    async def ask() -> None:
        try:
            outcomes.append((await shy.chat("hi")).value)
        except CircuitOpenError as error:
            outcomes.append(f"open, probe in {error.retry_after_s} s")

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        gate.set()
    assert (asked[0], sorted(outcomes)) == (2, ["fine"] + ["open, probe in None s"] * 19)
    assert (await shy.chat("hi")).value == "fine"


async def test_a_cancelled_probe_lets_the_next_one_go() -> None:
    now = [0.0]
    script = Scripted(ServerError("down"), HANG, said())
    shy = Tier("t", call=script, breaker=Breaker(consecutive=1, clock=lambda: now[0]))
    await failure(shy)
    now[0] = 10.0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(shy.chat, "hi")
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert (await shy.chat("hi")).value == "fine"


# Limits


async def test_a_tiers_limits_shed_what_cannot_be_in_time_and_the_call_escalates() -> None:
    small = tier(Scripted(said()), limits=Limits(requests_per_min=1))
    big = Tier("big", call=Scripted(said("big")), price=USD)
    cascade = Cascade(tiers=[small, big], paths={"p": Path(budget_s=5)})
    assert (await cascade.run("hi", path="p")).value == "fine"
    result = await cascade.run("hi", path="p")
    assert result.value == "big"
    shed = result.attempts[0]
    assert (shed.outcome, shed.reason) == ("failed", "LoadShedError")
    assert shed.cost_usd == 0
    assert isinstance(shed.error, LoadShedError)


async def test_tokens_are_estimated_from_the_request_and_corrected_by_the_bill() -> None:
    limited = tier(Scripted(Answer("x", usage=Usage(1, 1))), limits=Limits(tokens_per_min=50_000))
    for _ in range(10):  # 8 * 10,000 words each, were it not for the correction
        with anyio.fail_after(30):
            await limited.chat("word " * 8_000)


async def test_an_open_circuit_is_not_queued_for() -> None:
    broken = tier(
        Scripted(ServerError("down"), HANG),
        retries=0,
        breaker=Breaker(consecutive=1),
        limits=Limits(concurrency=1),
    )
    await failure(broken)
    assert isinstance(await failure(broken), CircuitOpenError)


async def test_what_an_open_circuit_refuses_counts_under_no_limit() -> None:
    limits = Limits(concurrency=1, requests_per_min=2)
    broken = tier(
        Scripted(ServerError("down")), retries=0, breaker=Breaker(consecutive=1), limits=limits
    )
    errors: list[type[Exception]] = []

    async def ask() -> None:
        errors.append(type(await failure(broken)))

    with anyio.fail_after(10):  # what would have to wait for the next minute is shed
        async with anyio.create_task_group() as tasks:
            for _ in range(9):
                tasks.start_soon(ask)
    assert errors == [ServerError] + [CircuitOpenError] * 8


async def test_a_place_is_given_back_however_a_call_ends() -> None:
    script = Scripted(ServerError("down"), HANG, said())
    one = tier(script, retries=0, limits=Limits(concurrency=1, max_queue=0))
    await failure(one)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.chat, "hi")
        await anyio.wait_all_tasks_blocked()
        assert isinstance(await failure(one), LoadShedError)
        tasks.cancel_scope.cancel()
    assert (await one.chat("hi")).value == "fine"


async def test_a_shed_retry_tells_of_what_broke() -> None:
    down = ServerError("down")
    limited = tier(Scripted(down), limits=Limits(requests_per_min=1))
    with anyio.move_on_after(20) as scope:
        assert await failure(limited) is down
    assert not scope.cancelled_caught


async def test_a_spend_cap_that_refuses_is_not_held_against_the_endpoint() -> None:
    error = SpendLimitExceeded("the cap is used up")
    capped = tier(Scripted(error, said()), breaker=Breaker(consecutive=1), retries=0)
    with pytest.raises(SpendLimitExceeded):
        await capped.chat("hi")
    assert (await capped.chat("hi")).value == "fine"


async def test_a_retry_that_is_cancelled_half_way_is_on_the_bill_and_ends() -> None:
    script = Scripted(ServerError("down", usage=NO_USAGE), HANG)
    cascade = Cascade(tiers=[tier(script)], on_exhausted="best", paths={"p": Path(budget_s=0.1)})
    result = await cascade.run("hi", path="p")
    (attempt,) = result.attempts
    assert (attempt.outcome, result.reason) == ("timed_out", "budget")
    assert [charge.usage for charge in attempt.charges] == [NO_USAGE, None]
    assert len(script.requests) == 2


async def test_a_deployment_that_only_hangs_is_left_alone_for_the_next_one() -> None:
    """Budgets cut every call short, so that no error is ever seen."""
    hung, good = Scripted(HANG), Scripted(said())
    both = tier(hung, good, breaker=Breaker(min_calls=3), timeout_s=0.01)
    cascade = Cascade(tiers=[both], on_exhausted="best")
    results = [await cascade.run("hi") for _ in range(4)]
    assert [one.accepted for one in results] == [False, False, False, True]
    assert [one.attempts[0].reason for one in results[:3]] == ["tier_timeout"] * 3
    assert (len(hung.requests), len(good.requests)) == (3, 1)


async def test_callers_that_give_up_open_no_circuit() -> None:
    hung = Scripted(HANG)
    shy = tier(hung, breaker=Breaker(min_calls=1, consecutive=1))
    for _ in range(3):
        async with anyio.create_task_group() as group:
            group.start_soon(shy.chat, "hi")
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
    assert len(hung.requests) == 3
