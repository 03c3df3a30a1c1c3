from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, command_line, environment

CONFIG = """
[tiers.small]
model = "openai:small"
base_url = "{url}/v1"
price = {{ input = 1, output = 2 }}
retries = {{ times = 0 }}

[tiers.large]
model = "openai:large"
base_url = "{url}/v1"
price = {{ input = 10, output = 20 }}
retries = {{ times = 0 }}

[cascades.sums]
tiers = ["small", "large"]
validators = ["finish_reason"]
"""
PATIENCE_S = 60.0


class Model:
    """A server that doubles a number, counts what it is asked, and can stop answering.

    Attributes:
        answered, held: how often each (model, question) was answered, and left without an answer.
        answers_left: after so many it answers no more. None: it goes on.
        is_full: set once so many requests wait as there are workers.
    """

    def __init__(self) -> None:
        self.answered: Counter[tuple[str, str]] = Counter()
        self.held: Counter[tuple[str, str]] = Counter()
        self.answers_left: int | None = None
        self.workers = 4
        self.is_full = threading.Event()
        self.go_on = threading.Event()
        self.wrong: set[str] = set()
        self.lock = threading.Lock()
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                reply = model.reply(body["model"], body["messages"][-1]["content"])
                if reply is not None:
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(reply)))
                    self.end_headers()
                    self.wfile.write(reply)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def reply(self, model: str, question: str) -> bytes | None:
        with self.lock:
            holds = self.answers_left == 0
            if holds:
                self.held[model, question] += 1
                if self.held.total() == self.workers:
                    self.is_full.set()
            else:
                self.answered[model, question] += 1
                if self.answers_left is not None:
                    self.answers_left -= 1
        if holds:
            self.go_on.wait(PATIENCE_S)
            return None
        text = "wrong" if model in self.wrong else str(2 * int(question))
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
        return json.dumps({"choices": [choice], "usage": usage, "model": model}).encode()

    def close(self) -> None:
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Model]:
    """A running model, with a configuration and cases for it in the folder."""
    running = Model()
    (tmp_path / "cascade.toml").write_text(CONFIG.format(url=running.url))
    rows = [{"id": f"q{i}", "input": str(i), "expected": 2 * i} for i in range(20)]
    (tmp_path / "cases.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    try:
        yield running
    finally:
        running.close()


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch, _in_its_own_folder: None) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")


def test_each_case_through_each_tier(cli: Cli, model: Model, tmp_path: Path) -> None:
    model.wrong = {"small"}
    done = cli("eval", "cases.jsonl", "-o", "runs.jsonl")
    assert done.code == 0, done.err
    assert "small  20  0.0%" in done.out
    assert "large  20  100.0%" in done.out
    assert "40 requests sent for $0.00154" in done.err
    rows = rows_of(tmp_path / "runs.jsonl")
    assert [(row["qid"], row["model"]) for row in rows[:3]] == [
        ("q0", "small"), ("q0", "large"), ("q1", "small")
    ]  # fmt: skip
    assert rows[1]["cost_usd"] == 0.00007


def test_a_second_run_is_free_whatever_it_changes(cli: Cli, model: Model, tmp_path: Path) -> None:
    assert cli("eval", "cases.jsonl", "-o", "runs.jsonl").code == 0
    done = cli("eval", "cases.jsonl", "--whole", "--grader", "contains", "-o", "b.jsonl", "--json")
    assert done.code == 0
    found = json.loads(done.out)
    assert (found["sent"], found["tiers"][0]["tier"], found["tiers"][0]["n"]) == (0, "sums", 20)
    assert model.answered.total() == 40


def test_killed_and_resumed_without_paying_twice(cli: Cli, model: Model, tmp_path: Path) -> None:
    model.answers_left = 17
    arguments = ("eval", "cases.jsonl", "-o", "runs.jsonl", "--concurrency", str(model.workers))
    running = subprocess.Popen(
        command_line(*arguments),
        cwd=tmp_path,
        env=environment(OPENAI_API_KEY="sk-test"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # Each worker keeps an answer before it asks the next: when all wait, all answers are kept.
    assert model.is_full.wait(PATIENCE_S)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert not (tmp_path / "runs.jsonl").exists()
    before = dict(model.answered)
    model.answers_left = None
    assert cli(*arguments).code == 0
    assert len(rows_of(tmp_path / "runs.jsonl")) == 40
    assert len(before) == 17
    assert set(model.answered.values()) == {1}
    assert len(model.answered) == 40
    assert set(model.held) <= set(model.answered) - set(before)


def test_calls_that_break_are_told_and_stop_nothing(cli: Cli, model: Model, tmp_path: Path) -> None:
    config = (tmp_path / "cascade.toml").read_text()
    gone = config.replace(model.url, "http://127.0.0.1:9", 1)
    (tmp_path / "cascade.toml").write_text(gone)
    done = cli("eval", "cases.jsonl", "-o", "runs.jsonl")
    assert done.code == 1
    assert "small failed, and left out: ProviderConnectionError" in done.out
    failed = [row for row in rows_of(tmp_path / "runs.jsonl") if row["outcome"] == "failed"]
    assert {row["model"] for row in failed} == {"small"}
    (tmp_path / "cascade.toml").write_text(config.replace(model.url, "http://127.0.0.1:9"))
    assert cli("eval", "cases.jsonl", "-o", "none.jsonl", "--cache", "b.db").code == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--whole", "--tiers", "small"], "--tiers has no effect"),
        (["--tiers", "smal"], "did you mean 'small'"),
        (["--grader", "nothing"], "no grader 'nothing'"),
        (["--rubric", "kind"], "--rubric goes with a judge"),
        (["--grader", "judge:none"], "no [tiers.none]"),
        (["-o", "nowhere/runs.jsonl"], "no folder"),
        (["--cascade", "other"], "no cascade 'other'"),
    ],
)
def test_mistakes(cli: Cli, model: Model, arguments: list[str], said: str) -> None:
    output = [] if "-o" in arguments else ["-o", "runs.jsonl"]
    done = cli("eval", "cases.jsonl", *output, *arguments)
    assert (done.code, model.answered.total()) == (2, 0)
    assert said in " ".join(done.err.split())


def test_no_content_in_what_is_said(cli: Cli, model: Model, tmp_path: Path) -> None:
    secret = {"id": "q1", "input": "12345678", "expected": 24691356}
    (tmp_path / "secret.jsonl").write_text(json.dumps(secret))
    done = cli("eval", "secret.jsonl", "-o", "runs.jsonl", "--log-level", "debug")
    assert done.code == 0
    assert "12345678" not in done.out + done.err
    assert b"12345678" not in (tmp_path / "cascade-answers.db").read_bytes()
