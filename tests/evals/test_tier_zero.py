"""A learned router as tier 0 of a policy."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cascade import Cascade, ConfigError, Tier
from cascade import Path as CallPath
from cascade.cli.app import run_command
from cascade.evals.families import PLAIN, ROUTED, improves
from cascade.evals.measures import figures
from cascade.evals.replay import chances_for, replay
from cascade.evals.runs import Runs, read_runs
from cascade.evals.tier_zero import with_texts
from cascade.evals.tune import Settings, tune
from cascade.policy import Policy
from cascade.testing import Scripted
from tests.evals.recorded import write

QUICK = Settings(target=0.95, folds=3, repeats=1)
EASY = "name the capital of country number"
HARD = "prove the lemma of chapter number"


def files(folder: Path, n: int, *, seed: int = 0, tells: bool = True) -> tuple[Path, Path]:
    """Runs without a signal, and prompts that tell (or do not tell) which tier a query needs."""
    dice = random.Random(seed)
    rows, prompts = [], []
    for i in range(n):
        is_hard = dice.random() < 0.4
        key = {"dataset": "made-up", "task": "qa", "qid": f"{seed}-{i}"}
        kind = HARD if (is_hard if tells else dice.random() < 0.5) else EASY
        prompts.append({**key, "prompt": f"Please {kind} {dice.randrange(90)}, and be brief."})
        for model, p, cost in (("small", 0.1 if is_hard else 0.95, 0.0002), ("large", 0.9, 0.004)):
            correct = float(dice.random() < p)
            rows.append({**key, "model": model, "correct": correct, "cost_usd": cost})
    return write(folder / f"runs{seed}.jsonl", rows), write(
        folder / f"prompts{seed}.jsonl", prompts
    )


def told(folder: Path, n: int, **how: bool | int) -> Runs:
    runs, prompts = files(folder, n, **how)  # type: ignore[arg-type]
    return with_texts(read_runs([runs]), [prompts])


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return tune(told(tmp_path_factory.mktemp("runs"), 300), "large", QUICK)


def test_a_router_is_kept_where_the_prompts_tell_what_a_query_needs(
    policy: Policy, tmp_path: Path
) -> None:
    assert policy.evidence["family"] == ROUTED
    assert policy.evidence["router"] == {"improves": True, "used": True}
    fresh = told(tmp_path, 400, seed=9)
    found = figures(fresh, replay(policy, fresh), "large")
    assert found["quality_vs_strong"] > 0.93
    assert found["relative_cost"] < 0.6
    assert found["accuracy"] > found["mixture_accuracy"] + 0.1


def test_a_router_is_left_out_where_they_tell_nothing(tmp_path: Path) -> None:
    dull = tune(told(tmp_path, 300, tells=False), "large", QUICK)
    assert dull.evidence["router"] == {"improves": False, "used": False}
    assert (dull.router, dull.begin) == (None, {})


def test_without_prompts_none_is_tried(tmp_path: Path) -> None:
    runs, _ = files(tmp_path, 100)
    assert tune(read_runs([runs]), "large", QUICK).evidence["router"] is None


def test_the_policy_survives_its_file(policy: Policy) -> None:
    again = Policy.from_json(policy.to_json())
    assert again.sha256() == policy.sha256()
    assert again.router == policy.router


def test_a_replay_begins_as_the_policy_does_query_by_query(policy: Policy, tmp_path: Path) -> None:
    fresh = told(tmp_path, 60, seed=3)
    strange = replace(fresh, texts=("zzz " * 900, *fresh.texts[1:]))
    chances = chances_for(policy, strange)
    assert chances is not None
    assert np.isnan(chances[0]).all()  # unlike what it was trained on: it abstains
    asked = replay(policy, strange).asked
    firsts = set()
    for query, row in enumerate(chances):
        given = None if np.isnan(row[0]) else [float(chance) for chance in row]
        first = policy.decide({}, "", given).tier
        assert asked[query, strange.column(first)]
        firsts.add(first)
    assert firsts == {"small", "large"}


def test_a_replay_without_prompts_is_refused(policy: Policy, tmp_path: Path) -> None:
    runs, _ = files(tmp_path, 60)
    with pytest.raises(ConfigError, match="give the prompts"):
        replay(policy, read_runs([runs]))


def test_queries_without_a_prompt_are_dropped_and_counted(tmp_path: Path) -> None:
    runs, prompts = files(tmp_path, 60)
    kept = prompts.read_text().splitlines()[:50]
    prompts.write_text("\n".join(kept))
    known = with_texts(read_runs([runs]), [prompts])
    assert (len(known), known.dropped) == (50, 10)
    prompts.write_text(json.dumps({"qid": "another", "prompt": "?"}))
    with pytest.raises(ConfigError, match="other queries"):
        with_texts(read_runs([runs]), [prompts])


def ladder(by: Policy | Path, **options: object) -> Cascade:
    tiers = [Tier(name, call=Scripted(f"from {name}")) for name in ("small", "large")]
    return Cascade(tiers=tiers, policy=by, **options)  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_a_call_begins_where_the_router_says(policy: Policy, tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text(policy.to_json())
    support = ladder(file, paths={"easy": CallPath(last="small")})
    easy = await support.run(f"Please {EASY} 7, and be brief.")
    hard = await support.run(f"Please {HARD} 7, and be brief.")
    assert [(a.tier, a.outcome) for a in easy.attempts] == [("small", "accepted")]
    assert [(a.tier, a.outcome) for a in hard.attempts] == [("large", "accepted")]
    reason = "by its text, the probability of being right is small 0."
    assert (easy.rule_reason or "").startswith(reason)
    assert (hard.rule_reason or "").startswith(reason)
    # A path without that tier is not left.
    assert (await support.run(f"Please {HARD} 7, and be brief.", path="easy")).tier == "small"


@pytest.mark.anyio
async def test_the_request_of_a_wrapped_function_is_found(policy: Policy) -> None:
    cascade = ladder(policy, request_from=lambda ticket: ticket["body"])

    @cascade
    async def answer(tier: Tier, ticket: dict[str, str]) -> str:
        return str((await tier.chat(ticket["body"])).value)

    assert await answer({"body": f"Please {HARD} 7, and be brief."}) == "from large"
    assert await answer({"body": f"Please {EASY} 7, and be brief."}) == "from small"


def test_two_routers_are_one_too_many(policy: Policy) -> None:
    class Cheapest:
        def choose(self, signals: object, text: str, tiers: list[str]) -> None: ...

    with pytest.raises(ConfigError, match="router of its own"):
        ladder(policy, router=Cheapest())


def test_a_policy_whose_router_is_broken_is_refused(policy: Policy) -> None:
    with pytest.raises(ConfigError, match="the policy's router"):
        ladder(replace(policy, router={"heads": []}))


def test_it_improves_only_by_more_than_a_standard_error(tmp_path: Path) -> None:
    from cascade.evals.families import Curve

    runs = told(tmp_path, 100)
    shape = (100, 48)
    dice = np.random.default_rng(0)
    plain = Curve(dice.random(shape), np.full(shape, 0.001))
    noise = dice.normal(size=(100, 1)) * 0.5
    better = Curve(plain.correct + 0.3, plain.cost_usd)
    luck = Curve(plain.correct + noise - noise.mean() + 0.01, plain.cost_usd)
    assert improves(runs, {PLAIN: plain, ROUTED: better}, "large")
    assert not improves(runs, {PLAIN: plain, ROUTED: luck}, "large")


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, prompts = files(tmp_path, 200)
    policy_file = tmp_path / "policy.json"
    tuning = ["tune", str(runs), "--tiers", "small,large", "--target", "0.95"]
    tuning += ["--prompts", str(prompts), "--folds", "3", "--repeats", "1", "-o", str(policy_file)]
    assert run_command(tuning) == 0
    assert "learnt from the prompts, and begins the call" in capsys.readouterr().out
    assert run_command(["tune", str(runs), "--within", "0.02", "--prompts", str(prompts)]) == 2
    assert "--prompts goes with --target" in capsys.readouterr().err
    again = ["replay", str(runs), "--policy", str(policy_file)]
    assert run_command(again) == 2
    assert "--prompts" in capsys.readouterr().err
    assert run_command([*again, "--prompts", str(prompts), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["relative_cost"] < 0.7
    gate = ["gate", str(runs), "--baseline", "small", "--candidate-policy", str(policy_file)]
    assert run_command(gate) == 4
    assert "--prompts" in capsys.readouterr().err
    assert run_command([*gate, "--prompts", str(prompts)]) == 0
    alone = ["gate", str(runs), "--baseline", "small", "--candidate", "large"]
    assert run_command([*alone, "--prompts", str(prompts)]) == 2
