"""Answers that were paid for, in SQLite, so that no eval pays for one twice.

An answer is found by what it answers: the model and where it listens, the parameters, the messages
and the number of the sample. Of the request only a digest is stored; the answer is stored whole,
but for the provider's raw response.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock as ThreadLock
from typing import Any, Final, TypeVar, cast

from anyio import CancelScope, Lock, to_thread

from cascade.errors import ConfigError
from cascade.types import Answer, Request, TokenLogprob, ToolCall, Usage

__all__ = ["AnswerCache", "Stored", "digest"]

T = TypeVar("T")

VERSION: Final = 1
_BUSY_S: Final = 60.0
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    answer TEXT NOT NULL,
    latency_s REAL NOT NULL,
    stored_at REAL NOT NULL
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """One answer, and how many seconds it took when it was asked for."""

    answer: Answer[Any] = field(repr=False)
    latency_s: float


@dataclass(slots=True)
class _Turn:
    lock: Lock = field(default_factory=Lock)
    waiting: int = 0


class AnswerCache:
    """A file of answers. Several processes may use it at once.

    Args:
        path: where it is; it is made when it is not there.
        read_only: whether a new answer is refused rather than stored.

    Attributes:
        missed: how many answers were refused.

    Raises:
        ConfigError: it is no file of answers, or is not there and must not be made.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self.missed = 0
        self._turns: dict[str, _Turn] = {}
        self._lock = ThreadLock()
        try:
            self._connection = _connect(path, read_only)
        except sqlite3.Error as error:
            raise ConfigError(f"the answers in {path} cannot be read: {error}") from None

    async def get(self, key: str) -> Stored | None:
        """The answer of that key. None: there is none yet."""
        row = await self._use(
            lambda db: db.execute(
                "SELECT answer, latency_s FROM answers WHERE key = ?", (key,)
            ).fetchone()
        )
        return None if row is None else Stored(_answer(json.loads(row[0])), row[1])

    async def put(self, key: str, model: str, stored: Stored) -> None:
        """Keep an answer; it is on the disk when this returns, cancelled or not."""
        row = (key, model, json.dumps(_plain(stored.answer)), stored.latency_s, time.time())
        with CancelScope(shield=True):  # it is paid for
            await self._use(
                lambda db: db.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)", row)
            )

    async def forget(self, key: str) -> None:
        """Let go of an answer, so that it is asked for again; one that is not there is passed over.

        A file that is only read keeps what it has.
        """
        if not self.read_only:
            await self._use(lambda db: db.execute("DELETE FROM answers WHERE key = ?", (key,)))

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncGenerator[None]:
        """Inside of it nobody else in this process asks for the same answer."""
        turn = self._turns.setdefault(key, _Turn())
        turn.waiting += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                del self._turns[key]

    def __len__(self) -> int:
        with self._lock:
            (count,) = self._connection.execute("SELECT count(*) FROM answers").fetchone()
        return int(count)

    def close(self) -> None:
        """Let go of the file. Closing it again does nothing."""
        with self._lock:
            if not self.read_only:
                # Not while another process has it open too.
                with suppress(sqlite3.OperationalError, sqlite3.ProgrammingError):
                    self._connection.execute("PRAGMA journal_mode = DELETE")
            self._connection.close()

    async def _use(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def locked() -> T:
            with self._lock:
                return work(self._connection)

        return await to_thread.run_sync(locked)


def _connect(path: Path, read_only: bool) -> sqlite3.Connection:
    if read_only:
        if not path.is_file():
            raise ConfigError(f"there is no file of answers {str(path)!r} to replay")
        address = f"{path.resolve().as_uri()}?mode=ro"
        return _checked(path, sqlite3.connect(address, uri=True, **_OPTIONS))
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = _checked(path, sqlite3.connect(path, **_OPTIONS))
    # An answer costs no wait for the disk; while the file is closed it is a single one.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(_SCHEMA)
    connection.execute(f"PRAGMA user_version = {VERSION}")
    return connection


# Each statement is a transaction of its own: an answer is kept as soon as it is there.
_OPTIONS: Final[dict[str, Any]] = {
    "timeout": _BUSY_S,
    "check_same_thread": False,
    "isolation_level": None,
}


def _checked(path: Path, connection: sqlite3.Connection) -> sqlite3.Connection:
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    if version in (0, VERSION):
        return connection
    connection.close()
    raise ConfigError(
        f"the answers in {path} are of version {version}; this cascade reads version {VERSION}: "
        "name another file"
    )


def digest(model: str, request: Request, left_out: frozenset[str]) -> str:
    """What a request to a model is known by, whatever the order of its members.

    Args:
        left_out: parameters that are not sent.
    """
    params = {name: value for name, value in request.params.items() if name not in left_out}
    text = json.dumps([model, request.messages, params], sort_keys=True, default=_comparable)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _comparable(value: Any) -> Any:
    return dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else repr(value)


def _plain(answer: Answer[Any]) -> dict[str, Any]:
    return {
        "text": answer.text,
        # Of a chat the value is the text.
        **({} if answer.value == answer.text else {"value": answer.value}),
        "tool_calls": [list(call) for call in answer.tool_calls],
        "finish_reason": answer.finish_reason,
        "logprobs": None if answer.logprobs is None else [_token(t) for t in answer.logprobs],
        "usage": None if answer.usage is None else asdict(answer.usage),
        "refusal": answer.refusal,
        "reasoning": answer.reasoning,
        "model": answer.model,
    }


def _token(token: TokenLogprob) -> list[Any]:
    utf8 = None if token.utf8 is None else token.utf8.hex()
    return [token.token, token.logprob, [list(one) for one in token.top], utf8]


def _answer(plain: dict[str, Any]) -> Answer[Any]:
    logprobs = plain["logprobs"]
    return Answer(
        value=plain.get("value", plain["text"]),
        text=plain["text"],
        tool_calls=tuple(ToolCall(*call) for call in plain["tool_calls"]),
        finish_reason=plain["finish_reason"],
        logprobs=None if logprobs is None else [_untoken(token) for token in logprobs],
        usage=None if plain["usage"] is None else Usage(**plain["usage"]),
        refusal=plain["refusal"],
        reasoning=plain["reasoning"],
        model=plain["model"],
    )


def _untoken(token: list[Any]) -> TokenLogprob:
    text, logprob, top, utf8 = token
    likeliest = tuple((one, value) for one, value in top)
    return TokenLogprob(text, logprob, likeliest, None if utf8 is None else bytes.fromhex(utf8))
