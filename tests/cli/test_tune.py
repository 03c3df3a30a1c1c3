from __future__ import annotations

import json
from pathlib import Path

import pytest

from cascade.policy import Policy
from tests.cli.conftest import Cli
from tests.evals.recorded import lines, write

TUNE = (
    "tune",
    "runs.jsonl",
    "--tiers",
    "small,large",
    "--folds",
    "2",
    "--repeats",
    "1",
    "--target",
    "0.9",
)


@pytest.fixture
def recorded() -> Path:
    return write(Path("runs.jsonl"), lines(150))


@pytest.mark.usefixtures("recorded")
def test_tune_writes_a_policy_and_prints_its_card(cli: Cli) -> None:
    done = cli(*TUNE, "-o", "policy.json")
    assert done.code == 0, done.err
    policy = Policy.load(Path("policy.json"))
    assert set(policy.tiers) == {"small", "large"}
    assert policy.sha256()[:12] in done.out
    assert "wrote policy.json" in done.err
    assert "150 queries are few" in done.out


@pytest.mark.usefixtures("recorded")
def test_json_is_the_evidence(cli: Cli) -> None:
    done = cli(*TUNE, "--json", "--created-at", "2030-01-01")
    evidence = json.loads(done.out)
    assert evidence["n"] == 150
    assert evidence["target"] == 0.9
    assert evidence["created_at"] == "2030-01-01"
    assert evidence["frontier"][-1]["quality"] >= evidence["frontier"][0]["quality"]
    assert len(evidence["families"]) == 4


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "give one file of recorded runs"),
        (("none.jsonl",), "cannot be read"),
        (("runs.jsonl", "--tiers", "small,huge"), "no tier huge; they have large, medium, small"),
        (("runs.jsonl", "--signals", "mood"), "no signal mood; they have sure"),
        (("runs.jsonl", "--strong", "huge"), "'huge' is none of"),
        (("runs.jsonl", "--task", "other"), "no run that passes the filters"),
        (("runs.jsonl", "--confidence", "0.9"), "--confidence goes with --within"),
        (("runs.jsonl", "--strict"), "--strict goes with --within"),
    ],
)
def test_a_mistake_is_told(cli: Cli, options: tuple[str, ...], words: str) -> None:
    done = cli("tune", *options)
    assert done.code == 2
    assert words in done.err
    assert done.out == ""
