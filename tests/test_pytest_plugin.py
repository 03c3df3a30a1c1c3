from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cascade.pytest_plugin import assert_non_inferior
from tests.evals.recorded import write

pytest_plugins = "pytester"

PLUGIN = ("-p", "cascade.pytest_plugin")


@pytest.fixture(autouse=True)
def _settings(request: pytest.FixtureRequest) -> None:
    """Warnings are errors, and the other plugins installed here have nothing to warn of."""
    if "pytester" in request.fixturenames:
        pytester: pytest.Pytester = request.getfixturevalue("pytester")
        pytester.makeini(
            "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"
        )


ASKS = """
import anyio
import pytest
from cascade import Cascade, Tier


@pytest.mark.cascade(answers="answers.db")
def test_asks(replay_cache):
    small = replay_cache.tier(Tier("small", model="simulated:sim-small"))
    cascade = Cascade(tiers=[small])
    first = anyio.run(cascade.run, "Is 17 a prime number?")
    second = anyio.run(cascade.run, "Is 17 a prime number?")
    assert first.accepted and second.accepted
    assert len(first.attempts[0].charges) == 1
"""


def test_suites_that_do_not_use_it_are_left_alone(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # what others load is theirs
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    pytester.makepyfile(
        """
        import sys

        def test_nothing_is_loaded(request):
            heavy = {"numpy", "scipy", "pydantic", "httpx", "cascade.evals"}
            assert not heavy & set(sys.modules)

        def test_no_fixture_is_used(request):
            assert not [name for name in request.fixturenames if "cascade" in name]
        """
    )
    pytester.runpytest_subprocess(*PLUGIN, "--strict-markers").assert_outcomes(passed=2)


def test_fake_tiers(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import anyio
        import pytest
        from cascade import Cascade

        @pytest.mark.cascade
        def test_it_escalates(fake_tier):
            small, large = fake_tier("small", "no idea"), fake_tier("large", "42")
            sure = lambda answer, context: answer.text == "42"
            cascade = Cascade(tiers=[small, large], validators=[sure])
            result = anyio.run(cascade.run, "six times seven?")
            assert (result.value, result.tier, result.cost_usd) == ("42", "large", 0)
            assert fake_tier.requests("small")[0].messages[0]["content"] == "six times seven?"

        def test_without_the_marker(fake_tier):
            pass
        """
    )
    done = pytester.runpytest_subprocess(*PLUGIN, "--strict-markers")
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(["*fake_tier is for tests marked @pytest.mark.cascade*"])


def test_answers_are_recorded_once_and_replayed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(ASKS)
    missing = pytester.runpytest_subprocess(*PLUGIN)
    missing.assert_outcomes(errors=1)
    missing.stdout.fnmatch_lines(["*no file of answers*"])
    pytester.runpytest_subprocess(*PLUGIN, "--cascade-record").assert_outcomes(passed=1)
    pytester.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=1)
    changed = ASKS.replace("Is 17", "Is 19")
    pytester.makepyfile(changed)
    refused = pytester.runpytest_subprocess(*PLUGIN)
    refused.assert_outcomes(failed=1, errors=1)
    refused.stdout.fnmatch_lines(["*1 answers are not in answers.db; record them with*"])


def test_a_replay_needs_its_file(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(ASKS.replace('(answers="answers.db")', ""))
    done = pytester.runpytest_subprocess(*PLUGIN)
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*replay_cache needs its file*"])


def test_not_worse_passes() -> None:
    grades = [1.0] * 300
    assert_non_inferior(grades, grades, within=0.02)
    by_case = {f"q{i}": True for i in range(300)}
    assert_non_inferior(by_case, dict(reversed(by_case.items())), within=0.02, confidence=0.95)


def test_worse_and_open_do_not() -> None:
    with pytest.raises(
        AssertionError, match=r"FAIL, 0 answered better, 30 worse: 0, 1, 2"
    ) as failed:
        assert_non_inferior([1.0] * 300, [0.0] * 30 + [1.0] * 270, within=0.02)
    assert "the candidate is worse, by 10.00% on 300 cases" in str(failed.value)
    with pytest.raises(AssertionError, match="INCONCLUSIVE") as still_open:
        assert_non_inferior([True] * 30, [True] * 30, within=0.02)
    assert "it needs about" in str(still_open.value)


def test_clusters_make_less_of_the_cases() -> None:
    ours, theirs = [1.0] * 400, [1.0] * 396 + [0.0] * 4
    assert_non_inferior(ours, theirs, within=0.02)
    with pytest.raises(AssertionError, match="INCONCLUSIVE"):
        assert_non_inferior(ours, theirs, within=0.02, clusters=[str(i // 50) for i in range(400)])


def test_files_of_recorded_runs(tmp_path: Path) -> None:
    rows = [{"qid": i, "model": "t", "correct": 1, "cost_usd": 0} for i in range(300)]
    path = write(tmp_path / "runs.jsonl", rows)
    assert_non_inferior(path, str(path), within=0.02)


def test_importing_it_loads_nothing_but_the_package() -> None:
    script = (
        "import sys, cascade, pytest\nmine = set(sys.modules)\n"
        "import cascade.pytest_plugin\n"
        "print(sorted(name for name in set(sys.modules) - mine))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['cascade.pytest_plugin']"
