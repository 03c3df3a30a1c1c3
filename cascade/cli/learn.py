"""`cascade learn`: a router learnt from recorded runs, and whether it is worth it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from cascade.cli.codes import ExitCode
from cascade.cli.learn_view import assessment_row, shown
from cascade.cli.output import Common, as_json, configure_logs, say, write
from cascade.cli.recorded import Filters, listed
from cascade.errors import ConfigError
from cascade.ledger import Ledger
from cascade.ledger.recognised import is_ledger

if TYPE_CHECKING:
    from cascade.learn.assess import Assessment
    from cascade.learn.examples import Examples
    from cascade.learn.features import Embed
    from cascade.learn.model import Model
    from cascade.types import Fact

__all__ = ["learn"]


@Parameter(name="*", group="What it is compared to")
@dataclass(frozen=True, slots=True)
class Rivals:
    """The options of the comparison."""

    config: Annotated[Path | None, Parameter(name=["--config", "-c"])] = None
    """A cascade.toml whose rules it is compared to. Its tiers have to be called as in --tiers."""
    cascade: str | None = None
    """Which of its cascades. Left out: the only one."""
    validators_usd: Annotated[float, Parameter(validator=Number(gte=0))] = 0.0
    """What judging costs per call, in USD: a saving has to be larger."""


_COMMON = Common()
_FILTERS = Filters()
_RIVALS = Rivals()


def learn(
    *,
    runs: Annotated[list[str] | None, Parameter(name="--from", negative="")] = None,
    prompts: Annotated[list[Path] | None, Parameter(name="--prompts", negative="")] = None,
    tiers: str = "",
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    recover: Annotated[float, Parameter(validator=Number(gt=0, lte=1))] = 0.8,
    value_usd: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    signals: str = "",
    embed: str | None = None,
    anyway: Annotated[bool, Parameter(negative="")] = False,
    date: str | None = None,
    seed: int = 0,
    rivals: Rivals = _RIVALS,
    filters: Filters = _FILTERS,
    common: Common = _COMMON,
) -> int:
    """Learn which tier to begin with from recorded runs, and tell whether it is worth it.

    Prints what the router comes to on queries it was not trained on (five folds), against every
    tier alone, a random mix for the same money, and the rules of --config.

    Exit codes: 0 it is worth it; 1 it is not, and --output is written only with --anyway.

    ```
    cascade learn --from runs.jsonl.gz --prompts prompts.jsonl.gz --tiers small,large -o router.json
    cascade learn --from runs.jsonl --tiers small=gpt-5-nano,large=gpt-5 --config cascade.toml
    cascade learn --from sqlite:ledger.db --tiers small,large -o router.json
    ```

    Parameters
    ----------
    runs
        Files of recorded runs: JSON Lines, gzipped or not; may be given several times. Or one
        ledger with content = "all": its file, or sqlite:FILE or postgresql://...
    prompts
        Files with the prompts: a JSON object a line with dataset, task, qid, prompt, and
        signals where there are some. Left out: "prompt" stands in the runs themselves.
    tiers
        The tiers, cheapest first, separated by commas; tier=model where the runs call it otherwise.
    output
        Where the router goes.
    recover
        The share of the strongest tier's lead over the cheapest that it has to keep.
    value_usd
        What a right answer is worth, in USD, in place of --recover.
    signals
        Signals to learn from beside the text, separated by commas: of the prompts, or built-in
        ones, which are computed from them.
    embed
        A function of the text that gives numbers, as module:function, to learn from beside it. The
        router needs the same function at work.
    anyway
        Write it even if it is not worth it.
    date
        The date to put on record. Left out: today's.
    seed
        Of the folds and the bootstrap.
    """
    configure_logs(common.log_level)
    from cascade.learn.assess import Target, assess, out_of_fold
    from cascade.learn.examples import with_signals
    from cascade.learn.training import Settings, read_all, sklearn, train

    sklearn()
    examples = _examples(runs, prompts, tiers, filters)
    rules = _rules(rivals, examples)
    names = listed(signals)
    examples = with_signals(examples, names)
    settings = Settings(seed=seed)
    function = _function(embed)
    say(f"training five times on four fifths of {len(examples)} queries ...")
    held_out = out_of_fold(examples, settings, signals=names, embed=function, seed=seed)
    found = assess(
        examples,
        held_out,
        Target(recover, value_usd, rivals.validators_usd),
        rules=rules,
        seed=seed,
    )
    write(as_json(assessment_row(found), indent=2) if common.json else shown(found))
    if output is not None:
        if found.is_worth_it or anyway:
            readings = read_all(examples, names, function)
            model = train(examples, settings, signals=names, readings=readings)
            _write(output, model, examples, found, date)
        else:
            say(f"{output} is not written; --anyway writes it all the same")
    return ExitCode.OK if found.is_worth_it else ExitCode.NOT_ACCEPTED


def _examples(
    runs: list[str] | None, prompts: list[Path] | None, tiers: str, filters: Filters
) -> Examples:
    from cascade.learn.examples import training_rows

    if not runs:
        raise ConfigError("give recorded runs in --from; `cascade learn --help` shows an example")
    if any(map(is_ledger, runs)):
        return _examples_of_ledger(runs, prompts, tiers, filters)
    files = [Path(file) for file in runs]
    examples = training_rows(files, prompts or [], _models(tiers), filters.where())
    if examples.dropped:
        say(f"{examples.dropped} queries left out: no prompt, or not every tier has run them")
    return examples


def _examples_of_ledger(
    runs: list[str], prompts: list[Path] | None, tiers: str, filters: Filters
) -> Examples:
    from cascade.learn.ledgers import examples_of

    if len(runs) > 1 or prompts:
        raise ConfigError("a ledger in --from stands alone, without other files and --prompts")
    with Ledger.open_for_reading(runs[0]) as reader:
        calls = reader.calls(with_content=True)
        examples = examples_of(calls, _models(tiers), filters.where())
    if examples.dropped:
        say(f"{examples.dropped} calls left out: no request, or a tier of which nothing is known")
    return examples


def _models(tiers: str) -> dict[str, str]:
    """The models by tier."""
    pairs = [part.partition("=") for part in listed(tiers)]
    found = {tier.strip(): (model or tier).strip() for tier, _, model in pairs}
    if len(found) < len(pairs):
        raise ConfigError(f"--tiers {tiers} names a tier twice")
    twice = [model for model, count in Counter(found.values()).items() if count > 1]
    if twice:
        raise ConfigError(
            f"--tiers {tiers} names the model {twice[0]!r} twice; give each tier a model of its own"
        )
    return found


def _rules(rivals: Rivals, examples: Examples) -> list[str] | None:
    """The tier that the rules begin with, for each query; no learned router has a say."""
    if rivals.config is None:
        if rivals.cascade is not None:
            raise ConfigError("--cascade goes with --config")
        return None
    from cascade.config import load
    from cascade.signals import declarable

    cascade = load(rivals.config).without_routers().cascade(rivals.cascade)
    if not cascade.routes.rules:
        raise ConfigError(f"{rivals.config} has no rules to compare with; leave --config out")
    chosen: list[str] = []
    gone: set[Fact] = set()
    for request, given in zip(examples.requests(), examples.signals, strict=True):
        path = given.get("path")
        known = path if isinstance(path, str) and path in cascade.paths else None
        if path is not None and known is None:
            gone.add(path)
        plan = cascade.explain(request, path=known, signals=declarable(given)).plan
        tier = plan.rungs[0].tier.name
        if tier not in examples.tiers:
            raise ConfigError(
                f"the rules of {rivals.config} begin with {tier!r}, of which the runs know "
                f"nothing; --tiers has {', '.join(examples.tiers)}"
            )
        chosen.append(tier)
    if gone:
        say(
            f"{rivals.config} has no path {', '.join(sorted(map(str, gone)))}: its calls are "
            "compared as if asked on none"
        )
    return chosen


def _function(name: str | None) -> Embed | None:
    """The function that --embed names; its module may stand in this folder."""
    if name is None:
        return None
    from cascade.config.routing import find_function

    if ":" not in name:
        raise ConfigError(f"--embed {name} names no function; write module:function")
    return find_function(name, Path())


def _write(
    output: Path, model: Model, examples: Examples, found: Assessment, date: str | None
) -> None:
    from cascade.learn.model import to_json

    facts = {**model.facts, **_facts(examples, found, date)}
    model = replace(model, value_usd=found.value_usd, facts=facts)
    output.write_text(to_json(model), encoding="utf-8")
    say(f"wrote {output}")


def _facts(examples: Examples, found: Assessment, date: str | None) -> Mapping[str, Any]:
    return {
        "date": date or datetime.now(UTC).date().isoformat(),
        "queries": len(examples),
        "data_sha256": examples.sha256(),
        "base_rates": dict(zip(examples.tiers, examples.base_rates(), strict=True)),
        "held_out": assessment_row(found),
    }
