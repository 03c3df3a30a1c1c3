from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import TIMEOUT_S, Cli, command_line, environment

SIMULATED = """
[tiers.small]
model = "simulated:sim-small"
price = { input = 0.05, output = 0.40 }
[tiers.large]
model = "simulated:sim-large"
price = { input = 3, output = 15 }
"""
LADDER = """
[cascades.main]
tiers = ["small", "large"]
"""
# Nothing listens at port 9: the connection is refused at once.
BROKEN = SIMULATED.replace(
    '"simulated:sim-small"', '"vllm:m"\nbase_url = "http://127.0.0.1:9/v1"\nretries = 0'
)


def write_config(*parts: str) -> Path:
    file = Path("cascade.toml")
    file.write_text("".join(parts), encoding="utf-8")
    return file


def write_lines(lines: Iterable[Any], name: str = "in.jsonl") -> Path:
    file = Path(name)
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    file.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return file


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_one_prompt_prints_its_value_and_its_bill(cli: Cli) -> None:
    write_config(SIMULATED, LADDER)
    done = cli("run", "Name a prime number.")
    assert done.code == 0
    assert done.out.startswith("[simulated reply of sim-small]")
    assert done.err.startswith("small: accepted, $0.0000")
    assert len(done.err.splitlines()) == 1


def test_a_prompt_from_stdin_in_a_process_of_its_own(command: Cli) -> None:
    write_config(SIMULATED, LADDER)
    done = command("run", "-", stdin="Name a prime number.\n")
    assert done.code == 0
    assert done.out.startswith("[simulated reply of sim-small]")


def test_a_parsed_value_is_printed_as_json(cli: Cli) -> None:
    write_config(
        SIMULATED.replace(
            "output = 0.40 }",
            'output = 0.40 }\nparams = { response_format = { type = "json_object" } }',
        ),
        LADDER,
        'validators = ["json_value"]\n',
    )
    done = cli("run", "Give me an object.")
    assert done.code == 0
    assert isinstance(json.loads(done.out), dict)


def test_the_row_of_one_prompt(cli: Cli) -> None:
    write_config(BROKEN, LADDER, 'validators = ["finish_reason"]\n')
    done = cli("run", "--json", "Name a prime number.")
    assert done.code == 0
    (row,) = rows(done.out)
    assert list(row) == [
        "id", "line", "accepted", "value", "tier", "reason", "rule", "rule_reason", "cost_usd",
        "latency_s", "attempts", "error",
    ]  # fmt: skip
    assert (row["accepted"], row["tier"], row["error"]) == (True, "large", None)
    first, second = row["attempts"]
    assert (first["tier"], first["outcome"], first["reason"]) == (
        "small", "failed", "ProviderConnectionError",
    )  # fmt: skip
    assert second["verdicts"] == [
        {"validator": "finish_reason", "status": "passed", "score": 1.0, "threshold": None,
         "reason": ""}
    ]  # fmt: skip
    assert Decimal(row["cost_usd"]) == sum(Decimal(a["cost_usd"]) for a in row["attempts"])
    assert "large: accepted after 1 escalation" in done.err


def test_the_story_goes_to_stderr(cli: Cli) -> None:
    write_config(SIMULATED, LADDER)
    done = cli("run", "--story", "Name a prime number.")
    assert "  small: accepted" in done.err
    assert "small" not in done.out.replace("sim-small", "")


NEVER = 'validators = [{ use = "contains", all = ["never said"] }]\n'


def test_a_rejected_answer_is_no_value(cli: Cli) -> None:
    write_config(SIMULATED, LADDER, NEVER)
    done = cli("run", "Name a prime number.")
    assert (done.code, done.out) == (1, "")
    assert "accepted no answer: small rejected" in done.err
    (row,) = rows(cli("run", "--json", "Name a prime number.").out)
    assert (row["accepted"], row["value"], row["reason"]) == (False, None, "exhausted")
    assert row["error"]["type"] == "CascadeExhausted"


def test_a_file_of_which_no_line_can_be_read_is_no_failure_of_a_provider(cli: Cli) -> None:
    write_config(SIMULATED, LADDER)
    write_lines(["not JSON"])
    assert cli("run", "--file", "in.jsonl").code == 1


def test_the_best_rejected_answer_is_marked_as_such(cli: Cli) -> None:
    write_config(SIMULATED, LADDER, NEVER, 'on_exhausted = "best"\n')
    done = cli("run", "Name a prime number.")
    assert done.code == 1
    assert done.out.startswith("[simulated reply of")
    assert "rejected, and the best there was" in done.err


def test_no_answer_at_all(cli: Cli) -> None:
    write_config(BROKEN.replace('"simulated:sim-large"', '"openai:x"'), LADDER)
    done = cli("run", "A secret question?")
    assert (done.code, done.out) == (3, "")
    assert "small failed (ProviderConnectionError); large failed (AuthenticationError)" in done.err
    assert "secret question" not in done.err
    # What to mend is told for each tier.
    assert "small: vllm:m: no connection to http://127.0.0.1:9" in done.err
    assert "large: openai:x has no key: set the environment variable OPENAI_API_KEY" in done.err
    (row,) = rows(cli("run", "--json", "x").out)
    assert [a["error"] in done.err for a in row["attempts"]] == [True, True]
    write_lines({"prompt": prompt} for prompt in ("one", "two"))
    assert cli("run", "--file", "in.jsonl").code == 3


def test_a_budget_of_the_command_holds_for_each_request(cli: Cli) -> None:
    write_config(SIMULATED, LADDER, "[cascades.main.paths.slow]\nbudget_s = 60\n")
    (row,) = rows(cli("run", "--json", "--path", "slow", "--budget", "1e-9", "x").out)
    assert (row["reason"], row["error"]["type"]) == ("budget", "DeadlineExceeded")
    done = cli("run", "--budget", "1e-9", "--file", write_lines([{"prompt": "a"}] * 2))
    assert done.code == 3
    assert [row["reason"] for row in rows(done.out)] == ["budget", "budget"]
    assert cli("run", "--path", "slow", "--budget", "600", "x").code == 0


def test_a_spent_cap_is_told_and_costs_nothing(cli: Cli) -> None:
    write_config(SIMULATED, LADDER, "[spend]\ncaps = [{ usd = 0.000001 }]\n")
    done = cli("run", "x")
    assert (done.code, done.out) == (3, "")
    assert "Cap(0.000001, per='day')" in done.err
    (row,) = rows(cli("run", "--json", "x").out)
    assert (row["error"]["type"], row["cost_usd"]) == ("SpendLimitExceeded", "0")


def test_logs_are_json_lines_where_stderr_is_no_terminal(cli: Cli) -> None:
    write_config(BROKEN, LADDER)
    event = json.loads(cli("run", "x").err.splitlines()[0])
    assert (event["event"], event["tier"], event["level"]) == ("attempt_failed", "small", "warning")
    assert "attempt_failed" not in cli("run", "--log-level", "error", "x").err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "give a prompt"),
        (["run", "x", "--file", "in.jsonl"], "give a prompt"),
        (["run", " "], "the prompt is empty"),
        (["run", "x", "--budget", "0"], "--budget=0.0 is not a time"),
        (["run", "What", "is", "a", "prime?"], "goes in quotes"),
        (["run", "--jsn"], "there is no option --jsn"),
        (["run", "--jsn", "hi"], "there is no option --jsn"),
        (["run", "--jsn=1"], "there is no option --jsn=1"),
        (["run", "x", "--concurrency", "2"], "--concurrency goes with --file"),
        (["run", "x", "--output", "o"], "--output goes with --file"),
        (["run", "--file", "in.jsonl", "--fresh"], "--fresh goes with --output"),
        (["run", "--file", "in.jsonl", "--story"], "--story goes with a prompt"),
        (["run", "--file", "none.jsonl"], "there is no file 'none.jsonl'"),
        (["run", "--file", "in.jsonl", "--output", "in.jsonl"], "is the file of requests itself"),
        (["run", "--file", "in.jsonl", "--output", "no/o.jsonl"], "no/o.jsonl: No such file"),
        (["run", "x", "--path", "fst"], "no path 'fst'"),
        (["run", "x", "--cascade", "man"], "did you mean 'main'"),
        (["run", "x", "--config", "none.toml"], "there is no file 'none.toml'"),
        (["run", "x", "--concurrency", "0"], "--concurrency"),
        (["run", "x", "--log-level", "loud"], "--log-level"),
        (["run", "x", "--sory"], "--sory"),
        (["rnu"], 'Did you mean "run"'),
    ],
)
def test_mistakes_end_with_code_2_and_no_traceback(
    cli: Cli, arguments: list[str], message: str
) -> None:
    write_config(SIMULATED, LADDER)
    write_lines(["x"])
    done = cli(*arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert "Traceback" not in done.err


def test_a_file_of_every_kind_of_line(cli: Cli) -> None:
    write_config(SIMULATED, LADDER, '[cascades.main.paths.strong]\ndirect = "large"\n')
    write_lines(
        [
            "a plain line that is not JSON",
            json.dumps("a string"),
            {"id": "p", "prompt": "an object", "temperature": 0},
            {"id": 4, "messages": [{"role": "user", "content": "a chat"}], "path": "strong"},
            "",
            {"prompt": "x", "path": "nope"},
            {"prompt": "x", "messages": []},
            {"prompt": 3},
            {"messages": "x"},
            {"messages": []},
            {"prompt": "x", "stream": True},
            {"id": 1.5, "prompt": "x"},
            {"prompt": "x", "path": 3},
            [1],
            "[" * 100_000,
        ]
    )
    done = cli("run", "--file", "in.jsonl")
    assert done.code == 1
    found = {row["line"]: row for row in rows(done.out)}
    assert sorted(found) == [1, 2, 3, 4, *range(6, 16)]
    assert [line for line, row in sorted(found.items()) if row["accepted"]] == [2, 3, 4]
    assert [found[line]["id"] for line in (2, 3, 4)] == [None, "p", 4]
    assert found[4]["tier"] == "large"
    messages = {line: row["error"]["message"] for line, row in found.items() if row["error"]}
    assert messages[1] == "line 1 is not valid JSON"
    assert "no path 'nope'; known: 'strong'" in messages[6]
    assert all(message.startswith(f"line {line}") for line, message in messages.items())
    assert all(row["reason"] == "error" for row in found.values() if row["error"])
    assert "14 requests: 3 accepted, " in done.err


def test_the_sum_of_the_rows_is_the_bill(cli: Cli) -> None:
    write_config(SIMULATED, LADDER)
    write_lines({"prompt": f"question {number}"} for number in range(20))
    done = cli("run", "--file", "in.jsonl", "--json", "--concurrency", "5")
    assert done.code == 0
    summary = json.loads(done.err)
    total = sum(Decimal(row["cost_usd"]) for row in rows(done.out))
    assert Decimal(summary["known_cost_usd"]) == total
    assert (summary["requests"], summary["accepted"], summary["unknown_costs"]) == (20, 20, 0)
    assert 0 < summary["latency_p50_s"] <= summary["latency_p95_s"]


def test_an_unknown_price_makes_a_lower_bound(cli: Cli) -> None:
    write_config(SIMULATED.replace("price = { input = 0.05, output = 0.40 }", ""), LADDER)
    write_lines([json.dumps("x")])
    done = cli("run", "--file", "in.jsonl")
    assert rows(done.out)[0]["cost_usd"] is None
    assert "at least $0.00 (1 of unknown cost)" in done.err


def test_a_run_goes_on_where_it_stopped(cli: Cli) -> None:
    write_config(SIMULATED, LADDER)
    write_lines({"id": f"q{number}", "prompt": f"question {number}"} for number in range(10))
    output = Path("out.jsonl")
    assert cli("run", "--file", "in.jsonl", "--output", output).code == 0
    whole = output.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = "".join(whole[:6])
    output.write_text(kept + whole[6][:25], encoding="utf-8")  # torn off in the middle of a row
    done = cli("run", "--file", "in.jsonl", "--output", output)
    assert done.code == 0
    assert "4 requests: 4 accepted" in done.err
    assert "(6 were done by earlier runs)" in done.err
    text = output.read_text(encoding="utf-8")
    assert text.startswith(kept)
    assert sorted(row["id"] for row in rows(text)) == sorted(f"q{n}" for n in range(10))
    assert cli("run", "--file", "in.jsonl", "--output", output).code == 0
    assert output.read_text(encoding="utf-8") == text
    assert cli("run", "--file", "in.jsonl", "--output", output, "--fresh").code == 0
    assert len(rows(output.read_text(encoding="utf-8"))) == 10


def test_a_resumed_run_remembers_what_was_not_accepted(cli: Cli) -> None:
    write_config(SIMULATED, LADDER)
    write_lines([json.dumps("fine"), "not JSON"])
    assert cli("run", "--file", "in.jsonl", "--output", "o.jsonl").code == 1
    assert cli("run", "--file", "in.jsonl", "--output", "o.jsonl").code == 1


def test_an_output_that_belongs_to_something_else_is_left_alone(cli: Cli) -> None:
    write_config(SIMULATED, LADDER)
    write_lines([json.dumps("one")])
    foreign = Path("notes.txt")
    for text in ("my notes\nand more", '{"a": 1}', '["one line"]\n', '{"line": "x"}\n'):
        foreign.write_text(text, encoding="utf-8")
        done = cli("run", "--file", "in.jsonl", "--output", foreign)
        assert done.code == 2
        assert "line 1, is no row of `cascade run`" in done.err
        assert foreign.read_text(encoding="utf-8") == text
    assert cli("run", "--file", "in.jsonl", "--output", "o.jsonl").code == 0
    before = Path("o.jsonl").read_bytes()
    write_lines([json.dumps("another")])
    done = cli("run", "--file", "in.jsonl", "--output", "o.jsonl")
    assert done.code == 2
    assert "line 1 has changed since it was answered" in done.err
    assert Path("o.jsonl").read_bytes() == before


def wait_for_rows(process: subprocess.Popen[str], output: Path, count: int) -> None:
    """Until a running command has written that many rows."""
    deadline = time.monotonic() + TIMEOUT_S
    while not output.exists() or output.read_bytes().count(b"\n") < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="signals to other processes are POSIX")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_leaves_a_file_to_go_on_with(cli: Cli, stop: signal.Signals) -> None:
    write_config(SIMULATED, LADDER)
    count = 60
    write_lines({"id": number, "prompt": f"question {number}"} for number in range(count))
    output = Path("out.jsonl")
    arguments = ("run", "--file", "in.jsonl", "--output", output, "--concurrency", "2")
    with subprocess.Popen(
        command_line(*arguments),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_for_rows(process, output, 3)
            process.send_signal(stop)
            _, err = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
    if stop is signal.SIGINT:
        assert process.returncode == 130
        assert "Run the same command again to go on" in err
        assert "Traceback" not in err
        assert output.read_bytes().endswith(b"\n")
    assert 3 <= output.read_bytes().count(b"\n") < count
    assert cli(*arguments[:-2]).code == 0
    assert sorted(row["id"] for row in rows(output.read_text("utf-8"))) == list(range(count))


@pytest.mark.skipif(sys.platform == "win32", reason="a closed pipe is POSIX")
def test_a_reader_that_goes_away_ends_the_run_quietly() -> None:
    write_config(SIMULATED, LADDER)
    write_lines({"prompt": f"question {number}"} for number in range(30))
    with subprocess.Popen(
        command_line("run", "--file", "in.jsonl", "--concurrency", "1"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            err = process.stderr.read()
            process.wait(timeout=TIMEOUT_S)
        finally:
            process.kill()
    assert (process.returncode, err) == (141, b"")


def test_text_of_every_kind_comes_through(cli: Cli) -> None:
    write_config(SIMULATED, LADDER)
    write_lines([r'{"id": "\ud800 é \u2028", "prompt": "é"}'])
    assert cli("run", "--file", "in.jsonl", "--output", "o.jsonl").code == 0
    text = Path("o.jsonl").read_text(encoding="utf-8")
    assert json.loads(text)["id"] == "\ud800 é \u2028"
