"""`cascade tune`: the cheapest policy for a quality target, from recorded runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from cascade.cli.codes import ExitCode
from cascade.cli.output import Common, as_json, configure_logs, say, write
from cascade.cli.recorded import Filters, listed, read
from cascade.errors import ConfigError

if TYPE_CHECKING:
    from cascade.evals.runs import Runs
    from cascade.evals.tune import Settings
    from cascade.policy import Policy

__all__ = ["tune"]


@Parameter(name="*", group="A proof")
@dataclass(frozen=True, slots=True)
class Proof:
    """A policy that is proven not to be worse than the strong tier by more than a margin."""

    within: Annotated[float | None, Parameter(validator=Number(gt=0, lt=1))] = None
    """The margin in accuracy, as 0.02 for two points. Takes the place of --target."""
    confidence: Annotated[float | None, Parameter(validator=Number(gt=0, lt=1))] = None
    """How sure the proof is. Left out: 0.9."""
    strict: Annotated[bool, Parameter(negative="")] = False
    """By a bound that holds at any number of queries, and needs more of them."""
    harm_only: Annotated[bool, Parameter(negative="")] = False
    """Exactly, by the queries answered worse alone; what is answered better counts nothing."""


DEFAULT_CONFIDENCE: Final = 0.9

_COMMON = Common()
_PROOF = Proof()
_FILTERS = Filters()


def tune(
    *runs: Path,
    tiers: str = "",
    signals: str | None = None,
    target: Annotated[float | None, Parameter(validator=Number(gt=0, lte=2))] = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    strong: str | None = None,
    slice_by: str | None = None,
    prompts: Annotated[tuple[Path, ...], Parameter(negative="")] = (),
    max_asks: Annotated[int, Parameter(validator=Number(gte=1, lte=9))] = 3,
    folds: Annotated[int | None, Parameter(validator=Number(gte=2, lte=20))] = None,
    repeats: Annotated[int | None, Parameter(validator=Number(gte=1, lte=20))] = None,
    margin: Annotated[float, Parameter(validator=Number(gte=0, lte=5))] = 0.25,
    seed: int = 0,
    created_at: str = "",
    proof: Proof = _PROOF,
    filters: Filters = _FILTERS,
    common: Common = _COMMON,
) -> int:
    """Find the cheapest policy for a quality target, or show the whole cost-quality frontier.

    ```
    cascade tune runs.jsonl.gz --tiers small,medium,large --signals p_true --target 0.98 -o p.json
    ```

    Parameters
    ----------
    runs
        Files of recorded runs: JSON Lines, gzipped or not.
    tiers
        The tiers to use, separated by commas; the last is the strong one. Left out: all of them.
    signals
        The signals to decide by, separated by commas. Left out: all of them.
    target
        The share of the strong tier's accuracy to reach, as 0.98. Left out: 1.
    output
        Where the policy goes.
    strong
        The tier that quality and cost are measured against. Left out: the last of --tiers, or the
        dearest.
    slice_by
        The field that names a query's slice. Left out: `slice` where the runs have it, else the
        task where they have several.
    prompts
        Files with the prompts: a JSON object a line with dataset, task, qid and prompt; several
        with the option again. A router is then learnt from them as tier 0, and kept if it improves
        the cross-validated curve (extra `learn`). Left out: nothing is read but the runs.
    max_asks
        How many tiers one query may ask.
    folds
        Of the cross-validation. Left out: 5, or 3 from 20,000 queries on.
    repeats
        Of the cross-validation, over other folds. Left out: 3, or 1 from 3,000 queries on.
    margin
        Standard errors of the cross-validated difference to stay above the target.
    seed
        Of the folds and the bootstrap.
    created_at
        The date to put on the policy's card.
    """
    configure_logs(common.log_level)
    _check(target, proof, prompts)
    from cascade.evals.card import card
    from cascade.evals.tune import Settings
    from cascade.evals.tune import tune as tuned

    names = listed(tiers)
    recorded = read(
        runs,
        filters,
        tiers=names,
        signals=None if signals is None else listed(signals),
        slice_by=slice_by,
        prompts=prompts,
    )
    settings = Settings(target or 1.0, max_asks, folds, repeats, margin, seed, created_at)
    reference = strong or recorded.tiers[-1]
    if proof.within is None:
        policy = tuned(recorded, reference, settings)
    else:
        policy = _proven(recorded, reference, settings, proof)
    if output is not None:
        output.write_text(policy.to_json(), encoding="utf-8")
        say(f"wrote {output}")
    write(as_json(policy.evidence, indent=2) if common.json else card(policy))
    return ExitCode.OK


def _check(target: float | None, proof: Proof, prompts: tuple[Path, ...]) -> None:
    if proof.within is not None and prompts:
        raise ConfigError("--prompts goes with --target: no policy with a router is proven")
    if proof.within is None and proof.confidence is not None:
        raise ConfigError("--confidence goes with --within, as in --within 0.02 --confidence 0.9")
    if proof.within is None and proof.strict:
        raise ConfigError("--strict goes with --within, as in --within 0.02 --strict")
    if proof.within is None and proof.harm_only:
        raise ConfigError("--harm-only goes with --within, as in --within 0.02 --harm-only")
    if proof.strict and proof.harm_only:
        raise ConfigError("--strict and --harm-only are two kinds of proof; leave one out")
    if proof.within is not None and target is not None:
        raise ConfigError("give --target for a policy, or --within for one that is proven")


def _proven(runs: Runs, strong: str, settings: Settings, proof: Proof) -> Policy:
    from cascade.evals.certified import Promise, certified

    delta = 1 - (DEFAULT_CONFIDENCE if proof.confidence is None else proof.confidence)
    promise = Promise(proof.within or 0.0, delta, proof.strict, proof.harm_only)
    return certified(runs, strong, settings, promise)
