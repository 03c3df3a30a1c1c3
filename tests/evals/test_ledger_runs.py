"""Recorded runs from ledgers that real cascades wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
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
    Tier,
    Usage,
)
from cascade.auditing import Audit
from cascade.cli.app import run_command
from cascade.evals.explicit import ladder_policy
from cascade.evals.ledger_runs import runs_of
from cascade.evals.runs import read_runs
from cascade.ledger import Ledger, MemoryLedger
from cascade.policing import observation
from cascade.validation import Check
from cascade.validators import finish_reason, json_value
from tests.evals.recorded import lines, write

PRICE = Price(input=1, output=2)
CHEAP = Price(input="0.1", output="0.2")


def tier(name: str, price: Price, text: Any = None) -> Tier:
    """A model that answers with its name, or with what `text` makes of the request."""

    async def model(request: Request) -> Answer[str]:
        said = name if text is None else text(request.messages[-1]["content"])
        return Answer(said, finish_reason="stop", usage=Usage(100, len(said)))

    return Tier(name, call=model, price=price)


def sureness(answer: Answer[Any], context: Context) -> float:
    """Sure of the small tier's answers to short questions, and of all of the others'."""
    asked = context.request.messages[-1]["content"] if context.request else ""
    is_small = context.tier is not None and context.tier.name == "small"
    return 0.25 if is_small and len(asked) > 9 else 0.75


sure = Check("sure", sureness, at=0.5)


def asked(ledger: Ledger, cascade: Cascade, *questions: str, **how: Any) -> list[Result[Any]]:
    async def main() -> list[Result[Any]]:
        return [await cascade.run(question, **how) for question in questions]

    results = anyio.run(main)
    assert ledger.flush()
    return results


def exported(ledger: Ledger, **how: Any) -> tuple[list[dict[str, Any]], Mapping[str, int]]:
    assert ledger.flush()
    with ledger.reader() as reader:
        found = runs_of(reader.calls(with_content=True), **how)
    return found.rows, found.left_out


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db", content="all") as opened:
        yield opened


@pytest.fixture
def memory() -> MemoryLedger:
    return MemoryLedger()


def ladder(ledger: Ledger, memory: MemoryLedger, **more: Any) -> Cascade:
    options: dict[str, Any] = {
        "tiers": [tier("small", CHEAP), tier("large", PRICE)],
        "validators": [finish_reason(), sure],
        **more,
    }
    return Cascade(name="support", observers=[ledger, memory], **options)


def test_a_row_holds_what_the_accepted_answer_was(ledger: Ledger, memory: MemoryLedger) -> None:
    cascade = ladder(ledger, memory)
    short, long = asked(
        ledger, cascade, "Short", "A long question", signals={"task": "qa"}, metadata={"team": 7}
    )
    ledger.record_outcome(short.id, correct=True)
    ledger.record_outcome(long.id, score=0.25)
    rows, left_out = exported(ledger, slice_by="metadata.team")
    small, large = rows
    assert small == {
        "dataset": "support",
        "task": "qa",
        "qid": short.id,
        "model": "small",
        "correct": 1.0,
        "metadata.team": "7",
        "slice": "7",
        "prompt": "Short",
        "by": "user",
        "started_at": short.started_at,
        "cost_usd": float(short.attempts[0].cost_usd or 0),
        "latency_ms": round(1000 * short.attempts[0].latency_s, 3),
        "schema_ok": 1,
        "signals": {"finish_reason": 1.0, "sure": 0.75},
        "answer": "small",
        "tok_in": 100,
        "tok_out": 5,
    }
    assert (large["model"], large["correct"], large["prompt"]) == ("large", 0.25, "A long question")
    assert left_out == {"rejected answers, of which nobody knows how right they were": 1}


def test_what_policies_see_in_a_call_stands_in_its_row(
    ledger: Ledger, memory: MemoryLedger
) -> None:
    def record(asked: str) -> str:
        return json.dumps({"b": asked, "a": 1})

    cascade = ladder(
        ledger,
        memory,
        tiers=[tier("small", CHEAP, record), tier("large", PRICE, record)],
        validators=[finish_reason(), json_value(), sure | (sure & finish_reason())],
    )
    asked(ledger, cascade, "Short", "A long question")
    check_against_observations(ledger, memory)


def test_so_it_does_with_a_policy_in_force(
    ledger: Ledger, memory: MemoryLedger, tmp_path: Path
) -> None:
    tiers = {"small": (0.0, 0.0001), "large": (2.0, 0.002)}
    runs = read_runs([write(tmp_path / "made-up.jsonl", lines(20, tiers=tiers))])
    policy = ladder_policy(runs, ["small", "large"], {"small": ("sure", 0.5)})
    cascade = ladder(ledger, memory, policy=policy)
    short, long = asked(ledger, cascade, "Short", "A long question")
    assert (short.tier, long.tier, short.policy) == ("small", "large", policy.sha256()[:12])
    rows = check_against_observations(ledger, memory)
    assert [row["schema_ok"] for row in rows] == [1, 1]
    assert set(rows[0]["signals"]) == {"finish_reason", "sure"}


def check_against_observations(ledger: Ledger, memory: MemoryLedger) -> Sequence[Mapping[str, Any]]:
    """Rows say what the engine said at run time of the same attempts."""
    for result in memory.results:
        ledger.record_outcome(result.id, correct=True)
    rows, _ = exported(ledger)
    assert len(rows) == len(memory.results)
    for row, result in zip(rows, memory.results, strict=True):
        accepted = next(one for one in result.attempts if one.outcome == "accepted")
        accepted.verdicts[:] = [one for one in accepted.verdicts if one.validator != "policy"]
        seen = observation(accepted)
        assert row["signals"] == {
            name: score for name, score in seen.signals.items() if score is not None
        }
        assert row["answer"] == seen.answer
        assert row["schema_ok"] == seen.schema_ok
        assert row["cost_usd"] == seen.cost_usd
        assert row["tok_out"] == seen.output_tokens
    return rows


def test_of_several_tellers_the_first_in_order_counts(ledger: Ledger, memory: MemoryLedger) -> None:
    one, two, three = asked(ledger, ladder(ledger, memory), "a", "b", "c")
    ledger.record_outcome(one.id, correct=False)
    ledger.record_outcome(one.id, score=0.75, by="grader")
    ledger.record_outcome(one.id, label="refunded", by="audit")  # says nothing of how right
    ledger.record_outcome(two.id, correct=True)
    ledger.record_outcome(three.id, correct=True, by="somebody")
    rows, left_out = exported(ledger)
    assert [(row["by"], row["correct"]) for row in rows] == [("grader", 0.75), ("user", 1.0)]
    assert left_out == {"calls of which no outcome says how right they were": 1}
    rows, _ = exported(ledger, by=["somebody", "user"])
    assert [row["correct"] for row in rows] == [0.0, 1.0, 1.0]
    with pytest.raises(ConfigError, match="nobody's outcomes count"):
        exported(ledger, by=[])


def test_what_cannot_be_a_row_is_counted(ledger: Ledger, memory: MemoryLedger) -> None:
    async def priceless(request: Request) -> str:
        return "yes"

    never = ladder(ledger, memory, validators=[lambda answer, context: False], on_exhausted="best")
    (rejected,) = asked(ledger, never, "a")
    unknown = ladder(ledger, memory, tiers=[Tier("free", call=priceless)], validators=[])
    (dear,) = asked(ledger, unknown, "a")
    for result in (rejected, dear):
        ledger.record_outcome(result.id, correct=True)
    rows, left_out = exported(ledger)
    assert rows == []
    assert left_out == {
        "calls with an outcome whose answer was not accepted": 1,
        "answers of unknown cost": 1,
    }


class TestAudits:
    def audited(self, ledger: Ledger, memory: MemoryLedger, share: float) -> int:
        """Calls with the small tier accepted, half of them wrongly; and how many were audited."""

        def small(asked: str) -> str:
            return "Sydney" if "AU" in asked else "Paris"

        def large(asked: str) -> str:
            return "Canberra" if "AU" in asked else "Paris"

        cascade = ladder(
            ledger,
            memory,
            tiers=[tier("small", CHEAP, small), tier("large", PRICE, large)],
            audit=Audit(share=share, labels=ledger, seed=3),
        )

        async def main() -> int:
            await cascade.run("a long one of FR")  # so that large's cost is known
            for number in range(40):
                await cascade.run(f"{number} {'AU' if number % 2 else 'FR'}")
            assert cascade.auditor is not None
            await cascade.auditor.catch_up()
            return cascade.auditor.audited

        return anyio.run(main)

    def test_they_tell_of_both_tiers(
        self, ledger: Ledger, memory: MemoryLedger, tmp_path: Path
    ) -> None:
        audited = self.audited(ledger, memory, share=0.5)
        assert 0 < audited < 40
        rows, left_out = exported(ledger, strongest={"support": "large"})
        assert len(rows) == 2 * audited
        assert left_out["calls of which no outcome says how right they were"] == 41 - audited
        assert {row["weight"] for row in rows} == {2.0}
        runs = read_runs([write(tmp_path / "runs.jsonl", rows)], tiers=["small", "large"])
        assert (len(runs), runs.dropped) == (audited, 0)
        assert set(runs.weights) == {2.0}
        wrong = [float("AU" in row["prompt"]) for row in rows[:audited]]
        assert list(runs.correct[:, 0]) == [1 - one for one in wrong]
        assert set(runs.correct[:, 1]) == {1.0}
        costs = {row["cost_usd"] for row in rows if row["model"] == "large"}
        assert costs == {float(memory.results[0].attempts[-1].cost_usd or 0)}

    def test_the_strongest_tier_has_to_be_known(self, ledger: Ledger, memory: MemoryLedger) -> None:
        audited = self.audited(ledger, memory, share=1.0)
        rows, left_out = exported(ledger)
        assert {row["model"] for row in rows} == {"small"}
        assert all("weight" not in row for row in rows)
        assert left_out["audits' answers, as the strongest tier is not named"] == audited
        _, left_out = exported(ledger, strongest="other")
        why = "audits' answers, as the ledger knows no cost of the strongest tier"
        assert left_out[why] == audited


@pytest.mark.parametrize(
    ("slice_by", "expected"),
    [("path", [None, None]), ("task", ["qa", "qa"]), ("metadata.none", [None, None])],
)
def test_slices(
    ledger: Ledger, memory: MemoryLedger, slice_by: str, expected: list[str | None]
) -> None:
    for one in asked(ledger, ladder(ledger, memory), "a", "b", signals={"task": "qa"}):
        ledger.record_outcome(one.id, correct=True)
    rows, _ = exported(ledger, slice_by=slice_by)
    assert [row.get("slice") for row in rows] == expected


def test_without_content_there_are_no_answers(tmp_path: Path, memory: MemoryLedger) -> None:
    with Ledger(tmp_path / "bare.db") as bare:
        (one,) = asked(bare, ladder(bare, memory), "a")
        bare.record_outcome(one.id, correct=True)
        (row,) = exported(bare)[0]
    assert not {"answer", "prompt"} & set(row)


class TestCommand:
    def test_runs_for_tune(
        self, tmp_path: Path, memory: MemoryLedger, capsys: pytest.CaptureFixture[str]
    ) -> None:
        database, file = tmp_path / "ledger.db", tmp_path / "runs.jsonl"
        command = ["ledger", "export", "--ledger", str(database), "--runs", str(file)]
        with Ledger(database, content="answers") as ledger:
            results = asked(ledger, ladder(ledger, memory), "a", "b", signals={"task": "qa"})
            assert run_command(command) == 3
            assert "record_outcome" in capsys.readouterr().err
            assert not file.exists()
            ledger.record_outcome(results[0].id, correct=True)
        assert run_command([*command, "--slice-by", "task", "--since", "1d"]) == 0
        out = capsys.readouterr().out
        assert "1 rows of 1 calls" in out
        assert "1 calls of which no outcome says" in out
        runs = read_runs([file])
        assert (runs.tiers, runs.keys) == (("small",), (("support", "qa", results[0].id),))
        assert runs.slices == ("qa",)
        assert run_command([*command, "--json", "--cascade", "other"]) == 3
        assert json.loads(capsys.readouterr().out) == {"rows": 0, "calls": 0, "left_out": {}}

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["export"], "--runs goes with export"),
            (["info", "--runs", "x.jsonl"], "--runs goes with export"),
            (["info", "--since", "3d"], "info takes none of export's options"),
            (["export", "--runs", "x.jsonl", "--since", "soon"], "--since 'soon' is no time"),
            (["export", "--runs", "x.jsonl", "--by", ","], "nobody's outcomes count"),
        ],
    )
    def test_mistakes(
        self,
        tmp_path: Path,
        arguments: list[str],
        message: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        with Ledger(tmp_path / "ledger.db") as ledger:
            ledger.open()
        assert run_command(["ledger", *arguments, "--ledger", str(tmp_path / "ledger.db")]) == 2
        assert message in capsys.readouterr().err

    def test_the_strongest_tier_stands_in_the_configuration(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "cascade.toml"
        file.write_text(
            """
            [tiers.small]
            model = "simulated:sim-small"
            price = { input = 0.05, output = 0.4 }
            [tiers.large]
            model = "simulated:sim-large"
            price = { input = 3, output = 15 }
            [cascades.support]
            tiers = ["small", "large"]
            validators = [{ use = "length", least = 1 }]
            [ledger]
            url = "sqlite:ledger.db"
            """,
            encoding="utf-8",
        )
        with Ledger(tmp_path / "ledger.db") as ledger:
            cascade = Cascade(
                name="support",
                tiers=[tier("small", CHEAP), tier("large", PRICE)],
                validators=[sure],
                observers=[ledger],
            )
            short, _ = asked(ledger, cascade, "a", "a long question")
            ledger.record_outcome(short.id, score=0.5, label="share=0.1 best=0.75", by="audit")
        runs = tmp_path / "runs.jsonl"
        command = ["ledger", "export", "--config", str(file), "--runs", str(runs)]
        assert run_command(command) == 0
        rows = [json.loads(line) for line in runs.read_text().splitlines()]
        assert [(row["model"], row["correct"], row["weight"]) for row in rows] == [
            ("small", 0.5, 10.0),
            ("large", 0.75, 10.0),
        ]
        assert rows[1]["estimated"] is True
