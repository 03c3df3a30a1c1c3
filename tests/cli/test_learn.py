"""`cascade learn`: a router from recorded runs, and whether it is worth it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cascade import ConfigError
from cascade.config import load
from cascade.learn import LearnedRouter
from tests.cli.conftest import ROOT, Cli, environment
from tests.learn.support import TIERS, examples, odd_is_hard, queries, write_runs

EMBED = """
def parity(text):
    return [float(int(text.split()[-1][:-1]) % 2), 0.5]
"""

RULES = """
[tiers.small]
model = "simulated:sim-small"
price = { input = 1, output = 1 }

[tiers.large]
model = "simulated:sim-large"
price = { input = 10, output = 10 }

[cascades.c]
tiers = ["small", "large"]
rules = [{ name = "long", when = { chars = ">50" }, first = "large" }]
"""


def learn(cli: Cli, *more: str) -> Any:
    return cli("learn", "--from", "runs.jsonl", "--prompts", "prompts.jsonl", "--tiers",
               "small,large", *more)  # fmt: skip


def test_a_router_that_is_worth_it(cli: Cli, tmp_path: Path) -> None:
    write_runs(tmp_path, examples())
    done = learn(cli, "-o", "router.json", "--date", "2026-05-01")
    assert done.code == 0
    assert "Worth it." in done.out
    assert "always small" in done.out
    assert "wrote router.json" in done.err
    router = LearnedRouter.load("router.json")
    hard = [text for text, is_hard in queries(200, seed=4) if is_hard]
    sent = [router.choose({}, text, TIERS).first == "large" for text in hard]
    assert sum(sent) > 0.6 * len(hard)
    facts = router.model.facts
    assert (facts["date"], facts["queries"]) == ("2026-05-01", 400)
    assert facts["held_out"]["apgr"] > 0.7


def test_one_that_is_not_is_called_so_and_not_written(cli: Cli, tmp_path: Path) -> None:
    """No word tells which queries are hard."""
    noise = examples(lead=0.4)
    shuffled = noise.correct[1:] + noise.correct[:1]
    write_runs(tmp_path, replace(noise, correct=shuffled))
    done = learn(cli, "-o", "router.json")
    assert done.code == 1
    assert "Not worth it: " in done.out
    assert "$-" not in done.out
    assert "router.json is not written" in done.err
    assert not Path("router.json").exists()
    assert learn(cli, "-o", "router.json", "--anyway").code == 1
    assert LearnedRouter.load("router.json").model.facts["held_out"]["worth_it"] is False


def test_the_same_as_json_beside_rules(cli: Cli, tmp_path: Path) -> None:
    write_runs(tmp_path, examples())
    Path("cascade.toml").write_text(RULES)
    done = learn(cli, "--json", "--config", "cascade.toml")
    found = json.loads(done.out)
    assert found["worth_it"] is True
    assert [route["name"] for route in found["routes"]] == [
        "learned router",
        "always small",
        "always large",
        "rules",
    ]
    assert found["queries"] == 400
    assert 0 <= found["apgr_low"] <= found["apgr"] <= 1.2
    assert len(found["curve"]) == 11


def test_the_rules_are_those_without_the_router_that_is_in_use(cli: Cli, tmp_path: Path) -> None:
    """It was trained on the same queries, and would be taken for rules that know them all."""
    write_runs(tmp_path, examples())
    Path("cascade.toml").write_text(RULES)
    alone = learn(cli, "--json", "--config", "cascade.toml", "-o", "router.json")
    Path("cascade.toml").write_text(RULES + 'router = "router.json"\n')
    assert learn(cli, "--json", "--config", "cascade.toml").out == alone.out
    Path("router.json").unlink()  # one that is not trained yet
    assert learn(cli, "--json", "--config", "cascade.toml").out == alone.out


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (RULES.replace("rules =", "paths = {}\n#"), "has no rules to compare with"),
        (RULES.replace("first", "frist"), "frist"),
        (RULES.replace("large", "huge"), "begin with 'huge', of which the runs know nothing"),
    ],
    ids=["none", "key", "tier"],
)
def test_a_config_that_will_not_do_is_told_before_training(
    cli: Cli, tmp_path: Path, config: str, message: str
) -> None:
    write_runs(tmp_path, examples(100))
    Path("cascade.toml").write_text(config)
    done = learn(cli, "--config", "cascade.toml")
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert "training" not in done.err


def test_judging_has_to_be_paid_from_the_saving(cli: Cli, tmp_path: Path) -> None:
    write_runs(tmp_path, examples())
    done = learn(cli, "--validators-usd", "1")
    assert done.code == 1
    assert "Not worth it" in done.out


def test_an_embedding_by_name(cli: Cli, tmp_path: Path) -> None:
    write_runs(tmp_path, odd_is_hard())
    Path("numbers_of_texts.py").write_text(EMBED)
    learn = [
        "learn",
        "--from",
        "runs.jsonl",
        "--prompts",
        "prompts.jsonl",
        "--tiers",
        "small,large",
    ]
    done = cli(*learn, "--embed", "numbers_of_texts:parity", "-o", "router.json")
    assert done.code == 0
    assert done.err == (
        "training five times on four fifths of 200 queries ...\nwrote router.json\n"
    )
    assert cli(*learn, "--embed", "parity").err.startswith("cascade: --embed parity names no")
    config = """
    [tiers.small]
    model = "simulated:sim-small"
    [tiers.large]
    model = "simulated:sim-large"
    [cascades.c]
    tiers = ["small", "large"]
    router = { file = "router.json", embed = "numbers_of_texts:parity" }
    """
    Path("cascade.toml").write_text(config)
    plan = (
        load("cascade.toml").cascade("c").explain("please tell me about the house of number 7777?")
    )
    assert [rung.tier.name for rung in plan.plan.rungs] == ["large"]
    Path("cascade.toml").write_text(config.replace(', embed = "numbers_of_texts:parity"', ""))
    with pytest.raises(ConfigError, match="give the same function"):
        load("cascade.toml").cascade("c")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tiers", "small,large"], "give recorded runs in --from"),
        (["--from", "runs.jsonl", "--tiers", "small"], "two tiers or more"),
        (
            ["--from", "runs.jsonl", "--tiers", "small,huge"],
            "hold nothing of 'huge'; they are of large, small",
        ),
        (["--from", "runs.jsonl", "--tiers", "small,large"], "no query has both a prompt"),
        (["--from", "none.jsonl", "--tiers", "small,large"], "none.jsonl"),
        (["--from", "runs.jsonl", "--tiers", "a=small,a=large"], "names a tier twice"),
        (["--from", "runs.jsonl", "--tiers", "a=small,b=small"], "the model 'small' twice"),
        (
            "--from runs.jsonl --prompts prompts.jsonl --tiers small,large".split(),
            "which are 48 here and have to be 50; give 63 different ones at the very least",
        ),
        (
            "--from runs.jsonl --prompts prompts.jsonl --tiers small,large --signals wrods".split(),
            "the runs have no signal 'wrods', and no prompt tells it; known: 'audio', ",
        ),
    ],
    ids=["runs", "one", "unknown", "prompts", "file", "twice", "models", "few", "signal"],
)
def test_mistakes_name_their_mend(
    cli: Cli, tmp_path: Path, arguments: list[str], message: str
) -> None:
    write_runs(tmp_path, examples(60))
    done = cli("learn", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_the_package_it_needs_is_named_where_it_is_missing(tmp_path: Path) -> None:
    write_runs(tmp_path, examples(60))
    script = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from cascade.cli.app import run_command\n"
        "print(run_command(['learn', '--from', 'runs.jsonl', '--prompts', 'prompts.jsonl',"
        " '--tiers', 'small,large']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "2"
    assert 'pip install "cascade-engine[learn]"' in done.stderr


def test_a_router_at_work_needs_no_package() -> None:
    script = (
        "import sys\n"
        "for name in ('sklearn', 'numpy', 'scipy', 'httpx'): sys.modules[name] = None\n"
        "from cascade.learn import LearnedRouter; print('ok')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("ok", "")
