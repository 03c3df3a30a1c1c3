"""Where a ledger is: its address, the engine that reaches it, and what its errors may say."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from cascade.errors import CascadeError, ConfigError
from cascade.ledger.errors import LedgerError
from cascade.types import add_exactly

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = ["address_of", "code_of", "engine_for", "is_hopeless", "shown", "told"]

Access = Literal["read", "write"]

BUSY_S: Final = 10.0
"""Seconds that an operation waits for other processes that use the same SQLite file."""
_CONNECT_S: Final = 5
_STATEMENT_S: Final = 60
_TRY_AGAIN_S: Final = 0.01


def address_of(source: str | PathLike[str], folder: Path | None = None) -> URL:
    """The address of a ledger.

    Args:
        source: "sqlite:FILE", "postgresql://USER:PASSWORD@HOST/DATABASE", or a file's path.
        folder: where relative paths start. None: the working directory.

    Raises:
        ConfigError: it is neither.
    """
    text = source if isinstance(source, str) else f"sqlite:{os.fspath(source)}"
    kind, colon, rest = text.partition(":")
    if not colon or len(kind) == 1:  # a path, on Windows with its drive
        kind, rest = "sqlite", text
    if kind == "sqlite":
        return _file_address(rest.removeprefix("///"), folder)
    if kind in ("postgres", "postgresql", "postgresql+psycopg"):
        try:
            return make_url(f"postgresql+psycopg:{rest}")
        except (ArgumentError, ValueError):
            raise ConfigError(
                "the address of a ledger cannot be read; write "
                "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
            ) from None
    raise ConfigError(
        f"a ledger's address begins with {kind!r}; write sqlite:FILE or postgresql://..."
    )


def _file_address(file: str, folder: Path | None) -> URL:
    if not file or file == ":memory:":
        raise ConfigError("a ledger needs a file, as in sqlite:ledger.db; in memory: MemoryLedger")
    path = (folder or Path()) / file
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"there is no folder {str(path.parent)!r} for the ledger; make it")
    return URL.create("sqlite", database=str(path.absolute()))


def shown(url: URL) -> str:
    """The address for people: no password and no options, which may hold one too."""
    if url.get_backend_name() == "sqlite":
        return f"sqlite:{url.database}"
    return f"postgresql://{url.host or ''}/{url.database or ''}"


def engine_for(url: URL, access: Access) -> Engine:
    """The engine of a ledger. Connections are not pooled: each user keeps its own.

    Raises:
        ConfigError: the driver is not installed.
    """
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, access)
    return _postgresql(url)


def _postgresql(url: URL) -> Engine:
    try:
        engine = create_engine(
            url,
            poolclass=NullPool,
            hide_parameters=True,
            connect_args={
                "connect_timeout": _CONNECT_S,
                "tcp_user_timeout": _CONNECT_S * 1000,
                "application_name": "cascade",
                "prepare_threshold": None,  # poolers in between may not keep prepared statements
            },
        )
    except ImportError:
        raise ConfigError(
            'a ledger in PostgreSQL needs psycopg; pip install "cascade-engine[postgres]"'
        ) from None

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{_STATEMENT_S}s'")

    return engine


def _sqlite(url: URL, access: Access) -> Engine:
    def connect() -> sqlite3.Connection:
        path = str(url.database)
        mode = "ro" if access == "read" else "rwc"
        connection = sqlite3.connect(
            f"{Path(path).as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_S,
            isolation_level=None,  # transactions begin where the code says so
            check_same_thread=False,  # one at a time, which need not be the same
        )
        connection.create_aggregate("usd_sum", 1, _Sum)  # type: ignore[arg-type, unused-ignore]
        try:
            if access == "write":
                _use_wal(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)
    begin = "BEGIN" if access == "read" else "BEGIN IMMEDIATE"  # one writer from the first read on

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _use_wal(connection: sqlite3.Connection) -> None:
    """Let readers and a writer work at once.

    Changing the journal's mode needs the file alone. Processes that do so at the same time would
    wait for each other, so each tries again.
    """
    give_up_at = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")  # whole after any crash of a process
            return
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() >= give_up_at:
                raise
            time.sleep(_TRY_AGAIN_S)


class _Sum:
    """SQLite's `usd_sum`: exact, on decimal text."""

    def __init__(self) -> None:
        self._total: Decimal | None = None

    def step(self, amount: str | None) -> None:
        from decimal import Decimal

        if amount is not None:
            known = Decimal(0) if self._total is None else self._total
            self._total = add_exactly((known, Decimal(amount)))

    def finalize(self) -> str | None:
        return None if self._total is None else str(self._total)


@contextmanager
def told(url: URL) -> Generator[None]:
    """Raises what the database says as a LedgerError, without statements, values or secrets."""
    try:
        yield
    except Exception as error:
        if not _is_of_database(error):
            raise
        failure = LedgerError(f"the ledger {shown(url)} cannot be used: {code_of(error)}")
    else:
        return
    raise failure  # outside of the except block: what was raised there may hold values


def code_of(error: Exception) -> str:
    """What went wrong: SQLite's name or the SQLSTATE, else the kind of the error."""
    cause = _cause(error)
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    return str(code or type(cause).__name__)


def is_hopeless(error: Exception) -> bool:
    """Whether the values are why a statement failed, so that trying it again is no use."""
    cause = _cause(error)
    if isinstance(cause, sqlite3.Error):
        return isinstance(cause, _REFUSED_BY_SQLITE)
    if _is_of_database(error):
        return any(kind.__name__ in ("DataError", "IntegrityError") for kind in type(cause).__mro__)
    return not isinstance(cause, CascadeError)


_REFUSED_BY_SQLITE: Final = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)


def _cause(error: Exception) -> BaseException:
    """The driver's own error, which SQLAlchemy wraps unless the driver was used directly."""
    return (error.orig or error) if isinstance(error, DBAPIError) else error


def _is_of_database(error: Exception) -> bool:
    if isinstance(error, SQLAlchemyError | sqlite3.Error | OSError):
        return True
    return type(error).__module__.partition(".")[0] == "psycopg"
