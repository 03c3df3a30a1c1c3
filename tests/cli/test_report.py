"""`cascade report`, `tail` and `show`: what a ledger tells on the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cascade.ledger import Ledger
from tests.cli.conftest import TIMEOUT_S, Cli, environment
from tests.postgres import PASSWORD, PostgresServer
from tests.report.ledgers import START, attempt, call

ADDRESS = "sqlite:ledger.db"


def write_ledger(count: int = 25, first: int = 0, address: str = ADDRESS) -> None:
    ledger = Ledger(address)
    for n in range(first, first + count):
        small = attempt("small", "accepted" if n % 5 else "rejected", 1)
        more = [] if n % 5 else [attempt("large", "accepted", 1)]
        plan = ("small", "large")
        ledger.record(call(n, small, *more, path="chat", tenant="acme", plan=plan))
    ledger.record_outcome(f"id-{first + 1}", correct=True, by="user")
    assert ledger.close()


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# report


def test_a_report_in_the_terminal_as_json_and_as_a_page(cli: Cli) -> None:
    write_ledger()
    done = cli("report", "--ledger", ADDRESS, "--since", "all")
    assert (done.code, done.err) == (0, "")
    assert "5 of 25 requests" in done.out
    assert "$75.00 in all" in done.out
    found = json.loads(cli("report", "--ledger", ADDRESS, "--since", "all", "--json").out)
    assert Decimal(found["totals"]["bill"]["cost_usd"]) == 75  # 25 x 1 + 5 x 10
    done = cli("report", "--ledger", ADDRESS, "--since", "all", "-o", "report.html")
    assert (done.code, done.out) == (0, "")
    assert "report.html: 25 requests" in done.err
    assert Path("report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_period_and_a_cascade(cli: Cli) -> None:
    write_ledger()
    from datetime import UTC, datetime

    since = datetime.fromtimestamp(START + 3600 * 20, UTC).isoformat()
    found = json.loads(cli("report", "--ledger", ADDRESS, "--since", since, "--json").out)
    assert found["totals"]["requests"] == 5
    done = cli("report", "--ledger", ADDRESS, "--since", "all", "--cascade", "other")
    assert "holds no such calls" in done.err


def test_the_ledger_of_the_configuration(cli: Cli) -> None:
    write_ledger()
    Path("cascade.toml").write_text(
        '[ledger]\nurl = "sqlite:ledger.db"\n[tiers.a]\nmodel = "simulated:sim-small"\n'
        '[cascades.c]\ntiers = ["a"]\n'
    )
    assert json.loads(cli("report", "--since", "all", "--json").out)["totals"]["requests"] == 25
    assert len(lines(cli("tail", "--once", "--json", "-n", "3").out)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "--ledger", "sqlite:none.db"], "there is no ledger"),
        (["report"], "cascade.toml"),
        (["tail", "--once", "--ledger", "sqlite:none.db"], "there is no ledger"),
        (["report", "--ledger", ADDRESS, "--since", "soon"], "--since 'soon' is no time"),
        (["report", "--ledger", ADDRESS, "--since", "1d", "--until", "2d"], "is not before"),
        (["show", "zzz", "--ledger", ADDRESS], "holds no call 'zzz'"),
        (["show", "id-", "--ledger", ADDRESS], "several calls"),
        (["show", "", "--ledger", ADDRESS], "the id is empty"),
    ],
    ids=["ledger", "config", "once", "since", "until", "unknown", "several", "empty"],
)
def test_mistakes_name_their_mend(cli: Cli, arguments: list[str], message: str) -> None:
    write_ledger()
    done = cli(*arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_a_ledger_in_postgresql(cli: Cli, postgres: PostgresServer) -> None:
    address = postgres.new_database()
    done = cli("show", "--ledger", address)
    assert (done.code, "there is no ledger postgresql://127.0.0.1/" in done.err) == (2, True)
    write_ledger(address=address)
    for command in (["report", "--since", "all"], ["tail", "--once"], ["show", "d-7"], ["ledger"]):
        done = cli(*command, "--ledger", address)
        assert (done.code, done.err) == (0, "")
        assert PASSWORD not in done.out
    assert "25 calls, from 2026-" in done.out


# show


def test_the_story_of_one_call(cli: Cli) -> None:
    write_ledger()
    done = cli("show", "id-5", "--ledger", ADDRESS)
    assert (done.code, done.err) == (0, "")
    for words in (
        "c/chat: accepted after 1 escalation, the answer of large",
        "started 2026-05-29 01:26:40.000 UTC, no budget",
        "plan small > large",
        "tenant acme",
        "1 small (openai:small): rejected, logprob:below_threshold",
        "failed    logprob 0.1 (at 0.5) below_threshold",
        "billed large, answer: 1,000,000 tokens read, 0 tokens written, $10.00",
    ):
        assert words in done.out


def test_the_end_of_an_id_is_enough_and_labels_are_told(cli: Cli) -> None:
    write_ledger()
    done = cli("show", "d-1", "--ledger", ADDRESS)
    assert "call id-1\n" in done.out
    assert "user, " in done.out
    assert ": right" in done.out
    row = json.loads(cli("show", "id-1", "--ledger", ADDRESS, "--json").out)
    assert (row["id"], row["correct"], row["inner"]) == ("id-1", True, [])
    assert Decimal(row["cost_usd"]) == 1


def test_any_part_of_an_id_is_enough_and_without_one_it_is_the_latest(cli: Cli) -> None:
    write_ledger()
    assert "call id-24\n" in cli("show", "--ledger", ADDRESS).out
    assert "call id-19\n" in cli("show", "-19", "--ledger", ADDRESS).out
    ledger = Ledger(ADDRESS)
    ledger.record(replace(call(0, attempt("small", "accepted", 1)), id="e81a-77f2-c9"))
    assert ledger.close()
    assert "call e81a-77f2-c9\n" in cli("show", "77f", "--ledger", ADDRESS).out


def test_without_a_call_there_is_none_to_show(cli: Cli) -> None:
    Ledger(ADDRESS).open()
    done = cli("show", "--ledger", ADDRESS)
    assert (done.code, done.out) == (2, "")
    assert "holds no calls yet" in done.err


def test_calls_inside_of_a_call_are_named(cli: Cli) -> None:
    ledger = Ledger(ADDRESS)
    ledger.record(call(0, attempt("small", "accepted", 1)))
    ledger.record(call(1, attempt("small", "accepted", 1), parent="id-0"))
    assert ledger.close()
    assert "calls inside of it\n  id-1" in cli("show", "id-0", "--ledger", ADDRESS).out
    assert "parent id-0" in cli("show", "id-1", "--ledger", ADDRESS).out


def test_names_cannot_steer_the_terminal(cli: Cli) -> None:
    ledger = Ledger(ADDRESS)
    ledger.record(call(0, attempt("small", "accepted", 1), path="\x1b[31mred\nnext"))
    assert ledger.close()
    for arguments in (["show", "id-0"], ["tail", "--once"], ["report", "--since", "all"]):
        done = cli(*arguments, "--ledger", ADDRESS)
        assert done.code == 0
        assert "\x1b" not in done.out


# tail


def test_the_latest_calls_once(cli: Cli) -> None:
    write_ledger()
    done = cli("tail", "--once", "-n", "3", "--ledger", ADDRESS)
    assert done.code == 0
    shown = done.out.splitlines()
    assert len(shown) == 3
    assert shown[-1].endswith("id-24")
    assert "c/chat small" in shown[-1]
    rows = lines(cli("tail", "--once", "-n", "2", "--json", "--ledger", ADDRESS).out)
    assert [row["id"] for row in rows] == ["id-23", "id-24"]
    assert cli("tail", "--once", "--cascade", "other", "--ledger", ADDRESS).out == ""


def test_it_waits_for_the_first_call(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cascade.cli", "tail", "--json", "--ledger", ADDRESS]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as following:
        try:
            assert following.stdout is not None
            assert following.stderr is not None
            told = following.stderr.readline()
            write_ledger(1)
            assert json.loads(following.stdout.readline())["id"] == "id-0"
        finally:
            following.kill()
    assert told.startswith("cascade: waiting for the first call in sqlite:")


def test_it_follows_what_another_process_writes_until_ctrl_c(tmp_path: Path) -> None:
    write_ledger(3)
    command = [sys.executable, "-m", "cascade.cli", "tail", "--json", "-n", "1"]
    with subprocess.Popen(
        [*command, "--ledger", ADDRESS],
        cwd=tmp_path,
        env=environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as following:
        try:
            assert following.stdout is not None
            assert json.loads(following.stdout.readline())["id"] == "id-2"
            write_ledger(2, first=50)
            seen = [json.loads(following.stdout.readline())["id"] for _ in range(2)]
            os.kill(following.pid, signal.SIGINT)
            _, told = following.communicate(timeout=TIMEOUT_S)
        finally:
            following.kill()
    assert seen == ["id-50", "id-51"]
    assert (following.returncode, told) == (130, "")
