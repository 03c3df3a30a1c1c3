"""`JsonLines`: one JSON object a call, appended to a file."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final

from cascade.errors import ConfigError
from cascade.ledger.content import ContentKept, Converter, Redact
from cascade.ledger.feedback import Outcome, outcome_of
from cascade.ledger.rows import (
    ATTEMPT_COLUMNS,
    CALL_COLUMNS,
    CHARGE_COLUMNS,
    VERDICT_COLUMNS,
    Record,
    Row,
)
from cascade.ledger.writing import BUFFER_BYTES, BackgroundWriter
from cascade.options import check_count, check_seconds
from cascade.types import Result

__all__ = ["JsonLines"]

_CHARGE_KEYS: Final = CHARGE_COLUMNS[1:]  # the attempt they belong to is around them
_VERDICT_KEYS: Final = VERDICT_COLUMNS[1:]
_TEXTS: Final = ("answer", "value")


class JsonLines:
    """Appends one JSON object a call to a file, its attempts, verdicts and charges in it.

    Lines are appended whole, so that several processes may share the file. Money is decimal text.
    Rotate the file with what the system has for it: it is opened anew for each batch.

    Args:
        path: the file; made if it is not there. Its folder has to exist.
        content: as for a `Ledger`.
        redact: as for a `Ledger`.
        window_s: as for a `Ledger`.
        buffer: as for a `Ledger`.
        buffer_bytes: as for a `Ledger`.

    Raises:
        ConfigError: the options do not fit together.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        content: ContentKept = "none",
        redact: Redact | Iterable[Redact] = (),
        window_s: float = 0.25,
        buffer: int = 50_000,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        check_seconds("window_s", window_s)
        check_count("buffer", buffer, least=1)
        check_count("buffer_bytes", buffer_bytes, least=1)
        self._path = Path(path).absolute()
        if not self._path.parent.is_dir():
            raise ConfigError(f"there is no folder {str(self._path.parent)!r}; make it")
        self._converter = Converter(content, redact)
        self._writer = BackgroundWriter(
            _Lines(self._path),
            self._converter,
            name=str(self._path),
            window_s=window_s,
            buffer=buffer,
            buffer_bytes=buffer_bytes,
        )

    def record(self, result: Result[Any]) -> None:
        """Have a call appended. Returns at once."""
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
        """Append what came of an answer, as a line `{"outcome": ...}`; see `Ledger`."""
        at = time.time()
        self._writer.put(
            outcome_of(request_id, by=by, at=at, correct=correct, score=score, label=label)
        )

    @property
    def lost(self) -> int:
        """How many lines were dropped, because they could not be written."""
        return self._writer.lost

    @property
    def dropped_contents(self) -> int:
        """How many texts were not written because a redaction broke."""
        return self._converter.dropped

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Write what waits; blocks for it. Returns whether nothing waits any more."""
        return self._writer.flush(timeout_s)

    def close(self, timeout_s: float = 10.0) -> bool:
        """Write what waits; blocks for it. Returns whether all was written."""
        return self._writer.close(timeout_s)

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<JsonLines {self._path}>"


class _Lines:
    """Appends batches to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_torn = False

    def write(self, records: Sequence[Record], outcomes: Sequence[Outcome], *, again: bool) -> None:
        lines = [as_json(record) for record in records]
        lines += [json.dumps({"outcome": outcome._asdict()}) for outcome in outcomes]
        text = "".join(f"{line}\n" for line in lines).encode()
        if self._is_torn:  # the last batch broke off in the middle of a line
            text = b"\n" + text
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            self._append(file, text)
        finally:
            os.close(file)

    def _append(self, file: int, text: bytes) -> None:
        start = os.fstat(file).st_size
        written = 0
        try:
            while written < len(text):
                written += os.write(file, text[written:])
        except OSError:
            # The whole batch is written again later. Nothing is left of it, unless another process
            # has appended in the meantime.
            if os.fstat(file).st_size == start + written:
                os.ftruncate(file, start)
            else:
                self._is_torn = True
            raise
        self._is_torn = False

    def is_hopeless(self, error: Exception) -> bool:
        return not isinstance(error, OSError)

    def code_of(self, error: Exception) -> str:
        if isinstance(error, OSError) and error.errno is not None:
            return errno.errorcode.get(error.errno, "OSError")
        return type(error).__name__

    def close(self) -> None:
        """Nothing is open between batches."""

    def forget(self) -> None:
        """Nothing is open between batches."""


def as_json(record: Record) -> str:
    """One call as JSON."""
    call: dict[str, Any] = dict(zip(CALL_COLUMNS, record.call, strict=True))
    call["plan"] = json.loads(call["plan"] or "[]")
    for labels in ("signals", "metadata"):
        call[labels] = json.loads(call[labels]) if call[labels] else {}
    kept = {(attempt, kind): text for attempt, kind, text in record.contents}
    sent = next((text for _, kind, text in record.contents if kind == "request"), None)
    if sent is not None:
        call["request"] = json.loads(sent)
    call["attempts"] = [
        {
            **dict(zip(ATTEMPT_COLUMNS, row, strict=True)),
            "verdicts": _of_attempt(record.verdicts, row[0], _VERDICT_KEYS),
            "charges": _of_attempt(record.charges, row[0], _CHARGE_KEYS),
            **{kind: kept[row[0], kind] for kind in _TEXTS if (row[0], kind) in kept},
        }
        for row in record.attempts
    ]
    return json.dumps(call, default=str)


def _of_attempt(rows: list[Row], attempt: int, keys: Sequence[str]) -> list[dict[str, Any]]:
    return [dict(zip(keys, row[1:], strict=True)) for row in rows if row[0] == attempt]
