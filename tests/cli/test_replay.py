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
    answered = sum(one["answered"] for one in found["by_tier"].values())
    assert 0.95 < answered <= 1  # the rest failed its schema wherever it was asked
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


TOML = """
imports = ["sure_of_it"]

[tiers.small]
model = "simulated:sim-small"
[tiers.medium]
model = "simulated:sim-medium"
[tiers.large]
model = "simulated:sim-large"

[cascades.support]
tiers = ["small", "medium", "large"]
validators = ["finish_reason", { use = "sure", at = 0.8, tiers = ["small"] }]

[cascades.support.paths.quick]
last = "medium"
budget_s = 0.3
[cascades.support.paths.direct]
direct = "small"

[cascades.composed]
tiers = ["small", "large"]
validators = [{ any = ["finish_reason", { use = "sure", at = 0.5 }] }]
"""

VALIDATOR = """
from cascade import validator

@validator("sure")
def sure(answer, context):
    return 0.5
"""


@pytest.mark.usefixtures("_tuned")
def test_a_cascade_in_a_file_with_its_thresholds_and_its_budget(cli: Cli) -> None:
    Path("cascade.toml").write_text(TOML)
    Path("sure_of_it.py").write_text(VALIDATOR)
    ladder = ("--ladder", "small,medium", "--threshold", "sure=0.8")
    by_hand = json.loads(cli("replay", "runs.jsonl", *ladder, "--json").out)
    done = cli("replay", "runs.jsonl", "--cascade", "support", "--path", "quick", "--json")
    assert done.code == 0, done.err
    quick = json.loads(done.out)
    assert quick["budget_s"] == 0.3
    for figure in ("escalation_rate", "n"):
        assert quick[figure] == by_hand[figure]
    assert quick["accuracy"] < by_hand["accuracy"]
    assert quick["quality_vs_strong"] < by_hand["quality_vs_strong"]  # than large, not medium
    direct = json.loads(
        cli("replay", "runs.jsonl", "--cascade", "support", "--path", "direct", "--json").out
    )
    rows = [row for row in lines(150, tasks=("x", "y")) if row["model"] == "small"]
    accepted = [row for row in rows if row["schema_ok"] and (row["signals"]["sure"] or 0) >= 0.8]
    assert direct["by_tier"]["small"]["asked"] == pytest.approx(1)
    assert direct["by_tier"]["small"]["answered"] == pytest.approx(len(accepted) / 150)
    assert direct["accuracy"] == pytest.approx(sum(row["correct"] for row in accepted) / 150)
    assert direct["accuracy"] < direct["single_tiers"]["small"]["accuracy"]
    patient = ("--cascade", "support", "--path", "quick", "--budget-s", "60", "--json")
    assert json.loads(cli("replay", "runs.jsonl", *patient).out)["budget_s"] == 0.3
    whole = json.loads(
        cli("replay", "runs.jsonl", "-c", "cascade.toml", "--cascade", "support", "--json").out
    )
    assert set(whole["by_tier"]) == {"small", "medium", "large"}
    # medium has no threshold: only what fails its schema goes on
    assert 0 < whole["by_tier"]["large"]["answered"] < 0.1
    assert whole["budget_s"] is None
    for recorded, words in (
        ({"tier_model": "simulated:sim-tiny"}, "recorded with 'simulated:sim-tiny' as the tier"),
        ({"versions": {"sure": "2"}}, "validator 'sure' in its version 2, and it is without one"),
    ):
        write(Path("other.jsonl"), [{**row, **recorded} for row in lines(150, tasks=("x", "y"))])
        other = cli("replay", "other.jsonl", "--cascade", "support")
        assert other.code == 2
        assert words in other.err
    refused = cli("replay", "runs.jsonl", "--cascade", "composed")
    assert refused.code == 2
    assert "is made of others with thresholds" in refused.err


@pytest.mark.usefixtures("_tuned")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "give one of --policy FILE, --ladder small,large and --config FILE"),
        (("--policy", "policy.json", "--ladder", "small,large"), "give one of --policy FILE"),
        (("--policy", "policy.json", "--path", "quick"), "give one of --policy FILE"),
        (("--path", "quick", "--threshold", "sure=1"), "--threshold goes with --ladder"),
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
