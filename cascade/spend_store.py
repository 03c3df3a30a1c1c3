"""Where money is counted: in memory, or in a SQLite file that processes share.

An account holds what was spent by one kind of call in one period. A reservation holds money on
all the accounts it touches, or on none of them.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from os import PathLike
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from anyio import CapacityLimiter, get_cancelled_exc_class, to_thread
from anyio.lowlevel import RunVar

from cascade.options import check_seconds
from cascade.types import add_exactly

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Held", "Limit", "MemoryStore", "Refusal", "SQLiteStore", "SpendStore"]

T = TypeVar("T")

MAX_THREADS = 4  # in each event loop; the file takes one writer at a time in any case

_limiter: RunVar[CapacityLimiter] = RunVar("cascade_spend_threads")
_ZERO = Decimal(0)


class Limit(NamedTuple):
    """What may be spent on one account: at most `usd`, until `until_s` (Unix time; inf: ever)."""

    account: str
    usd: Decimal
    until_s: float


class Held(NamedTuple):
    """A reservation: `usd` on each of the accounts."""

    id: str
    accounts: tuple[str, ...]
    usd: Decimal


class Refusal(NamedTuple):
    """Why a reservation was not made: this limit, with so much spent or held on its account."""

    limit: Limit
    spent_usd: Decimal


class SpendStore(Protocol):
    """Counts money. All three methods are atomic, and exact to the last digit."""

    async def reserve(self, limits: Sequence[Limit], usd: Decimal, now_s: float) -> Held | Refusal:
        """Hold `usd` on every account, unless one would pass its limit. `now_s` is Unix time."""
        ...

    async def settle(self, held: Held, usd: Decimal) -> None:
        """Give back what was held, and count `usd` as spent instead. 0: nothing was billed."""
        ...

    async def spent(self, accounts: Iterable[str], now_s: float) -> Mapping[str, Decimal]:
        """What is spent or held on each account; 0 for one that nothing is known of."""
        ...


def _plus(*amounts: Decimal) -> Decimal:
    total = add_exactly(amounts)
    return _ZERO if total is None else total


def _passed(limits: Iterable[Limit], usd: Decimal, spent: Mapping[str, Decimal]) -> Refusal | None:
    """The first limit that `usd` more would pass. Nothing more passes none."""
    for limit in limits if usd else ():
        if _plus(spent[limit.account], usd) > limit.usd:
            return Refusal(limit, spent[limit.account])
    return None


class MemoryStore:
    """Counts in this process, for all its event loops and threads. Gone when the process ends."""

    _FORGET_EVERY = 1024  # reservations
    _FORGET_AFTER_S = 86_400.0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spent: dict[str, Decimal] = {}
        self._held: dict[str, Held] = {}
        self._on_hold: dict[str, Decimal] = {}
        self._until_s: dict[str, float] = {}
        self._made = 0

    async def reserve(self, limits: Sequence[Limit], usd: Decimal, now_s: float) -> Held | Refusal:
        with self._lock:
            spent = {limit.account: self._total(limit.account) for limit in limits}
            refusal = _passed(limits, usd, spent)
            if refusal is not None:
                return refusal
            self._made += 1
            if self._made % self._FORGET_EVERY == 0:
                self._forget(now_s - self._FORGET_AFTER_S)
            held = Held(str(self._made), tuple(spent), usd)
            self._held[held.id] = held
            for limit in limits:
                self._until_s[limit.account] = limit.until_s
            for account in held.accounts:
                self._on_hold[account] = _plus(self._on_hold.get(account, _ZERO), usd)
            return held

    async def settle(self, held: Held, usd: Decimal) -> None:
        with self._lock:
            known = self._held.pop(held.id, None)
            for account in held.accounts:
                if known is not None:
                    self._on_hold[account] = _plus(self._on_hold[account], held.usd.copy_negate())
                self._spent[account] = _plus(self._spent.get(account, _ZERO), usd)

    async def spent(self, accounts: Iterable[str], now_s: float) -> Mapping[str, Decimal]:
        with self._lock:
            return {account: self._total(account) for account in accounts}

    def _total(self, account: str) -> Decimal:
        return _plus(self._spent.get(account, _ZERO), self._on_hold.get(account, _ZERO))

    def _forget(self, before_s: float) -> None:
        """Drop accounts of periods long over: each tenant opens one a day."""
        for account, until_s in list(self._until_s.items()):
            if until_s < before_s and not self._on_hold.get(account):
                for kept in (self._until_s, self._spent, self._on_hold):
                    kept.pop(account, None)


_TABLES = """
CREATE TABLE IF NOT EXISTS accounts (
    name TEXT PRIMARY KEY, spent_usd TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS holds (
    id TEXT NOT NULL, account TEXT NOT NULL, usd TEXT NOT NULL,
    owner TEXT NOT NULL, until_s REAL NOT NULL,
    PRIMARY KEY (account, id)
) WITHOUT ROWID;
"""


_TRY_AGAIN_S = 0.01
_LOOK_EVERY_S = 0.05
_inherited: list[object] = []


class SQLiteStore:
    """Counts in a file, for all processes of one machine, and across restarts.

    The file's disk is waited for in worker threads. Amounts are decimal text, so sums are exact.

    A process that dies between reserving and settling leaves its money on hold for `hold_s`; then
    it is given back, for nobody can tell any more whether it was spent. A process that lives
    renews its own with every reservation it makes, and never drops them.

    Args:
        path: the file; made if it is not there. Its folder has to exist, on a local disk.
        hold_s: seconds that a reservation is kept for a process that is not heard of. Longer than
            any call takes.
        busy_s: seconds to wait for other processes before an operation fails.
    """

    def __init__(
        self, path: str | PathLike[str], *, hold_s: float = 3600.0, busy_s: float = 10.0
    ) -> None:
        check_seconds("hold_s", hold_s)
        check_seconds("busy_s", busy_s)
        self._path = os.fspath(path)
        self._hold_s = hold_s
        self._busy_s = busy_s
        self._owner = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()

    async def reserve(self, limits: Sequence[Limit], usd: Decimal, now_s: float) -> Held | Refusal:
        held = Held(uuid.uuid4().hex, tuple(dict.fromkeys(one.account for one in limits)), usd)
        return await _Abandonable(
            lambda is_wanted: self._reserve(held, limits, now_s, is_wanted),
            undo=lambda: self._settle(held, _ZERO),  # nobody is left who would
        ).in_thread()

    async def settle(self, held: Held, usd: Decimal) -> None:
        settle = _Once(lambda: self._settle(held, usd))
        try:
            await _in_thread(settle)
        except get_cancelled_exc_class():
            _in_own_thread(settle)
            raise

    async def spent(self, accounts: Iterable[str], now_s: float) -> Mapping[str, Decimal]:
        return await _Abandonable(
            lambda is_wanted: self._spent(accounts, now_s, is_wanted)
        ).in_thread()

    def close(self) -> None:
        """Close the file. The next operation opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _reserve(
        self, held: Held, limits: Sequence[Limit], now_s: float, is_wanted: Callable[[], bool]
    ) -> Held | Refusal:
        with self._transaction(is_wanted) as sql:
            self._renew(sql, now_s)
            spent = {account: self._total(sql, account, now_s) for account in held.accounts}
            refusal = _passed(limits, held.usd, spent)
            if refusal is not None:
                return refusal
            usd, until_s = str(held.usd), now_s + self._hold_s
            sql.executemany(
                "INSERT INTO holds VALUES (?, ?, ?, ?, ?)",
                [(held.id, account, usd, self._owner, until_s) for account in held.accounts],
            )
            return held

    def _settle(self, held: Held, usd: Decimal) -> None:
        with self._transaction() as sql:
            for account in held.accounts:
                sql.execute("DELETE FROM holds WHERE account = ? AND id = ?", (account, held.id))
                spent = _plus(self._settled(sql, account), usd)
                sql.execute(
                    "INSERT INTO accounts VALUES (?, ?)"
                    " ON CONFLICT (name) DO UPDATE SET spent_usd = excluded.spent_usd",
                    (account, str(spent)),
                )

    def _spent(
        self, accounts: Iterable[str], now_s: float, is_wanted: Callable[[], bool]
    ) -> Mapping[str, Decimal]:
        with self._transaction(is_wanted) as sql:
            return {account: self._total(sql, account, now_s) for account in accounts}

    def _renew(self, sql: sqlite3.Connection, now_s: float) -> None:
        """Keep this process's own reservations, and drop those of processes gone silent."""
        sql.execute(
            "UPDATE holds SET until_s = ? WHERE owner = ? AND until_s < ?",
            (now_s + self._hold_s, self._owner, now_s + self._hold_s / 2),
        )
        sql.execute("DELETE FROM holds WHERE until_s <= ?", (now_s,))

    def _total(self, sql: sqlite3.Connection, account: str, now_s: float) -> Decimal:
        rows = sql.execute(
            "SELECT usd FROM holds WHERE account = ? AND (until_s > ? OR owner = ?)",
            (account, now_s, self._owner),
        )
        return _plus(self._settled(sql, account), *(Decimal(usd) for (usd,) in rows))

    @staticmethod
    def _settled(sql: sqlite3.Connection, account: str) -> Decimal:
        row = sql.execute("SELECT spent_usd FROM accounts WHERE name = ?", (account,)).fetchone()
        return _ZERO if row is None else Decimal(row[0])

    @contextmanager
    def _transaction(
        self, is_wanted: Callable[[], bool] = lambda: True
    ) -> Generator[sqlite3.Connection]:
        # While another process has the file, threads queue up here. Those that nobody waits for
        # any more leave, so that there are never more of them than calls.
        while not self._lock.acquire(timeout=_LOOK_EVERY_S):
            if not is_wanted():
                raise _NotWantedError
        try:
            sql = self._open()
            sql.execute("BEGIN IMMEDIATE")  # one writer from the first read on, in all processes
            try:
                yield sql
            except BaseException:
                sql.execute("ROLLBACK")
                raise
            sql.execute("COMMIT")
        finally:
            self._lock.release()

    def _open(self) -> sqlite3.Connection:
        import sqlite3  # only those who use it load it

        if self._process != os.getpid():
            # SQLite's connections do not survive a fork. Nor may the child close it: that would
            # drop the locks of its parent.
            _inherited.append(self._connection)
            self._connection, self._process = None, os.getpid()
            self._owner = uuid.uuid4().hex
        if self._connection is None:
            sql = sqlite3.connect(
                self._path, timeout=0, isolation_level=None, check_same_thread=False
            )
            self._set_up(sql)
            sql.execute(f"PRAGMA busy_timeout = {round(self._busy_s * 1000)}")
            self._connection = sql
        return self._connection

    def _set_up(self, sql: sqlite3.Connection) -> None:
        """Make the file ready.

        Changing the journal's mode needs the file alone. Processes that do so at the same time
        would wait for each other, so each lets go and tries again.
        """
        from sqlite3 import SQLITE_BUSY, OperationalError

        give_up_at = time.monotonic() + self._busy_s
        while True:
            try:
                sql.execute("PRAGMA journal_mode = WAL")
                sql.execute("PRAGMA synchronous = NORMAL")
                sql.executescript(_TABLES)
                return
            except OperationalError as error:
                is_busy = error.sqlite_errorcode & 0xFF == SQLITE_BUSY  # of whatever kind
                if not is_busy or time.monotonic() >= give_up_at:
                    sql.close()
                    raise
                time.sleep(_TRY_AGAIN_S)


class _NotWantedError(Exception):
    """The work was not begun, as nobody waits for it any more."""


class _Abandonable(Generic[T]):
    """Work in a thread whose caller may go away. What it did is undone then.

    Args:
        work: is told by a function whether anybody still waits for it.
        undo: None: there is nothing to undo.
    """

    def __init__(
        self, work: Callable[[Callable[[], bool]], T], undo: Callable[[], None] | None = None
    ) -> None:
        self._work = work
        self._undo = undo
        self._lock = threading.Lock()
        self._is_done = self._is_abandoned = False

    async def in_thread(self) -> T:
        try:
            return await _in_thread(self._run)
        except get_cancelled_exc_class():
            with self._lock:
                self._is_abandoned = True
                is_done = self._is_done
            if is_done and self._undo is not None:
                _in_own_thread(self._undo)
            raise

    def _run(self) -> T:
        done = self._work(lambda: not self._is_abandoned)
        with self._lock:
            self._is_done = True
            is_abandoned = self._is_abandoned
        if is_abandoned and self._undo is not None:
            self._undo()
        return done


class _Once:
    """A piece of work that is done by whoever calls it first."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._first = threading.Lock()

    def __call__(self) -> None:
        if self._first.acquire(blocking=False):
            self._work()


def _in_own_thread(work: Callable[[], None]) -> None:
    """Run `work` though nobody waits for it any more."""
    threading.Thread(target=work, name="cascade-spend").start()


async def _in_thread(work: Callable[[], T]) -> T:
    """Run `work` to its end, though a cancelled caller does not wait for that."""
    try:
        limiter = _limiter.get()
    except LookupError:  # places of its own: never kept waiting by what else runs in threads
        limiter = CapacityLimiter(MAX_THREADS)
        _limiter.set(limiter)
    return await to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)
