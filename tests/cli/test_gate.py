from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.cli.conftest import ROOT, Cli
from tests.evals.recorded import write


def runs(path: Path, wrong: range, *, tier: str = "new", n: int = 600, **more: Any) -> Path:
    rows = [
        {"qid": f"q{i}", "model": tier, "correct": int(i not in wrong), "cost_usd": 0.01, **more}
        for i in range(n)
    ]
    return write(path, rows)


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    return runs(tmp_path / "old.jsonl", range(10), tier="old", answer="secret answer")


@pytest.mark.parametrize(
    ("wrong", "code", "verdict"),
    [
        (range(5, 14), 0, "PASS"),
        (range(40), 1, "FAIL"),
        (range(10, 26), 3, "INCONCLUSIVE"),
    ],
)
def test_the_exit_code_is_the_verdict(
    cli: Cli, baseline: Path, tmp_path: Path, wrong: range, code: int, verdict: str
) -> None:
    candidate = runs(tmp_path / "new.jsonl", wrong)
    done = cli("gate", baseline, candidate, "--within", "0.02", "--confidence", "0.9")
    assert (done.code, done.err) == (code, "")
    assert done.out.startswith(f"{verdict}: new (candidate) against old (baseline)")
    assert "secret answer" not in done.out
    found = json.loads(cli("gate", baseline, candidate, "--json").out)
    assert found["verdict"] == verdict


def test_the_files_it_writes(cli: Cli, baseline: Path, tmp_path: Path) -> None:
    candidate = runs(tmp_path / "new.jsonl", range(40))
    files = ("--markdown", "gate.md", "--junit", "gate.xml", "--html", "gate.html")
    assert cli("gate", baseline, candidate, *files).code == 1
    assert "cascade gate: FAIL" in (tmp_path / "gate.md").read_text(encoding="utf-8")
    parsed = ElementTree.parse(tmp_path / "gate.xml")  # noqa: S314 - written by the test
    assert parsed.getroot().tag == "testsuites"
    page = (tmp_path / "gate.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert page.count("<svg") == 2


def test_content_is_shown_when_asked_for(cli: Cli, baseline: Path, tmp_path: Path) -> None:
    candidate = runs(tmp_path / "new.jsonl", range(40), answer="other answer")
    done = cli("gate", baseline, candidate, "--show-content")
    assert "q10 (worse): 'secret answer' became 'other answer'" in done.out
    told = json.loads(cli("gate", baseline, candidate, "--show-content", "--json").out)
    assert len(told["answers"]) == 30


def test_two_runs_of_one_cascade_are_called_by_their_files(cli: Cli, tmp_path: Path) -> None:
    today = runs(tmp_path / "today.jsonl", range(10), tier="support")
    cheaper = runs(tmp_path / "cheaper.jsonl", range(5, 14), tier="support")
    done = cli("gate", today, cheaper)
    assert done.out.startswith("PASS: cheaper (candidate) against today (baseline), within 2.00%")


def test_one_file_with_two_tiers(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "both.jsonl"
    one, two = (
        runs(tmp_path / f"{tier}.jsonl", range(k), tier=tier).read_text()
        for tier, k in (("small", 100), ("large", 10))
    )
    path.write_text(one + two)
    done = cli("gate", path, "--baseline", "small", "--candidate", "large")
    assert done.code == 0
    assert cli("gate", path).code == 2
    assert cli("gate", path, "--baseline", "small", "--candidate", "small").code == 2


def test_noise(cli: Cli, baseline: Path, tmp_path: Path) -> None:
    again = runs(tmp_path / "again.jsonl", range(5, 15), tier="old")
    done = cli("gate", "--self-check", baseline, again)
    assert done.code == 0
    assert "1.7% are graded differently" in done.out
    assert "with no change at all the gate would say: PASS 99.5%" in done.out
    found = json.loads(cli("gate", "--self-check", baseline, again, "--json").out)
    assert found["discordant"] == pytest.approx(10 / 600)
    assert cli("gate", "--self-check", baseline, runs(again, range(60))).code == 1
    assert cli("gate", "--self-check", baseline).code == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["old.jsonl", "gone.jsonl"],
        ["old.jsonl", "broken.jsonl"],
        ["old.jsonl", "old.jsonl", "--candidate", "medium"],
        ["old.jsonl", "--baseline", "old", "--candidate-policy", "gone.json"],
        ["old.jsonl", "others.jsonl"],
    ],
)
def test_what_cannot_be_read_is_no_verdict(
    cli: Cli, baseline: Path, tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "broken.jsonl").write_text("{")
    write(tmp_path / "others.jsonl", [{"qid": "z", "model": "n", "correct": 1, "cost_usd": 1}])
    done = cli("gate", *arguments)
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith("cascade: ")


def test_a_gate_that_breaks_gives_no_verdict(
    cli: Cli, baseline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("cascade.evals.gate.gate", broken)
    done = cli("gate", baseline, baseline)
    assert (done.code, done.out) == (4, "")
    assert "before it came to a verdict: ZeroDivisionError: by nothing" in done.err
    assert "Traceback" not in done.err
    monkeypatch.setattr("cascade.evals.gate_noise.noise", broken)
    assert cli("gate", "--self-check", baseline, baseline).code == 4


@pytest.mark.parametrize("field", [{"weight": 0}, {"signals": None}])
def test_rows_that_count_for_nothing_break_nothing(
    cli: Cli, baseline: Path, tmp_path: Path, field: dict[str, Any]
) -> None:
    candidate = runs(tmp_path / "new.jsonl", range(10))
    odd = runs(tmp_path / "odd.jsonl", range(0), n=1, tier="new", **field).read_text()
    candidate.write_text(candidate.read_text() + odd.replace('"q0"', '"q600"'))
    assert cli("gate", baseline, candidate).code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["old.jsonl", "old.jsonl", "old.jsonl"],
        ["old.jsonl", "old.jsonl", "--within", "0"],
        ["old.jsonl", "old.jsonl", "--confidence", "0.4"],
        ["old.jsonl", "old.jsonl", "--slices", "none"],
        ["old.jsonl", "old.jsonl", "--method", "guess"],
        ["old.jsonl", "old.jsonl", "--candidate", "old", "--candidate-policy", "p.json"],
    ],
)
def test_mistakes(cli: Cli, baseline: Path, arguments: list[str]) -> None:
    assert cli("gate", *arguments).code == 2


def test_the_workflow_to_copy_uses_options_that_there_are(cli: Cli) -> None:
    text = (ROOT / "docs" / "ci" / "cascade-gate.yml").read_text(encoding="utf-8")
    commands = [
        line.strip().split() for line in text.replace("\\\n", " ").splitlines()
        if line.strip().startswith("cascade ")
    ]  # fmt: skip
    assert {words[1] for words in commands} == {"eval", "gate"}
    for _, name, *words in commands:
        known = cli(name, "--help").out
        assert [word for word in words if word.startswith("--") and word not in known] == []
