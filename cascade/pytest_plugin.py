"""The pytest plugin: fake and replayed tiers, and an assertion that nothing got worse.

It does nothing in suites that do not use it. A test marked `cascade` may ask for two fixtures:

    @pytest.mark.cascade(answers="answers.db")
    def test_triage(fake_tier, replay_cache): ...

`pytest --cascade-record` asks the models and keeps their answers; without it nothing is sent.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

# Nothing else at import: every suite in this environment loads this module.
if TYPE_CHECKING:
    from cascade.evals.answer_cache import AnswerCache
    from cascade.evals.arms import Arm
    from cascade.testing import Scripted
    from cascade.tier import Tier
    from cascade.types import Request

__all__ = ["FakeTiers", "ReplayCache", "assert_non_inferior", "fake_tier", "replay_cache"]

Scores: TypeAlias = "Mapping[Any, float] | Sequence[float] | str | Path"
"""Grades from 0 to 1 (or True and False): by case, in order, or a file of recorded runs."""

_MARKER = (
    "cascade(answers=None): the test uses cascade's fixtures; `answers` is the file beside it "
    "that `replay_cache` replays"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds --cascade-record."""
    parser.getgroup("cascade").addoption(
        "--cascade-record",
        action="store_true",
        help="ask the models for the answers that replay_cache does not hold, and keep them",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line("markers", _MARKER)


class FakeTiers:
    """Makes tiers that play scripts, and remembers what they were asked.

    small = fake_tier("small", "no idea", "42")
    assert fake_tier.requests("small")[0].messages[0]["content"] == "six times seven?"
    """

    def __init__(self) -> None:
        self._scripts: dict[str, Scripted] = {}

    def __call__(self, name: str, *steps: Any, **options: Any) -> Tier:
        """A free tier that gives these answers in turn, the last one again and again.

        Args:
            name: of the tier.
            steps: what each call gives, as of `cascade.testing.Scripted`.
            options: of the `Tier`.

        Raises:
            ConfigError: there are no steps, or the options do not fit together.
        """
        from cascade.testing import Scripted
        from cascade.tier import Tier
        from cascade.types import Price

        self._scripts[name] = Scripted(*steps)
        options.setdefault("price", Price.free())
        return Tier(name, call=self._scripts[name], **options)

    def requests(self, name: str) -> list[Request]:
        """Every request that the tier of that name received, in order."""
        return self._scripts[name].requests


class ReplayCache:
    """Puts tiers behind a file of answers: recorded once, replayed ever after.

    Attributes:
        path: the file.
        recording: whether what is missing is asked for; else it is refused.
    """

    def __init__(self, cache: AnswerCache) -> None:
        from cascade.evals.cached_tier import Scope

        self._cache = cache
        self._scope = Scope()
        self.path = cache.path
        self.recording = not cache.read_only

    def tier(self, tier: Tier) -> Tier:
        """The same tier behind the file. Asked the same twice, it gives two recorded answers."""
        from cascade.evals.cached_tier import CachedTier

        return CachedTier(tier, self._cache, self._scope)


@pytest.fixture
def fake_tier(request: pytest.FixtureRequest) -> FakeTiers:
    """Tiers without a network, for tests marked `cascade`."""
    _marker(request, "fake_tier")
    return FakeTiers()


@pytest.fixture
def replay_cache(request: pytest.FixtureRequest) -> Generator[ReplayCache]:
    """Real answers without a network, for tests marked `cascade(answers=FILE)`."""
    from cascade.evals.answer_cache import AnswerCache

    answers = _marker(request, "replay_cache").kwargs.get("answers")
    if answers is None:
        raise pytest.UsageError(
            'replay_cache needs its file: @pytest.mark.cascade(answers="answers.db")'
        )
    recording = bool(request.config.getoption("--cascade-record"))
    cache = AnswerCache(request.path.parent / answers, read_only=not recording)
    try:
        yield ReplayCache(cache)
    finally:
        cache.close()
    if cache.missed:  # a validator or a cascade may have taken the refusal for a broken call
        pytest.fail(
            f"{cache.missed} answers are not in {cache.path.name}; record them with "
            "`pytest --cascade-record`",
            pytrace=False,
        )


def _marker(request: pytest.FixtureRequest, fixture: str) -> pytest.Mark:
    marker: pytest.Mark | None = request.node.get_closest_marker("cascade")
    if marker is None:
        raise pytest.UsageError(f"{fixture} is for tests marked @pytest.mark.cascade")
    return marker


def assert_non_inferior(
    baseline: Scores,
    candidate: Scores,
    *,
    within: float,
    confidence: float = 0.9,
    clusters: Mapping[Any, str] | Sequence[str] | None = None,
) -> None:
    """Asserts that the candidate is shown to be less than `within` worse than the baseline.

    An open outcome is no pass: the message says how many more cases it takes. Needs the extra
    `evals`.

    Args:
        baseline, candidate: grades of the same cases, by case or in the same order; or files of
            recorded runs with one tier each.
        within: the margin, such as 0.02 for two points of a hundred.
        confidence: of the test.
        clusters: which cases belong together, by case or in order. None: none do, or as the files
            say.

    Raises:
        AssertionError: it is worse, or it is not shown to be no worse.
        ConfigError: the grades cannot be compared.
    """
    __tracebackhide__ = True
    from cascade.evals.arms import paired
    from cascade.evals.gate import Settings, gate

    pairs = paired(_arm("baseline", baseline, clusters), _arm("candidate", candidate, clusters))
    report = gate(pairs, Settings(within=within, confidence=confidence))
    if report.verdict == "PASS":
        return
    why = "\n".join(f"  {reason}" for reason in report.reasons)
    counts = f"{len(report.gains)} answered better, {len(report.losses)} worse"
    worse = f": {', '.join(report.losses[:20])}" if report.losses else ""
    raise AssertionError(f"{report.verdict}, {counts}{worse}\n{why}")


def _arm(name: str, scores: Scores, clusters: Mapping[Any, str] | Sequence[str] | None) -> Arm:
    from cascade.evals.arms import Arm, Entry, read_arm

    if isinstance(scores, str | Path):
        return read_arm(Path(scores), name=name)
    graded = _by_case(scores)
    together = {} if clusters is None else _by_case(clusters)
    entries = {
        ("", "", str(case)): Entry(float(grade), 0.0, cluster=together.get(case))
        for case, grade in graded.items()
    }
    return Arm(name, entries)


def _by_case(values: Mapping[Any, Any] | Sequence[Any]) -> dict[Any, Any]:
    return dict(values) if isinstance(values, Mapping) else dict(enumerate(values))
