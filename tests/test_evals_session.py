"""The session in docs/evals.md runs as it stands, with the exit codes that it names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.test_docs import FENCE, ROOT, snippet_environment

TIMEOUT_S = 110.0
EXITS = re.compile(r"session: exits (\d+)")


def run(step: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    beside = str(Path(sys.executable).parent)
    environment = {**snippet_environment(), "PATH": f"{beside}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        step,
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=TIMEOUT_S,
    )


STEPS = [
    match
    for match in FENCE.finditer((ROOT / "docs" / "evals.md").read_text(encoding="utf-8"))
    if (match["mark"] or "").startswith("session")
]
BEGINNING = 4  # the cases, the configuration, and what really asks the models


def do(steps: Sequence[re.Match[str]], folder: Path) -> None:
    command = {"python": [sys.executable, "-c"], "bash": ["bash", "-euo", "pipefail", "-c"]}
    for match in steps:
        if match["language"] == "toml":
            file = folder / match["mark"].removeprefix("session: ")
            file.write_text(match["code"], encoding="utf-8")
            continue
        done = run([*command[match["language"]], match["code"]], folder)
        exits = EXITS.fullmatch(match["mark"])
        assert done.returncode == (int(exits[1]) if exits else 0), done.stdout + done.stderr


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the session, once the models were asked."""
    folder = tmp_path_factory.mktemp("session")
    do(STEPS[:BEGINNING], folder)
    return folder


@pytest.fixture(scope="module")
def ended(begun: Path) -> Path:
    """The folder of the session, at its end."""
    do(STEPS[BEGINNING:], begun)
    return begun


def test_the_session_begins_with_runs_of_each_tier_and_of_the_cascade(begun: Path) -> None:
    lines = (begun / "runs.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 * 500
    assert len((begun / "today.jsonl").read_text(encoding="utf-8").splitlines()) == 800


def test_the_session_leaves_what_it_promises(ended: Path) -> None:
    names = {path.name for path in ended.iterdir()}
    assert {"runs.jsonl", "today.jsonl", "cheaper.jsonl", "bad.jsonl", "gate.html"} <= names
    assert "❌ cascade gate: FAIL" in (ended / "gate.md").read_text(encoding="utf-8")


def test_the_changes_were_judged_without_asking_anybody(ended: Path) -> None:
    done = run(
        "cascade eval cases.jsonl --grader json_field:answer --json --whole -o again.jsonl".split(),
        ended,
    )
    assert '"sent": 0' in done.stdout
    assert (ended / "again.jsonl").read_bytes() == (ended / "today.jsonl").read_bytes()


def test_the_verdicts_are_those_that_the_page_shows(ended: Path) -> None:
    page = (ROOT / "docs" / "evals.md").read_text(encoding="utf-8")
    done = run(["cascade", "gate", "today.jsonl", "cheaper.jsonl", "--within", "0.02"], ended)
    shown = [line.rstrip() for line in done.stdout.splitlines()]
    for line in [line for line in shown if line.startswith(("PASS", "overall", "slice", "cost"))]:
        assert line in page, line
