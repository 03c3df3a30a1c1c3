"""Reads a ledger: calls in their order, one by its id, the newest, or any query of one's own."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, Executable, Table, func, select
from sqlalchemy.engine import URL
from sqlalchemy.sql.elements import ColumnElement

from cascade.errors import ConfigError
from cascade.ledger.database import engine_for, shown, told
from cascade.ledger.errors import LedgerError, NoLedgerError
from cascade.ledger.schema import check_readable
from cascade.ledger.stored import (
    StoredAttempt,
    StoredCall,
    StoredCharge,
    StoredOutcome,
    StoredVerdict,
)
from cascade.ledger.tables import attempts, calls, charges, contents, outcomes, verdicts

__all__ = ["Reader", "When"]

When: TypeAlias = float | datetime
"""A moment: Unix time, or a datetime with its time zone."""

_PAGE: Final = 2_000  # calls read at once


class Reader:
    """Reads one ledger, while others write it. Close it, or use it in a `with`.

    Every page and query is a transaction of its own, so that a slow reader holds nobody up.

    Attributes:
        name: the ledger's address for people, without secrets.

    Raises:
        NoLedgerError: there is none yet.
        LedgerError: it cannot be reached, or its tables are of another version.
    """

    def __init__(self, url: URL) -> None:
        self._url = url
        self.name = shown(url)
        if url.get_backend_name() == "sqlite" and not Path(str(url.database)).is_file():
            raise NoLedgerError(self.name)
        self._engine = engine_for(url, "read")
        with told(url):
            self._connection: Connection = self._engine.connect()
        try:
            with self._transaction() as connection:
                check_readable(connection, self.name)
        except BaseException:
            self.close()
            raise

    def calls(
        self,
        *,
        since: When | None = None,
        until: When | None = None,
        cascade: str | None = None,
        path: str | None = None,
        tenant: str | None = None,
        after: int = 0,
        limit: int | None = None,
        with_content: bool = False,
    ) -> Iterator[StoredCall]:
        """Calls with all that belongs to them, in the order in which they were stored.

        Args:
            since, until: only calls that started at or after, and before. None: no bound.
            cascade, path, tenant: only those. None: all.
            after: only calls whose `seq` is higher.
            limit: so many at most. None: all.
            with_content: whether the request and the answers come with them, where they are stored.
        """
        wanted = where(since=since, until=until, cascade=cascade, path=path, tenant=tenant)
        left = limit
        while left is None or left > 0:
            most = _PAGE if left is None else min(_PAGE, left)
            page = select(calls).where(*wanted, calls.c.seq > after)
            found = self._whole(page.order_by(calls.c.seq).limit(most), with_content)
            yield from found
            if len(found) < most:
                return
            after = found[-1].seq
            left = None if left is None else left - len(found)

    def call(self, id: str, *, with_content: bool = True) -> StoredCall | None:
        """The call of that id, or the only one whose id begins so. None: there is none.

        Raises:
            LedgerError: several begin so.
        """
        exact = self._whole(select(calls).where(calls.c.id == id), with_content)
        if exact or not id:
            return exact[0] if exact else None
        begins = calls.c.id.startswith(id, autoescape=True)
        found = self._whole(select(calls).where(begins).limit(2), with_content)
        if len(found) > 1:
            raise LedgerError(f"several calls in {self.name} have an id that begins {id!r}")
        return found[0] if found else None

    def newest(self, limit: int, *, with_content: bool = False) -> list[StoredCall]:
        """The calls stored last, the oldest of them first."""
        statement = select(calls).order_by(calls.c.seq.desc()).limit(limit)
        return self._whole(statement, with_content)[::-1]

    def last_seq(self) -> int:
        """The number of the call stored last, to go on from with `calls(after=...)`. 0: none."""
        ((last,),) = self.rows(select(func.coalesce(func.max(calls.c.seq), 0)))
        return int(last)

    def rows(self, statement: Executable) -> Sequence[Any]:
        """The rows of a query of your own on `cascade.ledger.tables`.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        with self._transaction() as connection:
            return connection.execute(statement).all()

    def close(self) -> None:
        """Let go of the ledger."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Generator[Connection]:
        with told(self._url), self._connection.begin():
            yield self._connection

    def _whole(self, statement: Executable, with_content: bool) -> list[StoredCall]:
        with self._transaction() as connection:
            found = connection.execute(statement).all()
            seqs = [row.seq for row in found]
            ids = [row.id for row in found]
            if not found:
                return []
            texts = _rows_of(connection, contents, seqs) if with_content else {}
            tries = _attempts(
                _rows_of(connection, attempts, seqs),
                _rows_of(connection, verdicts, seqs),
                _rows_of(connection, charges, seqs),
                texts,
            )
            said = _outcomes(connection, ids)
        return [
            _call(row, tries.get(row.seq, ()), said.get(row.id, ()), texts.get(row.seq, ()))
            for row in found
        ]

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Reader {self.name}>"


def where(
    *,
    since: When | None = None,
    until: When | None = None,
    cascade: str | None = None,
    path: str | None = None,
    tenant: str | None = None,
) -> list[ColumnElement[bool]]:
    """The conditions on `calls` that such a choice comes to; for queries of one's own."""
    wanted: list[ColumnElement[bool]] = []
    if since is not None:
        wanted.append(calls.c.started_at >= unix(since))
    if until is not None:
        wanted.append(calls.c.started_at < unix(until))
    given = {calls.c.cascade: cascade, calls.c.path: path, calls.c.tenant: tenant}
    wanted += [column == value for column, value in given.items() if value is not None]
    return wanted


def unix(when: When) -> float:
    """A moment as Unix time. Raises ConfigError for a datetime without a time zone."""
    if not isinstance(when, datetime):
        return when
    if when.tzinfo is None:
        raise ConfigError(f"{when.isoformat()} has no time zone; give it one, such as UTC")
    return when.timestamp()


def _rows_of(connection: Connection, table: Table, seqs: Sequence[int]) -> dict[int, list[Any]]:
    """The rows of some calls, by call. Mostly they are neighbours: a range reads them quickest."""
    column = table.c.call_seq
    low, high = min(seqs), max(seqs)
    chosen = column.between(low, high) if high - low < 2 * len(seqs) else column.in_(seqs)
    found: dict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(select(table).where(chosen).order_by(*table.primary_key)).all():
        found[row[0]].append(row)
    return found


def _attempts(
    tries: Mapping[int, Iterable[Any]],
    judged: Mapping[int, Iterable[Any]],
    billed: Mapping[int, Iterable[Any]],
    texts: Mapping[int, Iterable[Any]],
) -> dict[int, tuple[StoredAttempt, ...]]:
    made: dict[int, tuple[StoredAttempt, ...]] = {}
    for seq, rows in tries.items():
        verdicts_of: dict[int, list[StoredVerdict]] = defaultdict(list)
        charges_of: dict[int, list[StoredCharge]] = defaultdict(list)
        for row in judged.get(seq, ()):
            verdicts_of[row[1]].append(StoredVerdict(*row[2:]))
        for row in billed.get(seq, ()):
            charges_of[row[1]].append(StoredCharge(*row[2:]))
        kept = {(text.attempt, text.kind): text.text for text in texts.get(seq, ())}
        made[seq] = tuple(
            _attempt(row, verdicts_of.get(row[1], ()), charges_of.get(row[1], ()), kept)
            for row in rows
        )
    return made


def _attempt(
    row: Any,
    judged: Iterable[StoredVerdict],
    billed: Iterable[StoredCharge],
    kept: Mapping[tuple[int, str], str],
) -> StoredAttempt:
    texts = [kept.get((row.number, kind)) for kind in ("answer", "value")]
    fields: list[Any] = [*row[1:], tuple(judged), tuple(billed), *texts]
    return StoredAttempt(*fields)


def _outcomes(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[StoredOutcome, ...]]:
    chosen = select(outcomes).where(outcomes.c.call_id.in_(ids)).order_by(outcomes.c.at)
    found: dict[str, list[StoredOutcome]] = defaultdict(list)
    for row in connection.execute(chosen):
        found[row.call_id].append(StoredOutcome(*row[1:]))
    return {call: tuple(told) for call, told in found.items()}


def _call(
    row: Any,
    tries: tuple[StoredAttempt, ...],
    said: tuple[StoredOutcome, ...],
    texts: Iterable[Any],
) -> StoredCall:
    *columns, plan, signals, metadata = row
    sent = next((text.text for text in texts if text.kind == "request"), None)
    request = None if sent is None else _mapping(sent)
    facts = (tuple(json.loads(plan or "[]")), _mapping(signals), _mapping(metadata))
    fields: list[Any] = [*columns, *facts, tries, said, request]
    return StoredCall(*fields)


def _mapping(text: str | None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text) if text else {}
    return found
