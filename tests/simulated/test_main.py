from __future__ import annotations

import signal
import socket
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
    with pytest.raises(SystemExit):
        main(["--host", "192.0.2.1", "--port", "0"])
    said = capsys.readouterr()
    assert said.out == ""
    assert "reachable from other machines" in said.err


def test_a_port_that_is_taken_is_told_without_a_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit):
        main(["--port", str(taken.getsockname()[1])])
    assert "in use" in capsys.readouterr().err


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
