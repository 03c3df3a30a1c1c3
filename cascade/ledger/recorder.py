"""`Ledger`: stores every call of the cascades that it observes, in SQLite or PostgreSQL."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.errors import ConfigError
from cascade.ledger.content import ContentKept, Converter, Redact
from cascade.ledger.feedback import outcome_of
from cascade.ledger.needed import needs_sqlalchemy
from cascade.ledger.writing import BUFFER_BYTES, BackgroundWriter
from cascade.options import check_count, check_seconds
from cascade.types import Result

if TYPE_CHECKING:
    from cascade.ledger.read import Reader

__all__ = ["Ledger"]

DAY_S = 86_400.0


class Ledger:
    """One row a call, and one an attempt, verdict and charge, in SQLite or PostgreSQL.

        ledger = Ledger("sqlite:ledger.db")
        support = Cascade(tiers=[small, large], observers=[ledger])

    Calls wait for nothing: rows are written by a thread, a batch at a time. It begins with the
    first call, and what waits is written when the program ends, Ctrl-C included; `close` does so
    earlier. If the disk is full or the database down, calls go on and rows wait, up to `buffer`
    calls or `buffer_bytes` of content; then the oldest are dropped, counted in `lost` and logged.

    Args:
        source: "sqlite:FILE", a file's path, or "postgresql://USER:PASSWORD@HOST/DATABASE".
        content: "none"; "answers": the text of every answer as well; or "all": the request too.
        redact: functions `(text) -> text` that content goes through before it is stored. If one
            raises, that text is not stored, and counted in `dropped_contents`.
        retention_days: how long calls are kept. None: for ever.
        content_days: how long their content is kept. None: as long as the calls.
        window_s: how long a call waits at most to be written with others: what a killed process
            may lose.
        buffer: how many calls are held in memory while they cannot be written.
        buffer_bytes: about how much of their content is.
        folder: where a relative path starts. None: the working directory.

    Raises:
        ConfigError: the options do not fit together, or a package is missing.
    """

    def __init__(
        self,
        source: str | PathLike[str] = "sqlite:ledger.db",
        *,
        content: ContentKept = "none",
        redact: Redact | Iterable[Redact] = (),
        retention_days: float | None = None,
        content_days: float | None = None,
        window_s: float = 0.25,
        buffer: int = 50_000,
        buffer_bytes: int = BUFFER_BYTES,
        folder: Path | None = None,
    ) -> None:
        needs_sqlalchemy()
        from cascade.ledger.database import address_of, shown
        from cascade.ledger.store import SqlStore

        _check_days("retention_days", retention_days)
        _check_days("content_days", content_days)
        check_seconds("window_s", window_s)
        check_count("buffer", buffer, least=1)
        check_count("buffer_bytes", buffer_bytes, least=1)
        if content_days is not None and content == "none":
            raise ConfigError('content_days has no effect with content="none"; leave it out')
        self._converter = Converter(content, redact)
        self._retention_days = retention_days
        self._content_days = content_days
        self._url = address_of(source, folder)
        self._name = shown(self._url)
        self._store = SqlStore(self._url)
        is_kept_for_ever = retention_days is None and content_days is None
        self._writer = BackgroundWriter(
            self._store,
            self._converter,
            name=self._name,
            window_s=window_s,
            buffer=buffer,
            buffer_bytes=buffer_bytes,
            tidy=None if is_kept_for_ever else lambda: self._prune_some()[1],
        )

    def record(self, result: Result[Any]) -> None:
        """Have a call stored. Returns at once."""
        self._writer.put(result)

    def record_outcome(
        self,
        request_id: str,
        *,
        correct: bool | None = None,
        score: float | None = None,
        label: str | None = None,
        by: str = "user",
    ) -> None:
        """What came of an answer, told later: joins the call by its id. Returns at once.

        A call may be judged by several; of each the last word counts. The call need not be stored
        yet, nor in this process.

        Args:
            request_id: the call's `Result.id`.
            correct: whether the answer was right. None: not said.
            score: from 0 (useless) to 1 (perfect). None: not said.
            label: a word for it, such as "refunded". None: not said.
            by: who says so.

        Raises:
            ConfigError: nothing is said, or a value is no such thing.
        """
        at = time.time()
        self._writer.put(
            outcome_of(request_id, by=by, at=at, correct=correct, score=score, label=label)
        )

    @property
    def lost(self) -> int:
        """How many calls and outcomes were dropped, because they could not be stored."""
        return self._writer.lost

    @property
    def pending(self) -> int:
        """How many calls and outcomes wait to be stored."""
        return self._writer.pending

    @property
    def dropped_contents(self) -> int:
        """How many texts were not stored because a redaction broke."""
        return self._converter.dropped

    def open(self) -> None:
        """Open the ledger now rather than with the first call, to learn what is wrong with it.

        Raises:
            LedgerError: it cannot be opened, or its tables are of another version.
        """
        from cascade.ledger.database import told

        with self._writer.lock, told(self._url):
            self._store.open()

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Write what waits; blocks for it. Returns whether nothing waits any more."""
        return self._writer.flush(timeout_s)

    def close(self, timeout_s: float = 10.0) -> bool:
        """Write what waits and let go of the ledger; blocks for it. A later call opens it again.

        Returns:
            whether all was written. What was not is dropped, counted and logged.
        """
        return self._writer.close(timeout_s)

    def prune(self) -> int:
        """Delete what is kept for too long; blocks for it. Once an hour it is done by itself.

        Returns:
            how many calls were deleted.

        Raises:
            LedgerError: the ledger cannot be reached.
        """
        from cascade.ledger.database import told

        deleted, is_more = 0, True
        while is_more:
            with self._writer.lock, told(self._url):
                calls, is_more = self._prune_some()
            deleted += calls
        return deleted

    def _prune_some(self) -> tuple[int, bool]:
        now = time.time()

        def before(days: float | None) -> float | None:
            return None if days is None else now - days * DAY_S

        return self._store.prune_some(
            rows_before=before(self._retention_days), contents_before=before(self._content_days)
        )

    def reader(self) -> Reader:
        """What reads this ledger. Raises LedgerError when it cannot be reached."""
        from cascade.ledger.read import Reader

        return Reader(self._url)

    @staticmethod
    def open_for_reading(source: str | PathLike[str], folder: Path | None = None) -> Reader:
        """What reads the ledger at an address, which is as for a `Ledger`.

        Raises:
            NoLedgerError: there is none yet.
            LedgerError: it cannot be reached, or its tables are of another version.
            ConfigError: it is no address, or a package is missing.
        """
        needs_sqlalchemy()
        from cascade.ledger.database import address_of
        from cascade.ledger.read import Reader

        return Reader(address_of(source, folder))

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Ledger {self._name}>"


def _check_days(option: str, days: float | None) -> None:
    is_number = isinstance(days, int | float) and not isinstance(days, bool)
    if days is not None and not (is_number and 0 < days < math.inf):
        raise ConfigError(f"{option}={days!r}; give days above 0, or leave it out to keep all")
