"""`cascade replay`: what a policy would have answered and cost on recorded runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cascade.cli.codes import ExitCode
from cascade.cli.output import Common, as_json, configure_logs, write
from cascade.cli.recorded import Filters, listed, read
from cascade.config import load
from cascade.errors import ConfigError
from cascade.options import check_seconds
from cascade.policy import Policy

if TYPE_CHECKING:
    from cascade.evals.explicit import ByPlan
    from cascade.evals.runs import Runs
    from cascade.routing import Plan

__all__ = ["replay"]

_COMMON = Common()
_FILTERS = Filters()


def replay(
    *runs: Path,
    policy: Annotated[Path | None, Parameter(name=["--policy", "-p"])] = None,
    ladder: str | None = None,
    threshold: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    config: Annotated[Path | None, Parameter(name=["--config", "-c"])] = None,
    cascade: str | None = None,
    path: str | None = None,
    prompts: Annotated[tuple[Path, ...], Parameter(negative="")] = (),
    budget: Annotated[float | None, Parameter(name=["--budget-s", "--budget"])] = None,
    seed: int = 0,
    filters: Filters = _FILTERS,
    common: Common = _COMMON,
) -> int:
    """Show what a policy would have answered and cost on recorded runs. Nothing is sent anywhere.

    The decisions are the ones the policy would take live: after each answer it sees the signals
    of the tiers asked so far and no more. A query of which no answer is accepted is not right.

    ```
    cascade tune runs.jsonl.gz --tiers small,large --target 0.98 -o policy.json
    cascade replay other-runs.jsonl.gz --policy policy.json
    cascade replay runs.jsonl.gz --ladder small,large --threshold p_true=0.8 --budget-s 2
    ```

    Parameters
    ----------
    runs
        Files of recorded runs: JSON Lines, gzipped or not.
    policy
        A policy file of `cascade tune`.
    ladder
        Tiers separated by commas, to try instead of a policy.
    threshold
        signal=0.9 for every rung of --ladder but the last, or tier:signal=0.9 for one.
    config
        A cascade.toml: the ladder, thresholds and budget of a cascade in it. The last rung's
        threshold counts too.
    cascade
        Which of its cascades. Left out: the only one.
    path
        Which path of the cascade. Left out: the whole ladder.
    prompts
        Files with the prompts, as for `cascade tune`, for a policy that begins by them.
    budget
        Seconds that a query may take, by the recorded latencies. Left out: as the path has it.
    seed
        Of the bootstrap intervals.
    """
    configure_logs(common.log_level)
    check_seconds("--budget-s", budget)
    config = Path("cascade.toml") if config is None and (cascade or path) else config
    if sum(source is not None for source in (policy, ladder, config)) != 1:
        raise ConfigError("give one of --policy FILE, --ladder small,large and --config FILE")
    if prompts and policy is None:
        raise ConfigError("--prompts goes with --policy; thresholds read no text")
    if threshold and ladder is None:
        raise ConfigError("--threshold goes with --ladder; a policy and a cascade have their own")
    from cascade.evals.measures import figures
    from cascade.evals.replay import replay as replayed

    refused = None
    if policy is not None:
        chosen, recorded = _by_policy(runs, policy, prompts, filters)
    elif config is not None:
        meant = load(config).cascade(cascade)
        plan = meant.plan(path)
        budget = plan.budget_s if budget is None else min(budget, plan.budget_s or budget)
        chosen, recorded, refused = _by_plan(runs, plan, meant.tiers[-1].name, filters)
    else:
        chosen, recorded = _by_ladder(runs, listed(ladder or ""), threshold, filters)
    outcomes = replayed(chosen, recorded, budget, refused=refused)
    found = figures(recorded, outcomes, chosen.strong, seed)
    found = {"policy": chosen.sha256(), "dropped": recorded.dropped, "budget_s": budget, **found}
    write(as_json(found, indent=2) if common.json else _told(found))
    return ExitCode.OK


def _by_policy(
    runs: Sequence[Path], file: Path, prompts: Sequence[Path], filters: Filters
) -> tuple[Policy, Runs]:
    policy = Policy.load(file)
    if policy.router is None and prompts:
        raise ConfigError(f"--prompts has no effect: {file} holds no router that reads them")
    if policy.router is not None and not prompts:
        raise ConfigError(f"{file} begins by what a request says; give the prompts in --prompts")
    recorded = read(
        runs,
        filters,
        tiers=policy.tiers,
        signals=tuple(policy.signals),
        slice_by=policy.slice_by,
        prompts=prompts,
    )
    return policy, recorded


def _by_ladder(
    runs: Sequence[Path], ladder: Sequence[str], texts: Sequence[str], filters: Filters
) -> tuple[Policy, Runs]:
    from cascade.evals.explicit import ladder_policy, read_thresholds

    thresholds = read_thresholds(texts, ladder)
    signals = tuple({signal: None for signal, _ in thresholds.values()})
    recorded = read(runs, filters, tiers=ladder, signals=signals, slice_by=None)
    return ladder_policy(recorded, ladder, thresholds), recorded


def _by_plan(runs: Sequence[Path], plan: Plan, strong: str, filters: Filters) -> ByPlan:
    """A path may end below the cascade's strongest tier, against which it is measured."""
    from cascade.evals.explicit import plan_policy, thresholds_in

    if plan.policy is not None:
        raise ConfigError("the cascade goes by a policy; replay its file with --policy FILE")
    signals = {name: None for found in thresholds_in(plan).values() for name in found}
    tiers = tuple(dict.fromkeys((*plan.tier_names, strong)))
    recorded = read(runs, filters, tiers=tiers, signals=tuple(signals), slice_by=None)
    found = plan_policy(plan, recorded)
    return found._replace(policy=replace(found.policy, strong=strong))


def _told(found: Mapping[str, Any]) -> str:
    """The figures, for people."""
    from cascade.evals.card import lines_up

    whole = (
        f"{found['n']} queries: {found['accuracy']:.2%} right, "
        f"{_share(found['quality_vs_strong'])} of the strong tier's, "
        f"at {_share(found['relative_cost'])} of its cost "
        f"(${found['mean_cost_usd']:.3g} a query); {found['escalation_rate']:.1%} escalated"
    )
    lines = [whole, ""]
    rows = [("", "right", "cost", "answered")]
    rows.append(("this policy", f"{found['accuracy']:.2%}", _share(found["relative_cost"]), ""))
    if (mixture := found["mixture_accuracy"]) is not None:
        rows.append(("best random mix", f"{mixture:.2%}", _share(found["relative_cost"]), ""))
    for tier, one in found["single_tiers"].items():
        share = _share(found["by_tier"][tier]["answered"])
        rows.append((tier, f"{one['accuracy']:.2%}", _share(one["relative_cost"]), share))
    lines += lines_up(rows)
    if found["by_slice"]:
        parts = [("slice", "queries", "right", "of strong", "cost")]
        for name, one in found["by_slice"].items():
            vs, cost = _share(one["quality_vs_strong"]), _share(one["relative_cost"])
            parts.append((name, str(one["n"]), f"{one['accuracy']:.2%}", vs, cost))
        lines += ["", *lines_up(parts)]
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
