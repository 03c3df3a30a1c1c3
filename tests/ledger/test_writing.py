"""The writer's thread with stores that fail in every way."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from cascade.ledger.feedback import Outcome
from cascade.ledger.held import Held
from cascade.ledger.rows import Record, record_of
from cascade.ledger.writing import BATCH, BackgroundWriter
from tests.ledger.support import result


class Refused(Exception):
    """A batch that is itself at fault."""


class Shelf:
    """A store in memory, which refuses some calls and is sometimes down."""

    def __init__(self, refused: frozenset[str] = frozenset(), failures: int = 0) -> None:
        self.refused = refused
        self.failures = failures
        self.ids: list[str] = []
        self.batches: list[int] = []
        self.threads: set[str] = set()
        self.closed = 0
        self.written = threading.Event()

    def write(self, records: Sequence[Record], outcomes: Sequence[Outcome], *, again: bool) -> None:
        self.threads.add(threading.current_thread().name)
        if self.failures:
            self.failures -= 1
            raise ConnectionError("down")
        ids = [record.id for record in records] + [outcome.call_id for outcome in outcomes]
        if again:
            ids = [one for one in dict.fromkeys(ids) if one not in self.ids]
        if not self.refused.isdisjoint(ids) or len({*self.ids, *ids}) < len(self.ids) + len(ids):
            raise Refused
        self.ids += ids
        self.batches.append(len(ids))
        self.written.set()

    def is_hopeless(self, error: Exception) -> bool:
        return isinstance(error, Refused)

    def code_of(self, error: Exception) -> str:
        return type(error).__name__

    def close(self) -> None:
        self.closed += 1

    def forget(self) -> None:
        """Nothing is open."""


def writer(
    shelf: Shelf, *, window_s: float = 3600.0, buffer: int = 10_000, **more: object
) -> BackgroundWriter:
    return BackgroundWriter(
        shelf,
        record_of,
        name="shelf",
        window_s=window_s,
        buffer=buffer,
        **more,  # type: ignore[arg-type]
    )


def put(into: BackgroundWriter, *ids: str) -> None:
    for id in ids:
        into.put(result(id))


def test_a_thread_of_its_own_writes_within_the_window() -> None:
    shelf = Shelf()
    written = writer(shelf, window_s=0.001)
    for id in ("a", "b"):
        shelf.written.clear()
        put(written, id)
        assert shelf.written.wait(30)
    assert shelf.threads == {"cascade-ledger"}
    assert written.close(30)
    assert (shelf.ids, written.stored, written.lost) == (["a", "b"], 2, 0)


def test_a_full_batch_is_not_kept_waiting() -> None:
    shelf = Shelf()
    written = writer(shelf)  # a window of an hour
    put(written, *map(str, range(BATCH)))
    assert shelf.written.wait(30)
    written.close(30)
    assert len(shelf.ids) == BATCH


def test_batches_are_bounded() -> None:
    shelf = Shelf()
    written = writer(shelf)
    put(written, *map(str, range(3 * BATCH + 1)))
    assert written.close(30)
    assert len(shelf.ids) == 3 * BATCH + 1
    assert max(shelf.batches) <= BATCH


@given(
    ids=st.lists(st.text("abcdef", min_size=1, max_size=2), max_size=40),
    refused=st.frozensets(st.text("abcdef", min_size=1, max_size=2), max_size=5),
    failures=st.integers(0, 3),
)
def test_each_call_is_stored_once_or_refused(
    ids: list[str], refused: frozenset[str], failures: int
) -> None:
    shelf = Shelf(refused, failures)
    written = writer(shelf)
    put(written, *ids)
    while not written.flush(30):
        pass
    assert shelf.ids == [one for one in dict.fromkeys(ids) if one not in refused]
    assert written.lost == sum(one in refused for one in ids) or len(set(ids)) < len(ids)
    assert written.pending == 0
    written.close(30)


def test_what_cannot_be_stored_waits_and_keeps_its_order() -> None:
    shelf = Shelf(failures=2)
    written = writer(shelf)
    put(written, "a", "b")
    assert not written.flush(0)
    put(written, "c")
    assert written.pending == 3
    assert written.flush(30)
    assert shelf.ids == ["a", "b", "c"]
    written.close(30)


def test_the_oldest_are_dropped_when_the_buffer_is_full() -> None:
    shelf = Shelf(failures=10**9)
    written = writer(shelf, buffer=3)
    put(written, "a", "b")
    assert not written.flush(0)
    put(written, "c", "d", "e")
    assert (written.pending, written.lost) == (3, 2)
    shelf.failures = 0
    assert written.flush(30)
    assert shelf.ids == ["c", "d", "e"]
    written.close(30)


def record_with(id: str, characters: int) -> Record:
    record = record_of(result(id))
    record.contents.append((0, "answer", "x" * characters))
    return record


def test_the_oldest_are_dropped_when_their_content_is_too_much() -> None:
    shelf = Shelf(failures=10**9)
    held = BackgroundWriter(
        shelf,
        lambda told: record_with(told.id, 40),
        name="shelf",
        window_s=3600.0,
        buffer=1000,
        buffer_bytes=100,
    )
    put(held, *"abcdefgh")
    while held.lost < 6:
        assert not held.flush(0)
    shelf.failures = 0
    assert held.flush(30)
    assert (shelf.ids, held.lost) == (["g", "h"], 6)
    held.close(30)


def test_a_call_of_any_size_is_stored_when_it_is_alone() -> None:
    shelf = Shelf()
    big = BackgroundWriter(
        shelf,
        lambda told: record_with(told.id, 1000),
        name="shelf",
        window_s=3600.0,
        buffer=1000,
        buffer_bytes=100,
    )
    put(big, "a")
    assert big.close(30)
    assert (shelf.ids, big.lost) == (["a"], 0)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 50)), max_size=30),
    st.integers(1, 10),
    st.integers(1, 100),
)
def test_what_is_held_is_always_weighed(
    steps: list[tuple[bool, int]], most: int, most_bytes: int
) -> None:
    held = Held()
    expected: list[int] = []
    for number, (is_put, size) in enumerate(steps):
        if is_put:
            held.append(record_with(str(number), size))
            expected.append(size)
        else:
            taken = held.take(most, most_bytes)
            assert len(taken) <= most
            del expected[: len(taken)]
            if number % 2:
                held.put_back(taken)
                sizes = [len(one.contents[0][2]) for one in taken if isinstance(one, Record)]
                expected[:0] = sizes
        assert (len(held), held.bytes) == (len(expected), sum(expected))


def test_what_is_lost_is_logged_without_content() -> None:
    structlog.reset_defaults()
    shelf = Shelf(failures=10**9)
    written = writer(shelf, buffer=2)
    with capture_logs() as logs:
        put(written, "a", "b", "c")
        assert not written.flush(0)
        assert not written.flush(0)
        assert not written.close(0)
    events = [(log["event"], log.get("lost"), log.get("cause")) for log in logs]
    assert events == [
        ("ledger_down", None, None),
        ("ledger_lost", 1, "buffer_full"),
        ("ledger_lost", 2, "closed"),
    ]
    assert {log["ledger"] for log in logs} == {"shelf"}
    assert logs[0]["error"] == "ConnectionError"


def test_it_says_when_it_is_up_again() -> None:
    structlog.reset_defaults()
    shelf = Shelf(failures=1)
    written = writer(shelf)
    with capture_logs() as logs:
        put(written, "a")
        assert written.flush(30)
    assert [log["event"] for log in logs] == ["ledger_down", "ledger_up"]
    written.close(30)


def test_a_closed_writer_begins_again() -> None:
    shelf = Shelf()
    written = writer(shelf)
    put(written, "a")
    assert written.close(30)
    assert shelf.closed == 1
    put(written, "b")
    assert written.close(30)
    assert shelf.ids == ["a", "b"]


def test_many_threads_may_put() -> None:
    shelf = Shelf()
    written = writer(shelf, window_s=0.001)
    threads = [
        threading.Thread(target=put, args=(written, *(f"{n}-{i}" for i in range(500))))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert written.close(30)
    assert len(shelf.ids) == len(set(shelf.ids)) == 2000
    for n in range(4):  # each thread's in their order
        own = [one for one in shelf.ids if one.startswith(f"{n}-")]
        assert own == [f"{n}-{i}" for i in range(500)]


def test_what_is_done_now_and_then_harms_nothing() -> None:
    structlog.reset_defaults()
    done = threading.Event()

    def tidy() -> bool:
        done.set()
        raise RuntimeError("no")

    shelf = Shelf()
    with capture_logs() as logs:
        written = writer(shelf, window_s=0.001, tidy=tidy)
        put(written, "a")
        assert done.wait(30)
        shelf.written.clear()
        put(written, "b")
        assert shelf.written.wait(30)
        written.close(30)
    assert [log["event"] for log in logs] == ["ledger_not_pruned"]


def test_ctrl_c_in_a_flush_loses_nothing() -> None:
    class Interrupted(Shelf):
        def write(
            self, records: Sequence[Record], outcomes: Sequence[Outcome], *, again: bool
        ) -> None:
            if self.failures:
                self.failures -= 1
                raise KeyboardInterrupt
            super().write(records, outcomes, again=again)

    shelf = Interrupted(failures=1)
    written = writer(shelf)
    put(written, "a", "b", "c")
    with pytest.raises(KeyboardInterrupt):
        written.flush(30)
    assert written.pending == 3
    assert written.flush(30)
    assert shelf.ids == ["a", "b", "c"]
    written.close(30)


class _TakenNext:
    """A writer's lock: whoever waits for it takes what is held as soon as it is free."""

    def __init__(self, writer: BackgroundWriter) -> None:
        self._writer = writer
        self._lock = threading.Lock()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        self._lock.release()
        self._writer._backlog.take(BATCH, 1 << 30)


def test_a_batch_that_another_thread_is_trying_is_not_taken_for_stored() -> None:
    shelf = Shelf(failures=1)
    held = writer(shelf)
    held._queue.append(result("a"))  # without waking the thread: the lock plays its part
    held.lock = _TakenNext(held)  # type: ignore[assignment]
    assert not held.flush(0)
    assert not shelf.ids
