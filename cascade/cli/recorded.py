"""How the commands over recorded runs read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cascade.cli.output import say
from cascade.errors import ConfigError

if TYPE_CHECKING:
    from cascade.evals.runs import Runs

__all__ = ["Filters", "listed", "read"]


@Parameter(name="*", group="Which runs")
@dataclass(frozen=True, slots=True)
class Filters:
    """Which lines of the files count. Each takes one value or several, separated by commas."""

    dataset: Annotated[str | None, Parameter(name="--dataset")] = None
    """Only lines of these data sets."""
    task: Annotated[str | None, Parameter(name="--task")] = None
    """Only lines of these tasks."""
    split: Annotated[str | None, Parameter(name="--split")] = None
    """Only lines of these splits."""

    def where(self) -> dict[str, tuple[str, ...]]:
        """The values allowed by field."""
        asked = {"dataset": self.dataset, "task": self.task, "split": self.split}
        return {field: listed(text) for field, text in asked.items() if text is not None}


def listed(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def read(
    paths: Sequence[Path],
    filters: Filters,
    *,
    tiers: Sequence[str],
    signals: Sequence[str] | None,
    slice_by: str | None,
    prompts: Sequence[Path] = (),
) -> Runs:
    """The runs, with a word on stderr about what was left out.

    Args:
        prompts: files with what each query says. Empty: it is not known.

    Raises:
        ConfigError: there is no file, or the files do not hold what is asked for.
    """
    from cascade.evals.runs import read_runs

    if not paths:
        raise ConfigError("give one file of recorded runs or more; `--help` shows an example")
    runs = read_runs(paths, tiers=tiers, signals=signals, where=filters.where(), slice_by=slice_by)
    if prompts:
        from cascade.evals.tier_zero import with_texts

        runs = with_texts(runs, prompts)
    if runs.dropped:
        lacking = "not every tier has run them" + (", or their prompt is not there" * bool(prompts))
        say(f"{runs.dropped} queries left out: {lacking}")
    if runs.duplicates:
        say(f"{runs.duplicates} lines were replaced by later lines of the same query and tier")
    return runs
