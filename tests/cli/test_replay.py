from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.evals.recorded import lines, write


@pytest.fixture
def _tuned(cli: Cli) -> None:
    write(Path("runs.jsonl"), lines(150, tasks=("x", "y")))
    write(Path("others.jsonl"), lines(120, tasks=("x", "y"), start=150, seed=5))
    done = cli(
        "tune",
        "runs.jsonl",
        "--target",
        "0.9",
        "--folds",
        "2",
        "--repeats",
        "1",
        "-o",
        "policy.json",
    )
    assert done.code == 0, done.err


@pytest.mark.usefixtures("_tuned")
def test_a_policy_on_other_runs(cli: Cli) -> None:
    done = cli("replay", "others.jsonl", "--policy", "policy.json", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["n"] == 120
    assert 0.5 < found["quality_vs_strong"] < 1.2
    assert 0 < found["relative_cost"] < 1.2
    assert sum(one["answered"] for one in found["by_tier"].values()) == pytest.approx(1)
    assert set(found["by_slice"]) == {"x", "y"}
    assert set(found["single_tiers"]) == {"small", "medium", "large"}
    told = cli("replay", "others.jsonl", "--policy", "policy.json")
    assert told.out.startswith(f"120 queries: {found['accuracy']:.2%} right")


@pytest.mark.usefixtures("_tuned")
def test_a_ladder_with_a_threshold_and_a_budget(cli: Cli) -> None:
    ladder = (
        "replay",
        "runs.jsonl",
        "--ladder",
        "small,large",
        "--threshold",
        "sure=0.8",
        "--json",
    )
    free = json.loads(cli(*ladder).out)
    tight = json.loads(cli(*ladder, "--budget-s", "0.5").out)
    assert 0 < free["escalation_rate"] < 1
    assert tight["by_tier"]["large"]["answered"] == 0
    assert tight["latency_s"]["p99"] == 0.5
    assert tight["accuracy"] < free["accuracy"]


@pytest.mark.usefixtures("_tuned")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "give either --policy FILE or --ladder"),
        (("--policy", "policy.json", "--ladder", "small,large"), "give either --policy FILE or"),
        (("--policy", "policy.json", "--threshold", "sure=1"), "--threshold goes with --ladder"),
        (("--policy", "runs.jsonl"), "is not JSON"),
        (("--policy", "none.json"), "cannot be read"),
        (("--ladder", "small,large"), "small has no threshold"),
        (("--ladder", "small,large", "--budget-s", "0"), "give seconds above 0"),
    ],
)
def test_a_mistake_is_told(cli: Cli, options: tuple[str, ...], words: str) -> None:
    done = cli("replay", "runs.jsonl", *options)
    assert done.code == 2
    assert words in done.err


@pytest.mark.usefixtures("_tuned")
def test_a_policy_for_other_tiers_is_refused(cli: Cli) -> None:
    rows = [row for row in lines(60) if row["model"] != "medium"]
    write(Path("fewer.jsonl"), rows)
    done = cli("replay", "fewer.jsonl", "--policy", "policy.json")
    assert done.code == 2
    assert "no tier medium; they have large, small" in done.err
