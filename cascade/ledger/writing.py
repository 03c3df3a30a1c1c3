"""Results on their way to where they are stored: bounded, in a thread, never in a call's way.

`put` appends to a queue and returns. A thread of its own, tied to no event loop, turns what is
there into rows and stores it, a batch at a time. What cannot be stored is tried again; once the
buffer is full the oldest is dropped, counted and logged.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias

from cascade.ledger.feedback import Outcome
from cascade.ledger.forking import survive_forks
from cascade.ledger.held import Held, Written
from cascade.ledger.rows import Record
from cascade.ledger.trouble import Trouble
from cascade.logs import warn
from cascade.types import Result

__all__ = ["BUFFER_BYTES", "BackgroundWriter", "Item", "Store"]

Item: TypeAlias = Result[Any] | Outcome

BATCH: Final = 1_000
BATCH_BYTES: Final = 16 * 1024 * 1024
BUFFER_BYTES: Final = 256 * 1024 * 1024
_TAKE_IN_EVERY_S: Final = 0.25
_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 5.0
_TIDY_EVERY_S: Final = 3600.0
_EXIT_S: Final = 10.0


class Store(Protocol):
    """Where batches go. One thread at a time uses it."""

    def write(self, records: Sequence[Record], outcomes: Sequence[Outcome], *, again: bool) -> None:
        """Store one batch, wholly or not at all; it raises when it is not.

        Args:
            again: a part of it may be stored already, and has to be left out.
        """
        ...

    def is_hopeless(self, error: Exception) -> bool:
        """Whether the batch itself is at fault, so that trying it again is no use."""
        ...

    def code_of(self, error: Exception) -> str:
        """What went wrong as a short code, for logs."""
        ...

    def close(self) -> None:
        """Let go of what is open. The next batch opens it again."""
        ...

    def forget(self) -> None:
        """In a forked process: leave alone what is open, for it is the parent's."""
        ...


class BackgroundWriter:
    """Takes results from any thread and event loop, and has them stored.

    Args:
        store: where they go.
        convert: the rows of a result. It runs in the writer's thread.
        name: of the ledger, for logs.
        window_s: seconds that a result waits at most for others to be stored with it.
        buffer: how many results are held while they cannot be stored.
        buffer_bytes: about how many bytes of their content are.
        tidy: some of what is to be done about once an hour, such as deleting what is old; it
            returns whether more is left to do. None: nothing.

    Attributes:
        stored: how many calls and outcomes were stored.
        lock: held while a batch is stored.
    """

    def __init__(
        self,
        store: Store,
        convert: Callable[[Result[Any]], Record],
        *,
        name: str,
        window_s: float,
        buffer: int,
        buffer_bytes: int = BUFFER_BYTES,
        tidy: Callable[[], bool] | None = None,
    ) -> None:
        self._store = store
        self._convert = convert
        self._name = name
        self._window_s = window_s
        self._buffer = buffer
        self._buffer_bytes = buffer_bytes
        self._tidy = tidy
        self._renew()
        survive_forks(self)

    def _renew(self) -> None:
        self.stored = 0
        self.lock = threading.Lock()
        self._trouble = Trouble(self._name)
        self._queue: deque[Item] = deque()
        self._backlog = Held()
        self._wake_at = 0  # the length of the queue above which somebody has to look at it
        self._bell = threading.Event()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._again = False
        self._tidy_at = time.monotonic()

    def begin_afresh(self) -> None:
        """In a forked process: the parent stores what waits here."""
        self._store.forget()
        self._renew()

    @property
    def pending(self) -> int:
        """How many wait to be stored."""
        return len(self._queue) + len(self._backlog)

    @property
    def lost(self) -> int:
        """How many were dropped."""
        return self._trouble.lost

    def put(self, item: Item) -> None:
        """Have it stored. Returns at once."""
        queue = self._queue
        queue.append(item)
        if len(queue) > self._wake_at:
            self._attend()

    def flush(self, timeout_s: float) -> bool:
        """Store what waits, in this thread. Returns whether nothing waits any more."""
        give_up_at = time.monotonic() + timeout_s
        while True:
            # What the writer's thread took is in no queue until it is stored, or cannot be.
            if not self.lock.acquire(timeout=max(0.0, give_up_at - time.monotonic())):
                return False
            try:
                is_stored = not self.pending or self._write_batch()
                is_empty = not self.pending  # without the lock, a batch that will fail may be out
            finally:
                self.lock.release()
            if is_empty:
                return True
            left_s = give_up_at - time.monotonic()
            if left_s <= 0:
                return False
            if not is_stored:
                time.sleep(min(_FIRST_WAIT_S, left_s))

    def close(self, timeout_s: float) -> bool:
        """Store what waits, end the thread, and let go of the store; a later `put` goes on.

        Returns:
            whether all was stored. What was not counts as lost.
        """
        give_up_at = time.monotonic() + timeout_s
        thread, self._thread = self._thread, None
        self._end.set()
        self._bell.set()
        is_stored = self.flush(timeout_s)
        if thread is not None:
            thread.join(max(0.0, give_up_at - time.monotonic()))
        self._drop(0, "closed")
        self._trouble.tell(at_once=True)
        if self.lock.acquire(blocking=False):  # else a batch hangs: its thread may have the store
            self._store.close()
            self.lock.release()
        self._wake_at = 0
        atexit.unregister(self._at_exit)
        return is_stored

    def _at_exit(self) -> None:
        self.close(_EXIT_S)

    def _attend(self) -> None:
        """The queue is longer than it should be: there is work for the thread, or too much."""
        if self._thread is None:
            self._start()
        self._drop(self._buffer, "buffer_full")
        self._wake_at = self._room()
        self._bell.set()

    def _room(self) -> int:
        """How long the queue may become before the oldest has to be dropped."""
        return max(0, self._buffer - len(self._backlog))

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None:
                return
            self._end = threading.Event()
            thread = threading.Thread(
                target=self._run, args=(self._end,), name="cascade-ledger", daemon=True
            )
            atexit.register(self._at_exit)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is ending: `_at_exit` stores what there is
                return
            self._thread = thread

    def _run(self, end: threading.Event) -> None:
        while not end.is_set():
            self._wake_at = 0
            if not self.pending:
                self._bell.wait()
            self._bell.clear()
            self._wake_at = min(BATCH - 1, self._room())
            if self.pending < BATCH and not end.is_set():
                self._bell.wait(self._window_s)
            self._write_all(end)
            self._tidy_up(end)

    def _write_all(self, end: threading.Event) -> None:
        """Store what waits, trying again for as long as that takes."""
        wait_s = _FIRST_WAIT_S
        while self.pending and not end.is_set():
            with self.lock:
                is_stored = self._write_batch()
            if not end.is_set():
                self._wake_at = self._room()
            if not is_stored:
                self._wait(wait_s, end)
                wait_s = min(_LONGEST_WAIT_S, 2 * wait_s)
            elif self.pending < BATCH:
                return

    def _wait(self, wait_s: float, end: threading.Event) -> None:
        """Wait before the next try. What comes in meanwhile becomes rows, whose size is known."""
        until = time.monotonic() + wait_s
        while (left_s := until - time.monotonic()) > 0:
            if end.wait(min(left_s, _TAKE_IN_EVERY_S)):
                return
            with self.lock:
                self._take_in()

    def _write_batch(self) -> bool:
        """Store some of what waits. Returns False when it could not be, and waits on."""
        self._take_in()
        batch = self._backlog.take(BATCH, BATCH_BYTES)
        parts = [batch] if batch else []
        while parts:
            part = parts.pop()
            try:
                self._write(part)
            except Exception as error:
                code = self._store.code_of(error)
                if not self._store.is_hopeless(error):
                    self._put_back([*parts, part])
                    self._trouble.down(error, code, self.pending)
                    return False
                parts += self._smaller(part, code)
            except BaseException:  # Ctrl-C, in somebody's flush
                self._put_back([*parts, part])
                raise
        self._again = False
        self._trouble.up()
        return True

    def _put_back(self, parts: Sequence[Sequence[Written]]) -> None:
        """Have parts, the last of them first, wait again in front of all others."""
        for part in parts:
            self._backlog.put_back(part)
        self._drop(self._buffer, "buffer_full")  # more may have come in while it was tried
        self._drop_bytes()
        self._wake_at = self._room()
        self._again = True

    def _write(self, part: Sequence[Written]) -> None:
        records = [one for one in part if isinstance(one, Record)]
        outcomes = [one for one in part if isinstance(one, Outcome)]
        self._store.write(records, outcomes, again=self._again)
        self.stored += len(part)

    def _smaller(self, part: list[Written], code: str) -> list[list[Written]]:
        """What to try, the last first, in place of a part that is itself at fault."""
        if not self._again:  # perhaps only because some of it is stored already
            self._again = True
            return [part]
        if len(part) == 1:
            self._trouble.lose(1, code)
            return []
        half = len(part) // 2
        return [part[half:], part[:half]]

    def _take_in(self) -> None:
        """Turn what was put into rows, and drop the oldest where they hold too much."""
        queue, backlog = self._queue, self._backlog
        for _ in range(len(queue)):
            try:
                item = queue.popleft()
            except IndexError:  # dropped in the meantime
                return
            if isinstance(item, Outcome):
                backlog.append(item)
                continue
            try:
                backlog.append(self._convert(item))
            except Exception as error:
                self._trouble.lose(1, type(error).__name__)
            self._drop_bytes()

    def _drop(self, most: int, cause: str) -> None:
        """Drop the oldest until no more than so many wait."""
        while self.pending > most:
            try:
                (self._backlog or self._queue).popleft()
            except IndexError:  # stored in the meantime
                continue
            self._trouble.lose(1, cause)

    def _drop_bytes(self) -> None:
        """Drop the oldest until their content is no more than may wait, or one is left."""
        while self._backlog.bytes > self._buffer_bytes and len(self._backlog) > 1:
            self._drop(self.pending - 1, "buffer_full")

    def _tidy_up(self, end: threading.Event) -> None:
        if self._tidy is None or time.monotonic() < self._tidy_at:
            return
        self._tidy_at = time.monotonic() + _TIDY_EVERY_S
        is_more = True
        try:
            while is_more and not end.is_set():
                with self.lock:
                    is_more = self._tidy()
                    self._write_batch()  # what came in meanwhile does not wait for all of it
        except Exception as error:
            warn("ledger_not_pruned", ledger=self._name, error=self._store.code_of(error))
