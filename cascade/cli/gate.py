"""`cascade gate`: is the candidate not worse than the baseline, overall and on every slice?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from cascade.cli.output import Common, as_json, configure_logs, say, write
from cascade.cli.recorded import listed
from cascade.errors import CascadeError, ConfigError

if TYPE_CHECKING:
    from cascade.evals.arms import Arm, Pairs
    from cascade.evals.gate import Report, Settings

__all__ = ["GateCode", "gate"]


class GateCode(IntEnum):
    """What the end of `cascade gate` says."""

    PASS = 0
    """Shown to be not worse."""
    FAIL = 1
    """Shown to be worse, or too dear."""
    MISTAKE = 2
    """The command line cannot work."""
    INCONCLUSIVE = 3
    """Neither is shown: it takes more cases."""
    BROKEN = 4
    """The runs or a policy cannot be read, or lack what is asked for; or the gate broke."""


@Parameter(name="*", group="The two sides")
@dataclass(frozen=True, slots=True)
class Sides:
    """Which tiers, or policies, of the files are compared."""

    baseline: str | None = None
    """The tier that is the baseline. Left out: the only one of its file."""
    candidate: str | None = None
    """The tier that is the candidate. Left out: the only one of its file."""
    baseline_policy: Path | None = None
    """A policy file whose replay is the baseline."""
    candidate_policy: Path | None = None
    """A policy file whose replay is the candidate."""
    prompts: Annotated[tuple[Path, ...], Parameter(negative="")] = ()
    """Files with the prompts, as for `cascade tune`, for policies that begin by them."""


@Parameter(name="*", group="Reports")
@dataclass(frozen=True, slots=True)
class Files:
    """Files to write beside what is printed."""

    markdown: Path | None = None
    """Markdown, for a pull request."""
    junit: Path | None = None
    """JUnit XML, for a CI server."""
    html: Path | None = None
    """HTML with a forest plot, the frontier and reliability diagrams."""
    show_content: Annotated[bool, Parameter(negative="")] = False
    """Print the answers of the cases that were answered better or worse."""


_COMMON = Common()
_SIDES = Sides()
_FILES = Files()


def gate(
    *runs: Path,
    within: Annotated[float, Parameter(validator=Number(gt=0, lt=1))] = 0.02,
    confidence: Annotated[float, Parameter(validator=Number(gt=0.5, lt=1))] = 0.9,
    max_cost_increase: Annotated[float | None, Parameter(validator=Number(gt=-1))] = None,
    slices: str = "",
    method: Literal["auto", "tango", "betting", "t", "bootstrap"] = "auto",
    self_check: Annotated[bool, Parameter(negative="")] = False,
    seed: int = 0,
    sides: Sides = _SIDES,
    files: Files = _FILES,
    common: Common = _COMMON,
) -> int:
    """Say whether a candidate (policy, model, prompt) is not worse than the baseline.

    It passes only when that is shown: by a test of non-inferiority on the whole, and on each slice
    with the cases for one. It fails where it is shown to be worse. Between the two it says how many
    more cases it takes.

    ```
    cascade gate baseline.jsonl candidate.jsonl --within 0.02
    cascade gate runs.jsonl --baseline large --candidate-policy policy.json --markdown gate.md
    cascade gate --self-check twice.jsonl
    ```

    Exit codes: 0 pass, 1 fail, 2 a mistake in the command line, 3 inconclusive, 4 the runs or a
    policy cannot be read or lack what is asked for, or the gate itself broke.

    Parameters
    ----------
    runs
        Recorded runs of the baseline and of the candidate; or one file that holds both.
    within
        How much worse the mean grade may be: 0.02 is two points of a hundred.
    confidence
        Of each test.
    max_cost_increase
        The share by which the mean cost may rise, as 0.1. Left out: cost decides nothing.
    slices
        Slices that have to be proven like the whole, separated by commas; or all.
    method
        The test. Left out: Tango's for right and wrong, the betting bound for grades between;
        the paired t test and the bootstrap are for many cases.
    self_check
        Measure the noise of the eval on two runs of one thing, or on one run with --samples 2.
    seed
        Of the bootstraps.
    """
    configure_logs(common.log_level)
    _check(runs, sides, self_check)
    from cascade.evals.gate import Settings

    settings = Settings(within, confidence, max_cost_increase, listed(slices), method, seed)
    try:
        return _decided(runs, settings, sides, files, self_check=self_check, json=common.json)
    except (CascadeError, OSError):
        raise  # told by whoever runs the command
    except Exception as error:
        # Python would exit with 1, which says FAIL to a CI server.
        where = extract_tb(error.__traceback__)[-1]
        say(
            f"cascade: the gate broke before it came to a verdict: {type(error).__name__}: {error} "
            f"({Path(where.filename).name}, line {where.lineno}); please report it"
        )
        return GateCode.BROKEN


def _decided(
    runs: tuple[Path, ...],
    settings: Settings,
    sides: Sides,
    files: Files,
    *,
    self_check: bool,
    json: bool,
) -> int:
    try:
        pairs = _pairs(runs, sides, self_check)
        tiers = _tiers(runs) if files.html is not None else {}
    except ConfigError as error:
        say(f"cascade: {error}")
        return GateCode.BROKEN
    if self_check:
        return _check_noise(pairs, settings, json=json)
    from cascade.evals.gate import gate as judged

    report = judged(pairs, settings)
    _write_files(report, files, tiers)
    _tell(report, files, json=json)
    return GateCode[report.verdict]


def _check(runs: tuple[Path, ...], sides: Sides, self_check: bool) -> None:
    if not 1 <= len(runs) <= 2:
        raise ConfigError("give the recorded runs of the baseline and of the candidate")
    for side in ("baseline", "candidate"):
        if getattr(sides, side) is not None and getattr(sides, f"{side}_policy") is not None:
            raise ConfigError(f"--{side} and --{side}-policy are two baselines; leave one out")
    if sides.prompts and sides.baseline_policy is None and sides.candidate_policy is None:
        raise ConfigError("--prompts goes with --baseline-policy or --candidate-policy")
    given = [sides.baseline_policy or sides.baseline, sides.candidate_policy or sides.candidate]
    if len(runs) == 1 and not self_check and None in given:
        raise ConfigError(
            "one file of runs needs to be told which tiers or policies of it are compared: "
            "--baseline and --candidate, or --baseline-policy and --candidate-policy"
        )
    if len(runs) == 1 and given[0] is not None and given[0] == given[1] and not self_check:
        raise ConfigError("both sides are the same; --self-check measures the noise of one")


def _pairs(runs: tuple[Path, ...], sides: Sides, self_check: bool) -> Pairs:
    from cascade.evals.arms import paired, sampled_arms

    if self_check and len(runs) == 1:
        return paired(*sampled_arms(runs[0], sides.baseline or sides.candidate))
    baseline = _arm(runs[0], sides.baseline, sides.baseline_policy, sides.prompts)
    candidate = _arm(runs[-1], sides.candidate, sides.candidate_policy, sides.prompts)
    if baseline.name == candidate.name:  # two runs of one cascade: their files tell them apart
        baseline = replace(baseline, name=runs[0].stem)
        candidate = replace(candidate, name=runs[-1].stem)
    return paired(
        replace(baseline, name=f"{baseline.name} (baseline)"),
        replace(candidate, name=f"{candidate.name} (candidate)"),
    )


def _arm(path: Path, tier: str | None, policy: Path | None, prompts: tuple[Path, ...]) -> Arm:
    from cascade.evals.arms import read_arm, replayed_arm
    from cascade.policy import Policy

    if policy is not None:
        return replayed_arm(path, Policy.load(policy), name=policy.name, prompts=prompts)
    return read_arm(path, tier)


def _tiers(runs: tuple[Path, ...]) -> dict[str, tuple[float, float]]:
    """The single tiers of a file that holds several."""
    from cascade.evals.arms import tier_points

    found = tier_points(runs[0])
    return found if len(found) > 1 else {}


def _write_files(report: Report, files: Files, tiers: dict[str, tuple[float, float]]) -> None:
    from cascade.cli.gate_html import html
    from cascade.evals.gate_view import junit, markdown

    if files.markdown is not None:
        files.markdown.write_text(markdown(report), encoding="utf-8")
    if files.junit is not None:
        files.junit.write_text(junit(report), encoding="utf-8")
    if files.html is not None:
        files.html.write_text(html(report, tiers), encoding="utf-8")


def _tell(report: Report, files: Files, *, json: bool) -> None:
    from cascade.evals.gate_view import as_dict, contents, text

    if json:
        found = as_dict(report)
        if files.show_content:
            found["answers"] = list(contents(report))
        write(as_json(found, indent=2))
        return
    write(text(report))
    if files.show_content:
        for line in contents(report):
            write(line)


def _check_noise(pairs: Pairs, settings: Settings, *, json: bool) -> int:
    from cascade.evals.gate_noise import noise
    from cascade.evals.gate_view import noise_dict, noise_text

    found = noise(pairs, settings)
    write(as_json(noise_dict(found), indent=2) if json else noise_text(found))
    too_often = found.shares["FAIL"] > settings.alpha
    return GateCode.FAIL if found.verdict == "FAIL" or too_often else GateCode.PASS
