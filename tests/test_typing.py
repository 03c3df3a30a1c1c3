"""The decorator keeps signatures, as mypy and pyright in their strict modes see it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
USAGE = "tests/typing/usage.py"


@pytest.mark.parametrize(
    "checker",
    [
        ["mypy", "--strict", "--warn-unused-ignores", USAGE],
        ["pyright", "--pythonpath", sys.executable, USAGE],
    ],
    ids=["mypy", "pyright"],
)
def test_the_public_api_is_typed(checker: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *checker], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
