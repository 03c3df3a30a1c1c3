"""What is promised of crashes, ends, forks, full disks and databases that go away."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from cascade.ledger import JsonLines, Ledger
from tests.ledger.support import python, result, run_python
from tests.postgres import PASSWORD, PostgresServer

PATIENCE_S = 60.0
MARGIN_S = 2.0  # the window of 0.05 s, and what a busy machine takes to give the writer its turn


def wait_for(is_so: Callable[[], bool]) -> None:
    """Until something in another thread or process has happened."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < give_up_at
        time.sleep(0.001)


def stored(source: str | Path) -> list[str]:
    with Ledger.open_for_reading(source) as reader:
        return [call.id for call in reader.calls()]


RECORDING = """
import sys, time
from cascade.ledger import JsonLines, Ledger
from tests.ledger.support import result

"""

LOADED = (
    RECORDING
    + """
ledger = Ledger(sys.argv[1], window_s=0.05)
number = 0
while True:
    # What is told of here was recorded at that moment, on the clock that all processes share.
    for _ in range(20):
        ledger.record(result(f"c-{number}"))
        number += 1
    sys.stdout.write(f"{number - 1} {time.monotonic()}\\n")
    sys.stdout.flush()
    time.sleep(0.002)
"""
)


def test_a_killed_process_loses_no_more_than_the_window(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    process = python(LOADED, file)
    assert process.stdout is not None
    told: list[tuple[int, float]] = []
    while not told or told[-1][1] - told[0][1] < 2 * MARGIN_S:
        number, at = process.stdout.readline().split()
        told.append((int(number), float(at)))
    killed_at = time.monotonic()
    process.kill()
    process.communicate()
    safe = [number for number, at in told if at < killed_at - MARGIN_S]
    ids = stored(file)
    assert ids == [f"c-{number}" for number in range(len(ids))]  # none missing in between
    assert len(ids) > max(safe)
    with sqlite3.connect(file) as sql:
        assert sql.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        orphans = "SELECT count(*) FROM attempts WHERE call_seq NOT IN (SELECT seq FROM calls)"
        assert sql.execute(orphans).fetchall() == [(0,)]
    sql.close()
    with Ledger(file) as ledger:  # and it goes on
        ledger.record(result("after"))
    assert stored(file)[-1] == "after"


@pytest.mark.parametrize(
    "ending",
    ["", "sys.exit(0)", "import signal; signal.raise_signal(signal.SIGINT)  # interrupt"],
    ids=["end", "exit", "interrupt"],
)
@pytest.mark.parametrize("kind", ["Ledger", "JsonLines"])
def test_what_waits_is_written_when_the_program_ends(
    tmp_path: Path, ending: str, kind: str
) -> None:
    file = tmp_path / "ledger"
    script = f"{RECORDING}\nledger = {kind}(sys.argv[1], window_s=3600)\n"
    script += f"for number in range(100): ledger.record(result(f'c-{{number}}'))\n{ending}\n"
    process = python(script, file)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert ("KeyboardInterrupt" in err) == ("interrupt" in ending)
    count = len(file.read_text().splitlines()) if kind == "JsonLines" else len(stored(file))
    assert count == 100


def test_ctrl_c_in_the_middle_of_the_load(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    process = python(LOADED, file)
    assert process.stdout is not None
    last = [process.stdout.readline() for _ in range(20)][-1]
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE_S)
    told = int((last + out).splitlines()[-1].split()[0])
    assert len(stored(file)) > told


def test_several_processes_write_one_file(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    script = RECORDING + (
        "with Ledger(sys.argv[1], window_s=0.001) as ledger:\n"
        "    for number in range(300):\n"
        "        ledger.record(result(f'{sys.argv[2]}-{number}'))\n"
        "        if number % 50 == 0: ledger.flush()\n"
        "assert ledger.lost == 0\n"
    )
    processes = [python(script, file, str(number)) for number in range(4)]
    for process in processes:
        _, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, err) == (0, "")
    ids = stored(file)
    assert len(set(ids)) == len(ids) == 1200


def test_several_processes_write_one_database(postgres: PostgresServer) -> None:
    source = postgres.new_database()
    script = RECORDING + (
        "with Ledger(sys.argv[1], window_s=0.001) as ledger:\n"
        "    for number in range(200):\n"
        "        ledger.record(result(f'{sys.argv[2]}-{number}'))\n"
        "        if number % 50 == 0: ledger.flush()\n"
        "assert ledger.lost == 0\n"
    )
    processes = [python(script, source, str(number)) for number in range(3)]
    for process in processes:
        _, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, err) == (0, "")
    assert len(set(stored(source))) == 600


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_forked_child_begins_afresh(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    source = f"sqlite:{tmp_path / 'ledger.db'}"
    if kind == "postgresql":
        source = request.getfixturevalue("postgres").new_database()
    script = RECORDING + (
        "import os\n"
        "ledger = Ledger(sys.argv[1], window_s=3600)\n"
        "ledger.record(result('flushed'))\n"
        "assert ledger.flush()\n"  # so that there is a connection
        "ledger.record(result('waiting'))\n"  # in the queue of the parent
        "child = os.fork()\n"
        "if child == 0:\n"
        "    assert ledger.pending == 0\n"
        "    ledger.record(result('child'))\n"
        "    sys.exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "ledger.record(result('parent'))\n"
    )
    run_python(f"import warnings; warnings.simplefilter('ignore')\n{script}", source)
    assert sorted(stored(source)) == ["child", "flushed", "parent", "waiting"]


FULL = (
    RECORDING
    + """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ledger = {kind}(sys.argv[1], buffer=500, window_s=0.001)
for number in range(100):
    ledger.record(result(f"before-{{number}}"))
assert ledger.flush()
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

def fill_disk():
    # SQLite begins its log anew when it is opened again: no room for four pages of it.
    size = os.path.getsize(sys.argv[1]) if {kind} is JsonLines else 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 16_000, hard))

fill_disk()
for number in range(200):
    ledger.record(result(f"waits-{{number}}"))
assert not ledger.flush(timeout_s=0.1)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
assert ledger.flush()
assert ledger.lost == 0  # there was room for them in memory
fill_disk()
number = 0
while not ledger.lost:  # calls go on: none of these raises, and none waits
    ledger.record(result(f"full-{{number}}"))
    number += 1
    if number % 100 == 0:
        time.sleep(0.001)
assert ledger.lost <= number
with ledger._writer.lock:  # nothing is being tried: all of it waits
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    lost = ledger.lost
    ledger.record(result("after"))
assert ledger.flush()
assert ledger.lost - lost <= 1, (ledger.lost, lost)
ledger.close()
print(number, ledger.lost)
"""
)


@pytest.mark.parametrize("kind", ["Ledger", "JsonLines"])
def test_a_full_disk_loses_the_oldest_and_is_survived(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "ledger"
    script = FULL.format(kind=kind).replace("import sys, time", "import os, sys, time", 1)
    # A limit on the size of files is what a process can have of a full disk without being root.
    recorded, lost = map(int, run_python(script, file).split())
    assert lost > 0
    if kind == "JsonLines":
        import json

        ids = [json.loads(line)["id"] for line in file.read_text().splitlines() if line]
    else:
        ids = stored(file)
        with sqlite3.connect(file) as sql:
            assert sql.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        sql.close()
    assert ids[-1] == "after"
    first = [f"before-{number}" for number in range(100)]
    assert ids[:300] == [*first, *[f"waits-{number}" for number in range(200)]]
    assert len(ids) == len(set(ids)) == 300 + recorded + 1 - lost


def test_a_locked_file_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with Ledger(file, window_s=0.001) as ledger:
        ledger.open()
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for number in range(10):
            ledger.record(result(f"c-{number}"))  # waits for nobody
        other.execute("COMMIT")
        other.close()
        assert ledger.flush()
        assert (ledger.lost, len(stored(file))) == (0, 10)


def test_a_database_that_goes_away_and_comes_back(postgres: PostgresServer) -> None:
    source = postgres.new_database()
    structlog.reset_defaults()
    with capture_logs() as logs, Ledger(source, buffer=100, window_s=0.001) as ledger:
        ledger.record(result("before"))
        assert ledger.flush()
        postgres.stop()
        try:
            for number in range(300):
                ledger.record(result(f"down-{number}"))
            wait_for(lambda: any(log["event"] == "ledger_down" for log in logs))
            assert not ledger.flush(timeout_s=0.2)
            wait_for(lambda: ledger.pending == 100)  # but for what is being tried at the moment
            assert ledger.lost == 200
        finally:
            postgres.start()
        ledger.record(result("after"))
        assert ledger.flush(timeout_s=PATIENCE_S)
        wait_for(lambda: any(log["event"] == "ledger_up" for log in logs))
    ids = stored(source)
    assert ids == ["before", *[f"down-{number}" for number in range(ledger.lost, 300)], "after"]
    assert ledger.lost in (200, 201)  # 200 where "after" came while the others were being tried
    events = [log["event"] for log in logs]
    assert events.count("ledger_down") == events.count("ledger_up") == 1
    assert "ledger_lost" in events
    assert PASSWORD not in repr(logs)
    assert PASSWORD not in repr(ledger)


def test_a_database_that_is_not_there_at_first(postgres: PostgresServer) -> None:
    source = postgres.new_database()
    postgres.stop()
    try:
        ledger = Ledger(source, window_s=0.001)
        ledger.record(result("early"))
        assert not ledger.flush(timeout_s=0.2)
    finally:
        postgres.start()
    assert ledger.flush(timeout_s=PATIENCE_S)
    ledger.close()
    assert stored(source) == ["early"]


def test_what_cannot_be_written_at_the_end_is_told(
    postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    structlog.reset_defaults()
    ledger = Ledger(postgres.new_database().replace("/ledger_", "/no_such_"), window_s=3600)
    ledger.record(result("c-1"))
    assert not ledger.close(timeout_s=0.2)
    assert (ledger.lost, ledger.pending) == (1, 0)
    assert "ledger_lost" in caplog.text
    assert PASSWORD not in caplog.text


def test_a_folder_that_goes_away(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    lines = JsonLines(folder / "calls.jsonl", window_s=0.001)
    folder.rmdir()
    lines.record(result("c-1"))
    assert not lines.flush(timeout_s=0.05)
    folder.mkdir()
    assert lines.flush()
    lines.close()
    assert lines.lost == 0
    assert len((folder / "calls.jsonl").read_text().splitlines()) == 1


def test_memory_stays_bounded_while_nothing_can_be_stored(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    lines = JsonLines(folder / "calls.jsonl", buffer=10, window_s=0.001)
    folder.rmdir()
    for number in range(2000):
        lines.record(result(f"c-{number}"))
    assert not lines.close(timeout_s=0.05)
    assert lines.lost == 2000
