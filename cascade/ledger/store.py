"""Stores batches of calls in SQLite or PostgreSQL, each batch wholly or not at all.

What SQLAlchemy does for each row would cost more than the row, so rows go to the drivers in bulk:
to SQLite as few statements of many rows, which run without Python's global lock; to PostgreSQL by
COPY. All else is the same code for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from itertools import chain
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL

from cascade.ledger import tables
from cascade.ledger.database import code_of, engine_for, is_hopeless
from cascade.ledger.errors import LedgerVersionError
from cascade.ledger.feedback import Outcome
from cascade.ledger.rows import Record, Row
from cascade.ledger.schema import prepare

__all__ = ["SqlStore"]

_MOST_VALUES: Final = 32_766  # in one SQLite statement
_PRUNE_CALLS: Final = 5_000  # in one transaction, so that others need not wait for long

_inherited: list[object] = []


class SqlStore:
    """The tables of one ledger, for one writer.

    Args:
        url: where they are.
    """

    def __init__(self, url: URL) -> None:
        self._engine: Engine = engine_for(url, "write")
        self._upgrades = url.get_backend_name() == "sqlite"
        self._connection: Connection | None = None

    def write(self, records: Sequence[Record], outcomes: Sequence[Outcome], *, again: bool) -> None:
        """Store one batch.

        Args:
            again: whether a part of it may be stored already: its last try was cut off.

        Raises:
            Exception: it could not be stored; nothing of it was.
        """
        connection = self._open()
        try:
            with connection.begin():
                if again:
                    records = self._new(connection, records)
                if records:
                    self._insert(connection, records)
                if outcomes:
                    self._upsert(connection, outcomes)
        except BaseException:
            self.close()
            raise

    def prune_some(
        self, *, rows_before: float | None, contents_before: float | None
    ) -> tuple[int, bool]:
        """Delete some of what is older than these Unix times. None: nothing is too old.

        Returns:
            how many calls were deleted, and whether there may be more.
        """
        connection = self._open()
        texts = calls = 0
        try:
            with connection.begin():
                if contents_before is not None:
                    texts = _prune_contents(connection, contents_before)
                if rows_before is not None:
                    calls = _prune_calls(connection, rows_before)
        except BaseException:
            self.close()
            raise
        return calls, _PRUNE_CALLS in (texts, calls)

    def close(self) -> None:
        """Let go of the connection. The next operation opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # it may be what broke
                connection.close()

    def forget(self) -> None:
        """In a forked process: leave the connection alone, which is the parent's."""
        _inherited.append(self._connection)
        self._connection = None

    def is_hopeless(self, error: Exception) -> bool:
        """Whether the batch itself is why it cannot be stored, so that trying again is no use."""
        return is_hopeless(error)

    def code_of(self, error: Exception) -> str:
        """What went wrong: SQLite's name or the SQLSTATE, else the kind of the error."""
        return code_of(error)

    def open(self) -> None:
        """Open it now. Raises what keeps it from being opened."""
        self._open()

    def _open(self) -> Connection:
        if self._connection is None:
            connection = self._engine.connect()
            try:
                with connection.begin():
                    prepare(connection, may_upgrade=self._upgrades)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _new(self, connection: Connection, records: Sequence[Record]) -> list[Record]:
        """Those of the records that are not stored yet, each once."""
        by_id = {record.id: record for record in records}
        stored = connection.scalars(
            select(tables.calls.c.id).where(tables.calls.c.id.in_(list(by_id)))
        )
        for known in stored:
            del by_id[known]
        return list(by_id.values())

    def _insert(self, connection: Connection, records: Sequence[Record]) -> None:
        counters = tables.counters
        calls = counters.c.name == "calls"
        connection.execute(
            update(counters).where(calls).values(value=counters.c.value + len(records))
        )
        last = connection.scalar(select(counters.c.value).where(calls))
        if last is None:
            raise LedgerVersionError("the ledger's table of counters is empty", found=None)
        numbered = list(enumerate(records, last - len(records) + 1))
        for table, rows in (
            (tables.calls, [(seq, *record.call) for seq, record in numbered]),
            (tables.attempts, [(seq, *row) for seq, one in numbered for row in one.attempts]),
            (tables.verdicts, [(seq, *row) for seq, one in numbered for row in one.verdicts]),
            (tables.charges, [(seq, *row) for seq, one in numbered for row in one.charges]),
            (tables.contents, [(seq, *row) for seq, one in numbered for row in one.contents]),
        ):
            if rows:
                _insert_rows(connection, table, rows)

    def _upsert(self, connection: Connection, outcomes: Sequence[Outcome]) -> None:
        table = tables.outcomes
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        statement = dialect.insert(table)
        told = {name: statement.excluded[name] for name in ("at", "correct", "score", "label")}
        statement = statement.on_conflict_do_update(index_elements=["call_id", "by"], set_=told)
        last_words = {(one.call_id, one.by): one._asdict() for one in outcomes}
        connection.execute(statement, list(last_words.values()))


def _prune_calls(connection: Connection, before: float) -> int:
    calls, outcomes = tables.calls, tables.outcomes
    old = select(calls.c.seq).where(calls.c.started_at < before)
    seqs = list(connection.scalars(old.order_by(calls.c.seq).limit(_PRUNE_CALLS)))
    for table in (tables.attempts, tables.verdicts, tables.charges, tables.contents):
        connection.execute(delete(table).where(table.c.call_seq.in_(seqs)))
    connection.execute(delete(calls).where(calls.c.seq.in_(seqs)))
    connection.execute(delete(outcomes).where(outcomes.c.at < before))
    return len(seqs)


def _prune_contents(connection: Connection, before: float) -> int:
    calls, contents = tables.calls, tables.contents
    old = select(contents.c.call_seq).join(calls, calls.c.seq == contents.c.call_seq)
    old = old.where(calls.c.started_at < before).distinct().limit(_PRUNE_CALLS)
    seqs = list(connection.scalars(old))
    connection.execute(delete(contents).where(contents.c.call_seq.in_(seqs)))
    return len(seqs)


def _insert_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows that hold a value for every column, in the order of the columns."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "postgresql":
        with driver.cursor() as cursor, cursor.copy(f"COPY {_into(table)} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        return
    for part in _parts(rows, _MOST_VALUES // len(table.columns)):
        driver.execute(_insert_many(table, len(part)), list(chain.from_iterable(part)))


def _into(table: Table) -> str:
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    return f"{table.name} ({columns})"


@cache
def _insert_many(table: Table, rows: int) -> str:
    """SQLite's statement that inserts so many rows at once."""
    row = f"({', '.join('?' * len(table.columns))})"
    return f"INSERT INTO {_into(table)} VALUES {', '.join([row] * rows)}"  # noqa: S608 - own names


def _parts(rows: Sequence[Row], most: int) -> Iterable[Sequence[Row]]:
    """Slices whose lengths are powers of two: few statements, which the driver keeps prepared."""
    start = 0
    while left := len(rows) - start:
        size = 1 << (min(left, most).bit_length() - 1)
        yield rows[start : start + size]
        start += size
