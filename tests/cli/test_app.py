from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

from cascade.cli.app import COMMANDS
from cascade.cli.codes import ExitCode
from cascade.cli.output import harmless
from tests.cli.conftest import ROOT, Cli, environment


def test_help_lists_every_command(cli: Cli) -> None:
    done = cli("--help")
    assert (done.code, done.err) == (0, "")
    for line in COMMANDS.values():
        assert line.split()[0] in done.out
    assert "Exit codes: 0 done" in done.out


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_teaches(cli: Cli, name: str) -> None:
    done = cli(name, "--help")
    assert (done.code, done.err) == (0, "")
    assert "--json" in done.out
    function = getattr(import_module(f"cascade.cli.{name}"), name)
    first_line = function.__doc__.splitlines()[0].split(":")[0].rstrip(".")
    assert first_line in " ".join(done.out.split())


@pytest.mark.parametrize("name", ["init", "check", "run"])
def test_help_shows_an_example(cli: Cli, name: str) -> None:
    assert cli(name, "--help").out.count(f"cascade {name}") >= 3


def test_no_arguments_show_the_help(cli: Cli) -> None:
    done = cli()
    assert done.code == 0
    assert "Usage: cascade" in done.out


def test_version(cli: Cli) -> None:
    assert cli("--version").out.strip() == version("cascade-engine")


def test_the_documented_exit_codes_are_those_there_are() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for code in ExitCode:
        assert f"| {code.value} |" in page


@pytest.mark.parametrize("name", ["init", "check", "run"])
def test_every_option_is_documented(cli: Cli, name: str) -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    options = set(re.findall(r"│.*?(--[a-z-]+)", cli(name, "--help").out))
    own = options - {"--help", "--version", "--prompt"} - ({"--file"} if name != "run" else set())
    assert {"--json", "--log-level"} <= own
    assert [option for option in sorted(own) if option not in page] == []


@pytest.mark.parametrize("missing", ["cyclopts", "rich"])
def test_without_the_extra_the_install_line_is_shown(tmp_path: Path, missing: str) -> None:
    script = (
        "import sys, importlib.util as u\n"
        "find = u.find_spec\n"
        f"u.find_spec = lambda n, *a: None if n == {missing!r} else find(n, *a)\n"
        "from cascade.cli import main\nmain(['--help'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert missing in done.stderr
    assert 'pip install "cascade-engine[cli]"' in done.stderr


def test_what_a_model_wrote_cannot_steer_a_terminal() -> None:
    assert harmless("a\tb\nc\x1b[2Jd\re\x9bf é") == "a\tb\nc\ufffd[2Jd\ufffde\ufffdf é"


def test_no_colour_where_it_is_not_wanted(command: Cli) -> None:
    Path("cascade.toml").write_text("x = 1\n", encoding="utf-8")
    assert "\x1b" not in command("check").err
    assert "\x1b" not in command("check", NO_COLOR="1", FORCE_COLOR="1").err
    assert "\x1b" not in command("--help").out
