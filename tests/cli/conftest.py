"""What the tests of the command line share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from cascade.cli.app import run_command

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


Cli: TypeAlias = Callable[..., Done]


def environment(**extra: str) -> dict[str, str]:
    """This environment without any provider's key."""
    kept = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "COLUMNS": "100", **extra}


@pytest.fixture(autouse=True)
def _in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command line in this process."""
    import structlog

    def run(*arguments: str | Path) -> Done:
        capfd.readouterr()
        try:
            code = run_command([str(argument) for argument in arguments])
        finally:
            structlog.reset_defaults()
        out, err = capfd.readouterr()
        return Done(code, out, err)

    return run


@pytest.fixture
def command() -> Cli:
    """Runs a command line in a process of its own."""

    def run(*arguments: str | Path, stdin: str | None = None, **extra: str) -> Done:
        done = subprocess.run(
            command_line(*arguments),
            input=stdin,
            env=environment(**extra),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=TIMEOUT_S,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


def command_line(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "cascade.cli", *map(str, arguments)]
