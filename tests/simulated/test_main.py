from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import cascade.simulated
from cascade.simulated.__main__ import main

ROOT = Path(__file__).resolve().parents[2]


def test_it_runs_as_a_server_of_its_own() -> None:
    command = [sys.executable, "-W", "error", "-m", "cascade.simulated", "--port", "0"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("simulated models sim-small, sim-medium, sim-large at http://")
            reply = httpx.get(f"{line.split()[-1]}/models", timeout=30)
            assert len(reply.json()["data"]) == 3
        finally:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_host_others_can_reach_needs_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="reachable from other machines"):
        main(["--host", "192.0.2.1", "--port", "0"])
    assert capsys.readouterr().out == ""


def test_public_names_exist() -> None:
    names = cascade.simulated.__all__
    assert len(names) == len(set(names))
    assert all(hasattr(cascade.simulated, name) for name in names)


def test_importing_needs_no_h11() -> None:
    script = "import cascade.simulated, sys; print('h11' in sys.modules, 'httpx' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["False", "False"], done.stderr
