from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cascade
from cascade import (
    Answer,
    Cap,
    Cascade,
    ConfigError,
    Context,
    Price,
    Request,
    Spend,
    SpendLimitExceeded,
    SQLiteStore,
    Tier,
    Usage,
    tenant,
)
from cascade.spend import Reservation
from cascade.spend_store import Held, Limit, MemoryStore, Refusal, SpendStore
from cascade.testing import Scripted
from cascade.types import Charge

pytestmark = pytest.mark.anyio

NOW_S = datetime(2026, 2, 28, 23, 30, tzinfo=UTC).timestamp()
HOUR_S = 3600.0
ONE = Decimal(1)
PRICE = Price(input=1, output=1)


class Clock:
    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SpendStore]:
    file = SQLiteStore(tmp_path / "spend.db")
    yield MemoryStore() if request.param == "memory" else file
    file.close()


def capped(*caps: Cap, store: SpendStore | None = None, **options: Any) -> Spend:
    return Spend(caps=caps, store=store, clock=options.pop("clock", Clock()), **options)


async def admitted(spend: Spend, offers: int, usd: Decimal = ONE) -> list[Reservation]:
    """What gets in of so many offers at once."""
    got: list[Reservation] = []

    async def offer() -> None:
        try:
            got.append(await spend.reserve(usd))
        except SpendLimitExceeded:
            return

    async with anyio.create_task_group() as tasks:
        for _ in range(offers):
            tasks.start_soon(offer)
    return got


# The race


async def test_a_cap_worth_five_calls_lets_five_of_fifty_in(store: SpendStore) -> None:
    spend = capped(Cap(5), store=store)
    got = await admitted(spend, 50)
    assert len(got) == 5
    assert await spend.state() == "spent"
    await got[0].release()
    assert len(await admitted(spend, 50)) == 1


async def test_a_cascade_answers_five_of_fifty_at_once(store: SpendStore) -> None:
    played = Scripted(Answer("yes", usage=Usage(5, 1000)))
    price = Price(input=0, output=1000)
    tier = Tier("small", call=played, price=price, params={"max_tokens": 1000})
    cascade = Cascade(tiers=[tier], spend=capped(Cap(5), store=store))
    refused: list[SpendLimitExceeded] = []

    async def offer() -> None:
        try:
            await cascade.run("hi")
        except SpendLimitExceeded as error:
            refused.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(offer)
    assert (len(played.requests), len(refused)) == (5, 45)
    assert {error.cost_usd for error in refused} == {0}


async def test_threads_race_for_the_same_cap(store: SpendStore) -> None:
    spend = capped(Cap(5), store=store)
    start = threading.Barrier(5)

    def offers(_: int) -> int:
        start.wait()
        return len(anyio.run(admitted, spend, 10))

    def race() -> int:
        with ThreadPoolExecutor(5) as pool:
            return sum(pool.map(offers, range(5)))

    assert await anyio.to_thread.run_sync(race) == 5


RACER = f"""
import sys, anyio
from decimal import Decimal
from cascade import Cap, Spend, SpendLimitExceeded, SQLiteStore

async def main():
    spend = Spend(caps=[Cap(5)], store=SQLiteStore(sys.argv[1]), clock=lambda: {NOW_S})
    print("ready", flush=True)
    sys.stdin.readline()
    got = 0
    for _ in range(25):
        try:
            reservation = await spend.reserve(Decimal(1))
            await reservation.settle(Decimal(1))
            got += 1
        except SpendLimitExceeded:
            pass
    print(got)

anyio.run(main)
"""


def race_processes(file: Path, number: int) -> int:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(number)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    total = 0
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        out, _ = process.communicate()
        assert process.returncode == 0
        total += int(out)
    return total


def test_processes_race_for_the_same_cap_and_restarts_do_not_renew_it(tmp_path: Path) -> None:
    file = tmp_path / "spend.db"
    assert race_processes(file, 4) == 5
    assert race_processes(file, 1) == 0


# Reserve, settle, release


async def test_what_a_call_cost_takes_the_place_of_what_was_reserved(store: SpendStore) -> None:
    spend = capped(Cap(1), store=store)
    first = await spend.reserve(Decimal("0.9"))
    await first.settle(Decimal("0.1"))
    second = await spend.reserve(Decimal("0.9"))
    await second.settle(None)  # unknown: what was reserved stands
    with pytest.raises(SpendLimitExceeded) as caught:
        await spend.reserve(Decimal("1e-30"))
    assert caught.value.spent_usd == 1
    assert caught.value.asked_usd == Decimal("1e-30")


async def test_settling_twice_counts_once(store: SpendStore) -> None:
    spend = capped(Cap(10), store=store)
    reservation = await spend.reserve(ONE)
    await reservation.settle(ONE)
    await reservation.settle(ONE)
    await reservation.release()
    await spend.reserve(Decimal(9))


async def test_all_caps_of_a_call_or_none(store: SpendStore) -> None:
    spend = capped(Cap(10), Cap(2, scope="path"), Cap(5, per="call"), store=store)
    with pytest.raises(SpendLimitExceeded) as caught:
        await spend.reserve(Decimal(3), path="a")
    assert caught.value.cap is spend.caps[1]
    for _ in range(5):  # the refused money was put on no account
        await spend.reserve(Decimal(2), path=f"path-{_}")
    with pytest.raises(SpendLimitExceeded) as caught:
        await spend.reserve(ONE, path="new")
    assert caught.value.cap is spend.caps[0]


async def test_the_refusal_names_the_cap_the_amounts_and_the_mend() -> None:
    spend = capped(Cap("0.50", per="day", key="acme"))
    with tenant("acme"):
        await spend.reserve(Decimal("0.25"))
        with pytest.raises(SpendLimitExceeded) as caught:
            await spend.reserve(Decimal("0.30"))
    assert str(caught.value) == (
        "Cap(0.50, per='day', key='acme') has $0.25 spent or reserved, and the next call may cost "
        "$0.30; raise the cap or lower max_tokens, or wait until 2026-03-01 00:00 UTC"
    )
    assert caught.value.resets_at == datetime(2026, 3, 1, tzinfo=UTC)
    assert caught.value.attempts == ()
    total = capped(Cap(1, per="total"))
    with pytest.raises(SpendLimitExceeded, match=r"lower max_tokens$") as caught:
        await total.reserve(Decimal(2))
    assert caught.value.resets_at is None


async def test_charges_are_settled_by_their_exact_sum() -> None:
    spend = capped(Cap(10))
    price = Price(input=1, output=2)
    known = Charge("a", price, Usage(1, 1))
    unknown = Charge("a", price, None)

    async def settled(usd: Decimal, charges: list[Charge]) -> Decimal:
        before = await left(spend)
        reservation = await spend.reserve(usd)
        await reservation.settle_charges(charges)
        return before - await left(spend)

    assert await settled(ONE, []) == 0
    assert await settled(ONE, [known, known]) == Decimal("0.000006")
    assert await settled(ONE, [known, unknown]) == 1
    assert await settled(Decimal("0.000001"), [known, unknown]) == Decimal("0.000003")


async def left(spend: Spend) -> Decimal:
    with pytest.raises(SpendLimitExceeded) as caught:
        await spend.reserve(Decimal(10**6))
    cap = caught.value.cap
    assert cap is not None
    assert caught.value.spent_usd is not None
    return cap.usd - caught.value.spent_usd


# Periods, scopes, tenants


@pytest.mark.parametrize(
    ("per", "later_s", "is_renewed"),
    [
        ("day", 0.4 * HOUR_S, False),
        ("day", 0.5 * HOUR_S, True),
        ("month", 0.4 * HOUR_S, False),
        ("month", 0.5 * HOUR_S, True),
        ("month", -28 * 24 * HOUR_S, True),
        ("process", 10**4 * HOUR_S, False),
        ("total", 10**4 * HOUR_S, False),
        ("call", 0, True),
    ],
)
async def test_a_period_ends_at_midnight_in_utc(
    store: SpendStore, per: Any, later_s: float, is_renewed: bool
) -> None:
    clock = Clock()
    spend = capped(Cap(1, per=per), store=store, clock=clock)
    await (await spend.reserve(ONE)).settle(ONE)
    clock.now_s += later_s
    assert len(await admitted(spend, 3)) == (3 if per == "call" else int(is_renewed))


async def test_a_call_counts_in_the_day_in_which_it_started(store: SpendStore) -> None:
    clock = Clock()
    spend = capped(Cap(5), store=store, clock=clock)
    call = spend.for_call()
    await (await call.reserve(ONE)).settle(ONE)
    clock.now_s += HOUR_S  # past midnight
    await (await call.reserve(ONE)).settle(ONE)
    assert await left(spend) == 5
    clock.now_s -= HOUR_S
    assert await left(spend) == 3


async def test_december_is_followed_by_january() -> None:
    clock = Clock()
    clock.now_s = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
    with pytest.raises(SpendLimitExceeded) as caught:
        await capped(Cap(1, per="month"), clock=clock).reserve(Decimal(2))
    assert caught.value.resets_at == datetime(2027, 1, 1, tzinfo=UTC)


async def test_each_of_a_scope_has_its_own_amount(store: SpendStore) -> None:
    spend = capped(Cap(1, scope="key"), store=store)
    for key in ("a", "b"):
        with tenant(key):
            assert len(await admitted(spend, 3)) == 1
    assert len(await admitted(spend, 3)) == 1  # nobody's
    for scope in ("path", "cascade"):
        spend = capped(Cap(1, scope=scope), store=store)
        for name in ("a", "b"):
            await spend.reserve(ONE, **{scope: name})
            with pytest.raises(SpendLimitExceeded):
                await spend.reserve(ONE, **{scope: name})


async def test_a_cap_for_one_leaves_the_others_alone(store: SpendStore) -> None:
    spend = capped(Cap(1, key="a", path="p"), Cap(100), store=store)
    with tenant("a"):
        await spend.reserve(ONE, path="p")
        await spend.reserve(ONE, path="q")
        with pytest.raises(SpendLimitExceeded):
            await spend.reserve(ONE, path="p")
    await spend.reserve(ONE, path="p")


async def test_a_cap_per_call_counts_one_call(store: SpendStore) -> None:
    spend = capped(Cap(2, per="call"), store=store)
    call, other = spend.for_call(), spend.for_call()
    await (await call.reserve(ONE)).settle(ONE)
    await call.reserve(ONE)
    with pytest.raises(SpendLimitExceeded) as caught:
        await call.reserve(ONE)
    assert caught.value.resets_at is None
    await other.reserve(Decimal(2))


def test_tenants_nest_and_end() -> None:
    from cascade.spend import current_tenant

    with tenant("a"):
        with tenant("b"):
            assert current_tenant() == "b"
        assert current_tenant() == "a"
    assert current_tenant() is None


async def test_states_and_the_last_tier(store: SpendStore) -> None:
    spend = capped(Cap(10), Cap(4, per="call"), store=store, near=0.5, near_last="small")
    call = spend.for_call()
    assert (await call.state(), await call.last_tier()) == ("ok", None)
    await call.reserve(Decimal(2))  # half of the call's
    assert (await call.state(), await call.last_tier()) == ("near", "small")
    assert (await spend.state(), await spend.for_call().last_tier()) == ("ok", None)
    await (await spend.reserve(Decimal(3))).settle(Decimal(20))  # dearer than was guessed
    assert (await spend.state(), await call.last_tier()) == ("spent", "small")
    assert await capped(Cap(1, path="x")).state() == "ok"
    unlimited = capped(Cap(1))
    await unlimited.reserve(ONE)
    assert await unlimited.for_call().last_tier() is None


# Estimates


def small(**options: Any) -> Tier:
    return Tier("small", model="m-spend", **{"price": Price(input=1, output=2), **options})


def test_an_estimate_is_input_and_the_most_output_at_the_tiers_price() -> None:
    spend = capped(Cap(1), input_safety=1, output_tokens=500)
    text = Request("word " * 100)
    read = spend.estimate_usd(small(price=Price(input=10**6, output=0)), (text,))
    assert 100 <= read <= 200
    write = Price(input=0, output=10**6)
    assert spend.estimate_usd(small(price=write), (text,)) == 500
    assert spend.estimate_usd(small(price=write, params={"max_tokens": 7}), (text,)) == 7
    asked = Request("hi", max_tokens=9)
    assert spend.estimate_usd(small(price=write, params={"max_tokens": 7}), (asked,)) == 9
    assert spend.estimate_usd(small(price=write), ("a text",)) == 500


def test_an_estimate_takes_the_dearer_of_what_is_not_known_yet() -> None:
    spend = capped(Cap(1), output_tokens=10)
    plain = small(price=Price(input=1, output=2))
    dear = small(price=Price(input=1, output=2, cache_write=2, reasoning=4))
    cheap = small(price=Price(input=1, output=2, cached_input=0, cache_write=0, reasoning=0))
    args = ("some text",)
    assert spend.estimate_usd(dear, args) == 2 * spend.estimate_usd(plain, args)
    assert spend.estimate_usd(cheap, args) == spend.estimate_usd(plain, args)


def test_the_text_of_a_functions_arguments_is_what_is_read() -> None:
    spend = capped(Cap(1))
    tier = small(price=Price(input=1, output=0))
    nothing = spend.estimate_usd(tier)
    text = spend.estimate_usd(tier, ("word " * 50,))
    assert nothing < text
    assert spend.estimate_usd(tier, (), {"ticket": "word " * 50}) == text
    chat = [{"role": "user", "content": "word " * 50}]
    assert spend.estimate_usd(tier, (chat, object(), 7)) == text


def test_a_tier_without_a_price_cannot_be_capped() -> None:
    spend = capped(Cap(1), near_last="small")
    spend.check_prices([small(), Tier("free", price=Price(input=0, output=0))])
    with pytest.raises(ConfigError, match="tier 'b' has no price, so its calls cannot be held"):
        spend.check_prices([small(), Tier("b", model="openai:new")])
    spend.check_near_last([small()])
    with pytest.raises(ConfigError, match=r"near_last='small' is no tier .* mean 'smal'"):
        spend.check_near_last([Tier("smal")])


# Mistakes

# As a caller without a type checker sees them.
WRONG_CAP: Any = Cap
WRONG_SPEND: Any = Spend


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Cap(0), "not an amount of USD above 0"),
        (lambda: Cap(-1), "not an amount"),
        (lambda: Cap("much"), "'much'"),
        (lambda: Cap(float("nan")), "nan"),
        (lambda: Cap(True), "True"),
        (lambda: WRONG_CAP(1, per="week"), "per='week'; known: call, day, month"),
        (lambda: WRONG_CAP(1, scope="user"), "scope='user'; known: all, path"),
        (lambda: Cap(1, scope="key", key="a"), "leave scope out"),
        (lambda: Cap(1, per="call", scope="key"), "has no effect"),
        (lambda: WRONG_CAP(1, pr="day"), "did you mean 'per'"),
        (lambda: SQLiteStore("x", hold_s=0), "hold_s=0 is not a time"),
        (lambda: Spend(caps=[]), "has no caps"),
        (lambda: WRONG_SPEND(caps=Cap(1)), "put it in a list"),
        (lambda: Spend(caps=[Cap(1)], near=80), "not a share"),
        (lambda: Spend(caps=[Cap(1)], output_tokens=0), "1 or more"),
        (lambda: Spend(caps=[Cap(1)], input_safety=0.5), "are 1 or more"),
    ],
)
def test_options_that_cannot_work_are_named(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()


# The laws

amounts = st.decimals(min_value=0, max_value=3, places=9)
steps = st.lists(
    st.tuples(st.sampled_from(["reserve", "settle", "unknown", "release"]), amounts, st.integers()),
    max_size=30,
)


async def play(store: SpendStore, script: list[tuple[str, Decimal, int]]) -> list[Any]:
    """What a script of steps leads to; after each step the law holds, and sums are exact."""
    limits = [Limit("a", Decimal(5), NOW_S), Limit("b", Decimal(7), NOW_S)]
    live: list[Held] = []
    told: list[Any] = []
    spent = over = Decimal(0)
    for move, usd, pick in script:
        if move == "reserve":
            got = await store.reserve(limits, usd, NOW_S - 1)
            told.append(got if isinstance(got, Refusal) else got.usd)
            if not isinstance(got, Refusal):
                live.append(got)
        elif live:
            held = live.pop(pick % len(live))
            cost = {"settle": usd, "unknown": held.usd, "release": Decimal(0)}[move]
            await store.settle(held, cost)
            spent += cost
            over += max(Decimal(0), cost - held.usd)
        totals = await store.spent(["a", "b", "c"], NOW_S - 1)
        assert totals["a"] == totals["b"] == spent + sum(held.usd for held in live)
        assert totals["c"] == 0
        assert totals["a"] <= 5 + over
        told.append(totals["a"])
    return told


@given(steps)
def test_stores_agree_and_no_cap_is_passed_but_by_what_estimates_missed(
    script: list[tuple[str, Decimal, int]],
) -> None:
    sqlite = SQLiteStore(":memory:")
    try:
        assert anyio.run(play, MemoryStore(), script) == anyio.run(play, sqlite, script)
    finally:
        sqlite.close()


# SQLite


def limit(usd: int = 5) -> list[Limit]:
    return [Limit("a", Decimal(usd), float("inf"))]


async def held(store: SpendStore, now_s: float = NOW_S, usd: Decimal = ONE) -> Held:
    got = await store.reserve(limit(), usd, now_s)
    assert isinstance(got, Held)
    return got


async def test_a_file_remembers_exactly_what_was_spent(tmp_path: Path) -> None:
    file = tmp_path / "spend.db"
    first = SQLiteStore(file)
    tiny = Decimal("0.123456789012345678901234567890")
    await first.settle(await held(first), tiny)
    await first.settle(await held(first), tiny)
    first.close()
    again = SQLiteStore(file)
    assert await again.spent(["a"], NOW_S) == {"a": Decimal("0.246913578024691357802469135780")}
    again.close()


async def test_a_crash_leaves_its_money_on_hold_and_not_for_ever(tmp_path: Path) -> None:
    crashed, other = (SQLiteStore(tmp_path / "spend.db", hold_s=60) for _ in range(2))
    lost = await held(crashed, usd=Decimal(5))
    assert isinstance(await other.reserve(limit(), ONE, NOW_S + 59), Refusal)
    assert await other.spent(["a"], NOW_S + 60) == {"a": 0}
    await held(other, NOW_S + 60)
    # It was not dead after all: what it spent counts all the same.
    await crashed.settle(lost, Decimal(4))
    assert await other.spent(["a"], NOW_S + 60) == {"a": 5}
    crashed.close()
    other.close()


async def test_a_process_keeps_its_own_reservations_however_long_they_take(tmp_path: Path) -> None:
    slow, other = (SQLiteStore(tmp_path / "spend.db", hold_s=60) for _ in range(2))
    await held(slow)
    await held(slow, NOW_S + 50)  # renews the first
    assert await other.spent(["a"], NOW_S + 100) == {"a": 2}
    await held(slow, NOW_S + 1000)  # nobody else has come by: both are still its own
    assert await slow.spent(["a"], NOW_S + 1000) == {"a": 3}
    slow.close()
    other.close()


async def test_a_cancelled_caller_never_leaves_money_on_hold(store: SpendStore) -> None:
    spend = capped(Cap(5), store=store)
    with anyio.CancelScope() as scope:
        reservation = await spend.reserve(ONE)
        scope.cancel()
        try:
            await anyio.sleep_forever()
        finally:
            await reservation.settle(Decimal(2))  # a checkpoint that has to get through
    assert await left(spend) == 3
    with anyio.CancelScope() as scope:
        scope.cancel()
        await spend.reserve(ONE)
        await anyio.lowlevel.checkpoint()
    assert await left(spend) in (2, 3)


async def test_a_file_that_cannot_be_used_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "spend.db").write_text("this is not a database, and long enough to show it" * 50)
    for file in ("spend.db", "no/such/folder.db"):
        with pytest.raises(sqlite3.Error):
            await SQLiteStore(tmp_path / file).reserve(limit(), ONE, NOW_S)


async def test_a_file_that_another_keeps_locked_is_waited_for_and_then_refused(
    tmp_path: Path,
) -> None:
    other = sqlite3.connect(tmp_path / "spend.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    store = SQLiteStore(tmp_path / "spend.db", busy_s=0.05)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        await store.reserve(limit(), ONE, NOW_S)
    other.execute("ROLLBACK")
    await held(store)
    store.close()
    other.close()


@pytest.mark.parametrize("near_last", [None, "a"])
async def test_a_deadline_holds_while_another_process_keeps_the_file(
    tmp_path: Path, near_last: str | None
) -> None:
    """In the thread that waits for the file for ever, and in those that wait for the thread."""
    store = SQLiteStore(tmp_path / "spend.db", busy_s=30)
    spend = Spend(caps=[Cap(5)], store=store, near_last=near_last)
    tiers = [Tier(name, call=Scripted("yes"), price=PRICE) for name in ("a", "b")]
    paths = {"p": cascade.Path(budget_s=0.05, hedge=0.01)}
    ladder = Cascade(tiers=tiers, spend=spend, paths=paths, on_exhausted="best")
    await ladder.run("?")
    other = sqlite3.connect(tmp_path / "spend.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with anyio.fail_after(20):
        for _ in range(3):
            assert (await ladder.run("?", path="p")).reason == "budget"
    other.execute("ROLLBACK")
    other.close()
    assert (await ladder.run("?")).accepted
    store.close()


@pytest.mark.parametrize("near_last", [None, "a"])
async def test_a_file_that_breaks_on_the_way_up_loses_no_answer(
    tmp_path: Path, near_last: str | None
) -> None:
    store = SQLiteStore(tmp_path / "spend.db", busy_s=0.01)
    other = sqlite3.connect(tmp_path / "spend.db", isolation_level=None)

    def rejects(answer: Answer[Any], context: Context) -> bool:
        other.execute("BEGIN IMMEDIATE")
        return False

    ladder = Cascade(
        tiers=[Tier(name, call=Scripted("yes"), price=PRICE) for name in ("a", "b")],
        validators=[rejects],
        spend=Spend(caps=[Cap(5)], store=store, near_last=near_last),
        on_exhausted="best",
    )
    result = await ladder.run("?")
    assert [a.outcome for a in result.attempts] == ["rejected", "failed"]
    assert isinstance(result.attempts[1].error, sqlite3.OperationalError)
    assert result.value == "yes"
    other.execute("ROLLBACK")
    other.close()
    store.close()


FORKS = """
import os, sys, anyio
from decimal import Decimal
from cascade import Cap, Spend, SQLiteStore

spend = Spend(caps=[Cap(5, per="total")], store=SQLiteStore(sys.argv[1]))
anyio.run(spend.reserve, Decimal(1))
child = os.fork()
anyio.run(spend.reserve, Decimal(1))
if child:
    _, status = os.waitpid(child, 0)
    anyio.run(spend.reserve, Decimal(1))
    sys.exit(status)
"""


async def test_a_process_that_forks_goes_on_counting_in_both(tmp_path: Path) -> None:
    file = tmp_path / "spend.db"
    await anyio.run_process([sys.executable, "-W", "ignore", "-c", FORKS, str(file)])
    store = SQLiteStore(file)
    assert await store.spent(["total all"], NOW_S) == {"total all": 4}
    store.close()


class Cancelling:
    """Cancels the task by asyncio's own means while a store is at work in its thread."""

    def __init__(self, store: SQLiteStore) -> None:
        self._begun, self._go_on = threading.Event(), threading.Event()
        self._done = threading.Semaphore(0)
        self._transaction = store._transaction
        store._transaction = self._held_up  # type: ignore[method-assign]

    @contextmanager
    def _held_up(
        self, is_wanted: Callable[[], bool] = lambda: True
    ) -> Iterator[sqlite3.Connection]:
        self._begun.set()
        self._go_on.wait()
        with self._transaction(is_wanted) as sql:
            yield sql
        self._done.release()

    async def at_work(self, work: Coroutine[Any, Any, Any], transactions: int) -> None:
        """Until so many transactions are over."""
        task = asyncio.ensure_future(work)
        await asyncio.to_thread(self._begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        self._go_on.set()
        for _ in range(transactions):
            await asyncio.to_thread(self._done.acquire)


@pytest.mark.asyncio
async def test_asyncio_cancelling_a_reservation_leaves_nothing_on_hold(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "spend.db")
    spend = capped(Cap(5), store=store)
    await Cancelling(store).at_work(spend.reserve(ONE), 2)  # and back
    assert await left(spend) == 5
    store.close()


@pytest.mark.asyncio
async def test_asyncio_cancelling_a_settlement_settles_once(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "spend.db")
    spend = capped(Cap(5), Cap(9, per="process"), store=store)
    reservation = await spend.reserve(ONE)
    await Cancelling(store).at_work(reservation.settle(Decimal(2)), 1)
    assert await left(spend) == 3
    assert await spend._of_process.spent(["process all"], NOW_S) == {"process all": 2}
    store.close()


async def test_what_is_free_is_let_in_when_a_cap_is_spent(store: SpendStore) -> None:
    spend = capped(Cap(1), store=store)
    await (await spend.reserve(ONE)).settle(Decimal(2))
    await (await spend.reserve(Decimal(0))).release()
    with pytest.raises(SpendLimitExceeded):
        await spend.reserve(Decimal("0.01"))


async def test_a_store_that_breaks_lets_nothing_in_and_loses_no_answer(tmp_path: Path) -> None:
    file = tmp_path / "spend.db"
    store = SQLiteStore(file)
    spend = capped(Cap(5), store=store)
    reservation = await spend.reserve(ONE)
    store.close()
    with sqlite3.connect(file) as sql:
        sql.execute("DROP TABLE holds")
        sql.execute("CREATE TABLE holds (x)")
    sql.close()
    with pytest.raises(sqlite3.Error):
        await spend.reserve(ONE)
    await reservation.settle(ONE)  # logged
    store.close()


async def test_what_another_store_holds_is_given_back_when_one_refuses() -> None:
    spend = capped(Cap(1, per="process"), Cap(5))
    await spend.reserve(ONE)
    with pytest.raises(SpendLimitExceeded):
        await spend.reserve(ONE)
    assert await spend.state() == "spent"
    per_call = capped(Cap(5, per="call"), Cap(1))
    call = per_call.for_call()
    await call.reserve(ONE)
    with pytest.raises(SpendLimitExceeded):
        await call.reserve(ONE)


async def test_memory_forgets_periods_long_over() -> None:
    store = MemoryStore()
    now_s = NOW_S
    for day in range(2000):
        now_s = NOW_S + day * 24 * HOUR_S
        until = [Limit(f"day {day}", Decimal(5), now_s + 60), *limit(10**6)]
        got = await store.reserve(until, ONE, now_s)
        assert isinstance(got, Held)
        await store.settle(got, ONE)
    assert len(store._spent) < 1100
    assert await store.spent(["a"], now_s) == {"a": 2000}
