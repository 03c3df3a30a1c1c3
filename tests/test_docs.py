"""The documentation tells the truth: snippets run, configuration parses, links lead on."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINKED_PAGES = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]

FENCE = re.compile(
    r"^(?:<!-- *(?P<mark>[^\n]*?) *-->\n+)?```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
SNIPPET_TIMEOUT_S = 60.0

# Runs the snippets of one page, one after the other in one namespace: as scripts, and those that
# await at their top level, as in a notebook, in one event loop.
RUNNER = """
import ast, asyncio, inspect, sys

namespace = {"__name__": "__main__"}
with asyncio.Runner() as runner:
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            code = compile(file.read(), path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if code.co_flags & inspect.CO_COROUTINE:
            async def awaited():
                await eval(code, namespace)
            runner.run(awaited())
        else:
            exec(code, namespace)
"""


@dataclass(frozen=True)
class Snippet:
    """One fenced block: where it stands, its language, and the HTML comment directly above it."""

    line: int
    language: str
    mark: str
    code: str

    @property
    def padded(self) -> str:
        """The code moved down to its line in the page, so that a traceback names that line."""
        return "\n" * self.line + self.code


def snippets(page: Path, language: str) -> list[Snippet]:
    text = page.read_text(encoding="utf-8")
    found = [
        Snippet(
            line=text.count("\n", 0, match.start("code")),
            language=match["language"],
            mark=match["mark"] or "",
            code=match["code"],
        )
        for match in FENCE.finditer(text)
    ]
    return [snippet for snippet in found if snippet.language == language]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def snippet_environment() -> dict[str, str]:
    """This environment without any provider's key: a reader without one can run the page too."""
    secret = ("_API_KEY", "_TOKEN", "_BASE_URL")
    kept = {key: value for key, value in os.environ.items() if not key.endswith(secret)}
    return {**kept, "PYTHONWARNINGS": "error", "PYTHONUTF8": "1"}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_snippets_compile(page: Path) -> None:
    for snippet in snippets(page, "python"):
        compile(snippet.padded, name(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_snippets_run(page: Path, tmp_path: Path) -> None:
    files: list[str] = []
    for snippet in snippets(page, "python"):
        if snippet.mark.startswith(("no-run:", "session")):  # sessions have a test of their own
            continue
        file = tmp_path / f"{page.stem}-line-{snippet.line}.py"
        file.write_text(snippet.padded, encoding="utf-8")
        files.append(str(file))
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, *files],
        cwd=work,
        env=snippet_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=SNIPPET_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_snippet_that_does_not_run_says_why(page: Path) -> None:
    marks = [s.mark for s in snippets(page, "python") if s.mark.startswith("no-run")]
    assert all(re.fullmatch(r"no-run: \S.*", mark) for mark in marks), marks


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_configuration_snippets_are_toml(page: Path) -> None:
    for snippet in snippets(page, "toml"):
        if snippet.mark == "cascade.toml":
            assert tomllib.loads(snippet.code), f"{name(page)}:{snippet.line} is empty"


@pytest.mark.parametrize("page", LINKED_PAGES, ids=name)
def test_relative_links_lead_to_files(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = [match["target"].split("#")[0] for match in LINK.finditer(text)]
    relative = [t for t in targets if t and not re.match(r"[a-z]+:", t)]
    missing = [target for target in relative if not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("mark", ["test-command", "demo-command"])
def test_the_readme_marks_the_command_that_ci_runs(mark: str) -> None:
    marked = [s.code for s in snippets(ROOT / "README.md", "bash") if s.mark == mark]
    assert len(marked) == 1
    assert marked[0].startswith("python3 -m venv .venv && ")
