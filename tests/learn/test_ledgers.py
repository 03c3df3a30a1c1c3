"""What a router learns from ledgers that real cascades wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from cascade import (
    Answer,
    Cascade,
    ConfigError,
    Context,
    Price,
    Request,
    Result,
    Rule,
    Tier,
    Usage,
)
from cascade import Path as Way
from cascade.cli.app import run_command
from cascade.learn.examples import Examples
from cascade.learn.ledgers import examples_of
from cascade.ledger import Ledger
from cascade.ledger.recognised import is_ledger
from cascade.validation import Check

TIERS = {"small": "small", "large": "large"}

CONFIG = """
[tiers.small]
model = "simulated:sim-small"

[tiers.large]
model = "simulated:sim-large"

[cascades.support]
tiers = ["small", "large"]
rules = [{ name = "long", when = { input_tokens = ">5000" }, first = "large" }]
paths = { live = { direct = "large" } }
"""


def tier(name: str, price: float) -> Tier:
    async def model(request: Request) -> Answer[str]:
        return Answer(name, usage=Usage(1_000_000, 0))

    return Tier(name, call=model, price=Price(input=price, output=0))


def good(answer: Answer[Any], context: Context) -> bool:
    """The large tier's answers, and those to simple questions; nothing suits the impossible."""
    assert context.request is not None
    asked = context.request.messages[-1]["content"]
    return "impossible" not in asked and (answer.text == "large" or "simple" in asked)


def ladder(ledger: Ledger, **options: Any) -> Cascade:
    return Cascade(
        name="support",
        **options,
        tiers=[tier("small", 1), tier("large", 10)],
        validators=[Check("good", good)],
        on_exhausted="best",
        observers=[ledger],
    )


def asked(ledger: Ledger, *questions: str, **how: Any) -> list[Result[Any]]:
    cascade = ladder(ledger)

    async def main() -> list[Result[Any]]:
        return [await cascade.run(question, **how) for question in questions]

    return anyio.run(main)


def learnt(
    ledger: Ledger,
    tiers: Mapping[str, str] = TIERS,
    where: Mapping[str, tuple[str, ...]] | None = None,
) -> Examples:
    assert ledger.flush()
    with ledger.reader() as reader:
        return examples_of(reader.calls(with_content=True), tiers, where)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def test_what_was_accepted_is_right_and_what_was_rejected_is_wrong(database: Path) -> None:
    with Ledger(database, content="all") as ledger:
        results = asked(ledger, "simple one", "hard one", "impossible", signals={"task": "qa"})
        found = learnt(ledger)
    assert found.keys == tuple(("support", "", result.id) for result in results)
    assert found.texts == ("simple one", "hard one", "impossible")
    assert found.signals == ({"task": "qa"},) * 3
    assert found.correct == ((1.0, 1.0), (0.0, 1.0), (0.0, 0.0))
    assert found.costs_usd == ((1.0, 10.0), (1.0, 10.0), (1.0, 10.0))  # the first 10 is the mean
    assert (found.tiers, found.dropped) == (("small", "large"), 0)


def test_outcomes_and_audits_know_better(database: Path) -> None:
    with Ledger(database, content="all") as ledger:
        good_one, wrong, audited, hard = asked(ledger, *["simple"] * 3, "hard")
        ledger.record_outcome(good_one.id, correct=True)
        ledger.record_outcome(wrong.id, correct=False)  # of the large tier nobody knows
        ledger.record_outcome(audited.id, score=0.25, label="share=0.1 best=0.75", by="audit")
        ledger.record_outcome(hard.id, score=0.5)
        found = learnt(ledger)
    assert [key[2] for key in found.keys] == [good_one.id, audited.id, hard.id]
    assert found.correct == ((1.0, 1.0), (0.25, 0.75), (0.0, 0.5))
    assert found.dropped == 1


def test_a_call_that_skipped_a_tier_teaches_nothing_of_it(database: Path) -> None:
    with Ledger(database, content="all") as ledger:
        asked(ledger, "simple", "hard")
        short = Cascade(tiers=[tier("large", 10)], observers=[ledger])
        anyio.run(short.run, "straight to the top")
        found = learnt(ledger)
        assert (len(found), found.dropped) == (2, 1)
        assert len(learnt(ledger, where={"dataset": ("support",)})) == 2
        assert learnt(ledger, {"cheap": "small", "dear": "large"}).tiers == ("cheap", "dear")


@pytest.mark.parametrize(
    ("tiers", "message"),
    [
        ({"small": "small"}, "two tiers or more"),
        ({"small": "small", "other": "other"}, "knows no cost of other"),
    ],
)
def test_tiers_that_cannot_be_learnt_about(
    database: Path, tiers: Mapping[str, str], message: str
) -> None:
    with Ledger(database, content="all") as ledger:
        asked(ledger, "simple", "hard")
        with pytest.raises(ConfigError, match=message):
            learnt(ledger, tiers)


def test_without_requests_there_is_nothing_to_learn_from(database: Path) -> None:
    with Ledger(database, content="answers") as ledger:
        asked(ledger, "simple", "hard")
        with pytest.raises(ConfigError, match='content = "all"'):
            learnt(ledger)


def test_what_is_a_ledger(database: Path, tmp_path: Path) -> None:
    with Ledger(database) as ledger:
        ledger.open()
    runs = tmp_path / "runs.jsonl"
    runs.write_text("{}\n", encoding="utf-8")
    sources = (str(database), "sqlite:none.db", "postgresql://host/db", str(runs), "none.jsonl")
    assert [is_ledger(source) for source in sources] == [True, True, True, False, False]


class TestCommand:
    def test_a_router_from_a_ledger(
        self, database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with Ledger(database, content="all") as ledger:
            kinds = ("simple sum of numbers", "hard proof of a theorem")
            asked(ledger, *(f"{kinds[n % 2]}, number {n}" for n in range(120)))
        output = tmp_path / "router.json"
        arguments = ["learn", "--from", str(database), "--tiers", "small,large", "--json"]
        assert run_command([*arguments, "-o", str(output)]) == 0
        assert json.loads(capsys.readouterr().out)["queries"] == 120
        assert output.is_file()

    def test_beside_rules_that_look_at_what_is_computed_and_at_paths(
        self, database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A rule goes by the whole request as it was asked, not by what a router reads of it."""
        looked = Rule("long", when={"input_tokens": ">5000"})
        texts = [f"{('simple', 'hard')[n % 2]} number {n}" for n in range(120)]
        texts[:10] = [text + " word" * 9_000 for text in texts[:10]]
        paths = [None] * 10 + ["live"] * 10 + ["old"] + [None] * 99

        async def main(support: Cascade) -> None:
            for text, path in zip(texts, paths, strict=True):
                await support.run(text, path=path)

        with Ledger(database, content="all") as ledger:
            anyio.run(main, ladder(ledger, rules=[looked], paths={"live": Way(), "old": Way()}))
            found = learnt(ledger)
            assert found.signals[0].keys() == {"input_tokens"}
            assert found.signals[10]["path"] == "live"
        config = tmp_path / "cascade.toml"
        config.write_text(CONFIG, encoding="utf-8")
        arguments = ["learn", "--from", str(database), "--tiers", "small,large", "--json"]
        assert run_command([*arguments, "--config", str(config)]) in (0, 1)
        told = capsys.readouterr()
        by_rules = json.loads(told.out)["routes"][-1]
        assert (by_rules["name"], by_rules["shares"]["large"]) == ("rules", 20 / 120)
        assert "has no path old: its calls are compared as if asked on none" in told.err

    @pytest.mark.parametrize("more", [["--from", "runs.jsonl"], ["--prompts", "prompts.jsonl"]])
    def test_a_ledger_stands_alone(
        self, more: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run_command(["learn", "--from", "sqlite:x.db", "--tiers", "a,b", *more]) == 2
        assert "stands alone" in capsys.readouterr().err
