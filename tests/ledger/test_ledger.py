from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from cascade import (
    Answer,
    Cascade,
    CascadeExhausted,
    ConfigError,
    Context,
    Price,
    Tier,
    ToolCall,
    Usage,
)
from cascade.ledger import Ledger, LedgerError, tables
from cascade.types import add_exactly
from tests.ledger.support import LARGE, SECRET, attempt, result, verdict


def stored(ledger: Ledger, **choice: Any) -> list[str]:
    assert ledger.flush()
    with ledger.reader() as reader:
        return [call.id for call in reader.calls(**choice)]


def large_or_ok(answer: Answer[Any], context: Context) -> bool:
    return answer.text == "ok" or (context.tier is not None and context.tier.name == "large")


@pytest.mark.anyio
async def test_every_call_of_a_cascade_is_stored(source: str) -> None:
    ledger = Ledger(source)
    cascade = Cascade(
        name="support",
        tiers=[Tier("small", price=Price(input=1, output=2)), Tier("large")],
        validators=[large_or_ok],
        observers=[ledger],
    )

    async def ask(tier: Tier, text: str) -> Answer[str]:
        return Answer(text, usage=Usage(100, 10))

    wrapped = cascade(ask)
    easy = await wrapped.tagged(ticket=7).run("ok")
    hard = await wrapped.given(stakes="high").run("hm")
    assert ledger.flush()
    with ledger.reader() as reader:
        calls = {call.id: call for call in reader.calls()}
        assert list(calls) == [easy.id, hard.id]
        one, two = calls.values()
        assert (one.cascade, one.tier, one.reason, one.accepted) == (
            "support",
            "small",
            "accepted",
            True,
        )
        assert one.metadata == {"ticket": 7}
        assert one.cost_usd == easy.cost_usd == Decimal("0.00012")
        assert one.latency_s == easy.latency_s
        assert two.signals["stakes"] == "high"
        assert (two.escalations, two.cost_usd, two.input_tokens) == (1, None, 200)
        assert [(a.tier, a.outcome) for a in two.attempts] == [
            ("small", "rejected"),
            ("large", "accepted"),
        ]
        assert [a.answer for a in two.attempts] == [None, None]
        assert two.attempts[0].verdicts[0].status == "failed"
        assert two.attempts[0].charges[0].input_tokens == 100
    ledger.close()


@pytest.mark.anyio
async def test_calls_that_raise_are_stored_too(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        cascade = Cascade(tiers=[Tier("small")], observers=[ledger])

        @cascade
        async def broken(tier: Tier) -> str:
            raise ValueError(SECRET)

        with pytest.raises(CascadeExhausted):
            await broken()
        assert ledger.flush()
        with ledger.reader() as reader:
            (call,) = reader.calls()
    assert (call.accepted, call.tier, call.reason) == (False, None, "exhausted")
    assert (call.attempts[0].outcome, call.attempts[0].error) == ("failed", "ValueError")
    assert SECRET not in repr(call)


def test_what_is_read_is_what_was_recorded(source: str) -> None:
    tried = [
        attempt(
            "small", "rejected", verdicts=[verdict("all", 0.1, parts=(verdict("a", 0.1, 0.5),))]
        ),
        attempt("large", price=LARGE, usage=Usage(10**12, 2, 3, 4, 5)),
    ]
    given = result(
        "x-1",
        tried,
        path="chat",
        cascade="c",
        tenant="acme",
        parent="y-9",
        rule="long",
        rule_reason="7,000 tokens",
        plan=("small", "large"),
        policy="2026-11-01",
        budget_s=1.5,
        signals={"tokens": 7000, "stakes": None},
        metadata={"naïve": "日本 \x00 \ud800"},
    )
    with Ledger(source) as ledger:
        ledger.record(given)
        assert ledger.flush()
        with ledger.reader() as reader:
            call = reader.call("x-1")
    assert call is not None
    names = "id started_at path cascade tenant parent rule rule_reason plan".split()
    for name in names:
        assert getattr(call, name) == getattr(given, name)
    assert (call.policy, call.budget_s, call.cost_usd) == ("2026-11-01", 1.5, given.cost_usd)
    assert (call.signals, call.metadata) == (given.signals, given.metadata)
    small, large = call.attempts
    assert [(v.validator, v.part_of) for v in small.verdicts] == [("all", None), ("a", 0)]
    charge = large.charges[0]
    assert charge.cost_usd == tried[1].cost_usd
    assert (charge.input_tokens, charge.reasoning_tokens) == (10**12, 5)
    assert type(call.accepted) is bool


def test_money_adds_up_exactly_in_the_database(source: str) -> None:
    price = Price(input="0.1000000000000000055511151231257827", output="0.3")
    with Ledger(source) as ledger:
        given = [result(f"m-{n}", [attempt(price=price, usage=Usage(n, 7))]) for n in range(50)]
        for one in given:
            ledger.record(one)
        ledger.record(result("unknown", [attempt(price=None)]))
        assert ledger.flush()
        with ledger.reader() as reader:
            ((total,),) = reader.rows(select(func.usd_sum(tables.calls.c.cost_usd)))
            none = reader.rows(
                select(func.usd_sum(tables.calls.c.cost_usd)).where(tables.calls.c.id == "unknown")
            )
    assert total == add_exactly(one.cost_usd for one in given)
    assert none[0][0] is None


def test_calls_are_chosen_by_time_and_name(source: str) -> None:
    with Ledger(source) as ledger:
        for number in range(10):
            one = result(
                f"c-{number}",
                started_at=1000.0 + number,
                cascade="even" if number % 2 == 0 else "odd",
                path="p" if number < 5 else None,
                tenant="t" if number > 7 else None,
            )
            ledger.record(one)
        assert len(stored(ledger)) == 10
        assert stored(ledger, since=1003, until=1005) == ["c-3", "c-4"]
        assert stored(ledger, since=datetime.fromtimestamp(1009, UTC)) == ["c-9"]
        assert stored(ledger, cascade="odd", path="p") == ["c-1", "c-3"]
        assert stored(ledger, tenant="t", limit=1) == ["c-8"]
        assert stored(ledger, after=8) == ["c-8", "c-9"]
        with ledger.reader() as reader:
            assert reader.last_seq() == 10
            assert [call.id for call in reader.newest(2)] == ["c-8", "c-9"]
            with pytest.raises(ConfigError, match="no time zone"):
                list(reader.calls(since=datetime(2026, 1, 1)))  # noqa: DTZ001 - on purpose


def test_long_ledgers_are_read_page_by_page(source: str) -> None:
    with Ledger(source) as ledger:
        for number in range(4321):
            ledger.record(result(f"c-{number}"))
        assert stored(ledger) == [f"c-{number}" for number in range(4321)]
        assert stored(ledger, limit=2001) == [f"c-{number}" for number in range(2001)]


def test_a_call_is_found_by_the_beginning_of_its_id(source: str) -> None:
    with Ledger(source) as ledger:
        for id in ("abc-1", "abc-2", "abc-22", "a%c-3"):
            ledger.record(result(id))
        assert ledger.flush()
        with ledger.reader() as reader:

            def found(id: str) -> str | None:
                call = reader.call(id)
                return None if call is None else call.id

            assert (found("abc-2"), found("abc-22"), found("a%")) == ("abc-2", "abc-22", "a%c-3")
            assert (found("x"), found("")) == (None, None)
            with pytest.raises(LedgerError, match="several calls"):
                found("abc")


def test_the_same_call_is_stored_once(source: str) -> None:
    with Ledger(source) as ledger:
        for _ in range(2):
            for number in range(3):
                ledger.record(result(f"c-{number}"))
        assert stored(ledger) == ["c-0", "c-1", "c-2"]
        ledger.record(result("c-1"))
        ledger.record(result("c-3"))
        assert stored(ledger) == ["c-0", "c-1", "c-2", "c-3"]
        assert ledger.lost == 0


def test_a_row_that_the_database_refuses_takes_no_other_with_it(source: str) -> None:
    with Ledger(source) as ledger:
        for number in range(40):
            ledger.record(result(f"c-{number}", cascade="\ud800" if number == 17 else "fine"))
        assert len(stored(ledger)) == 39
        assert ledger.lost == 1
        ledger.record("no result")  # type: ignore[arg-type]
        assert len(stored(ledger)) == 39
        assert ledger.lost == 2


class TestOutcomes:
    def test_the_last_word_of_each_counts(self, source: str) -> None:
        with Ledger(source) as ledger:
            ledger.record_outcome("c-1", correct=False)  # before the call is there
            ledger.record(result("c-1"))
            ledger.record(result("c-2"))
            assert ledger.flush()
            ledger.record_outcome("c-1", correct=True, score=0.5, label="refunded")
            ledger.record_outcome("c-1", score=1, by="grader")
            ledger.record_outcome("elsewhere", label="kept")
            assert ledger.flush()
            with ledger.reader() as reader:
                one, two = reader.calls()
                said = {told.by: (told.correct, told.score, told.label) for told in one.outcomes}
                kept = reader.rows(select(tables.outcomes.c.label).order_by("label"))
        assert said == {"user": (True, 0.5, "refunded"), "grader": (None, 1.0, None)}
        assert one.correct is True
        assert (two.outcomes, two.correct) == ((), None)
        assert {row.label for row in kept} == {"kept", "refunded", None}

    @pytest.mark.parametrize(
        ("said", "message"),
        [
            ({}, "says nothing"),
            ({"correct": 1}, "correct=1"),
            ({"score": 1.5}, "score=1.5"),
            ({"score": True}, "score=True"),
            ({"score": float("nan")}, "score=nan"),
            ({"label": 3}, "are text"),
        ],
    )
    def test_what_cannot_be_said(self, tmp_path: Path, said: Any, message: str) -> None:
        ledger = Ledger(tmp_path / "ledger.db")
        with pytest.raises(ConfigError, match=message):
            ledger.record_outcome("c-1", **said)
        with pytest.raises(ConfigError, match="id of a Result"):
            ledger.record_outcome("", correct=True)


class TestContent:
    def test_it_is_not_stored(self, source: str) -> None:
        with Ledger(source) as ledger:
            ledger.record(result(attempts=[attempt(verdicts=[verdict("a", 1)])]))
            assert ledger.flush()
            with ledger.reader() as reader:
                for table in tables.metadata.sorted_tables:
                    assert SECRET not in repr(reader.rows(select(table)))

    def test_answers_are_stored_where_that_is_switched_on(self, source: str) -> None:
        called = Answer(None, tool_calls=[ToolCall("1", "file", '{"a": 1}')])
        with Ledger(source, content="answers") as ledger:
            tried = [attempt(), attempt("medium", answer=None), attempt("large", answer=called)]
            ledger.record(result("c-1", tried))
            assert ledger.flush()
            with ledger.reader() as reader:
                call = reader.call("c-1")
                (bare,) = reader.calls()
        assert call is not None
        assert [one.answer for one in call.attempts][:2] == [SECRET, None]
        assert json.loads(call.attempts[2].answer or "")["tool_calls"][0]["name"] == "file"
        assert {one.answer for one in bare.attempts} == {None}

    def test_each_text_is_redacted_or_not_stored(self, source: str) -> None:
        def careful(text: str) -> str:
            if "crash" in text:
                raise ValueError(text)
            return text.replace("Ada", "[name]")

        def silent(text: str) -> Any:
            return None if "none" in text else text.upper()

        given = [attempt(), attempt(answer=Answer("crash")), attempt(answer=Answer("none"))]
        with Ledger(source, content="answers", redact=[careful, silent]) as ledger:
            ledger.record(result("c-1", given))
            assert ledger.flush()
            assert (ledger.dropped_contents, ledger.lost) == (2, 0)
            with ledger.reader() as reader:
                call = reader.call("c-1")
        assert call is not None
        assert [one.answer for one in call.attempts] == ["THE PATIENT'S NAME IS [NAME]", None, None]


class TestRetention:
    def test_what_is_too_old_is_deleted(self, source: str) -> None:
        now = datetime.now(UTC).timestamp()
        with Ledger(source, content="answers", retention_days=30, content_days=7) as ledger:
            ledger.open()
            for id, days in (("new", 1), ("middle", 10), ("old", 31), ("older", 300)):
                ledger.record(result(id, started_at=now - days * 86_400))
            ledger.record_outcome("old", correct=True)
            assert len(stored(ledger)) >= 2
            ledger.prune()
            with ledger.reader() as reader:
                kept = {call.id: call for call in reader.calls(with_content=True)}
                rows = reader.rows(select(func.count()).select_from(tables.charges))
                told = reader.rows(select(func.count()).select_from(tables.outcomes))
        assert list(kept) == ["new", "middle"]
        assert [call.attempts[0].answer for call in kept.values()] == [SECRET, None]
        assert rows[0][0] == 2
        assert told[0][0] == 1  # told today

    def test_much_is_deleted_bit_by_bit(self, tmp_path: Path) -> None:
        with Ledger(tmp_path / "ledger.db", retention_days=1) as ledger:
            ledger.open()
            for number in range(12_000):
                ledger.record(result(f"c-{number}", started_at=number))
            assert ledger.flush(60)
            ledger.prune()
            with ledger.reader() as reader:
                assert list(reader.calls()) == []
                for table in (tables.attempts, tables.verdicts, tables.charges):
                    assert reader.rows(select(table)) == []

    def test_it_happens_by_itself(self, source: str) -> None:
        with Ledger(source) as ledger:
            ledger.record(result("old", started_at=0))
        with Ledger(source, retention_days=1, window_s=0.001) as ledger:
            ledger.record(result("older", started_at=0))
            with Ledger.open_for_reading(source) as reader:
                while reader.last_seq():  # ends once the writer has tidied up
                    pass

    def test_numbers_are_not_used_again(self, source: str) -> None:
        with Ledger(source, retention_days=1) as ledger:
            ledger.record(result("old", started_at=0))
            assert ledger.flush()
            ledger.prune()
            ledger.record(result("new", started_at=datetime.now(UTC).timestamp()))
            assert ledger.flush()
            with ledger.reader() as reader:
                assert [(call.seq, call.id) for call in reader.calls()] == [(2, "new")]


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("sqlite:", {}, "needs a file"),
        ("sqlite::memory:", {}, "in memory: MemoryLedger"),
        ("sqlite:no/such/folder/x.db", {}, "no folder"),
        ("mysql://u:hunter2@h/d", {}, "begins with 'mysql'"),
        ("postgresql://u:hunter2@h:port/d", {}, "cannot be read"),
        ("sqlite:x.db", {"content": "some"}, "content='some'"),
        ("sqlite:x.db", {"redact": str.upper}, "redact has no effect"),
        ("sqlite:x.db", {"content": "answers", "redact": ["x"]}, "a redaction is a str"),
        ("sqlite:x.db", {"content_days": 1}, "content_days has no effect"),
        ("sqlite:x.db", {"retention_days": 0}, "retention_days=0"),
        ("sqlite:x.db", {"window_s": -1}, "window_s=-1"),
        ("sqlite:x.db", {"buffer": 0}, "buffer=0"),
        ("sqlite:x.db", {"buffer_bytes": 0}, "buffer_bytes=0"),
    ],
)
def test_options_that_cannot_work(source: str, options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        Ledger(source, **options)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("kind", ["sqlite:{}", "sqlite:///{}", "{}"])
def test_a_file_may_be_written_in_several_ways(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "ledger.db"
    with Ledger(kind.format(file)) as ledger:
        ledger.record(result())
    assert file.is_file()
    with Ledger("ledger.db", folder=tmp_path) as same:
        assert repr(same) == repr(ledger) == f"<Ledger sqlite:{file}>"
        assert stored(same) == ["a-1"]


def test_a_ledger_goes_on_after_it_was_closed(source: str) -> None:
    ledger = Ledger(source)
    ledger.record(result("c-1"))
    assert ledger.close()
    ledger.record(result("c-2"))
    assert ledger.close()
    assert ledger.pending == 0
    assert stored(ledger) == ["c-1", "c-2"]


def test_there_is_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="there is no ledger"):
        Ledger.open_for_reading(tmp_path / "ledger.db")
    empty = tmp_path / "empty.db"
    empty.touch()
    with pytest.raises(LedgerError, match="there is no ledger"):
        Ledger.open_for_reading(empty)
    text = tmp_path / "text.db"
    text.write_text("not a database " * 100)
    with pytest.raises(LedgerError, match="SQLITE_NOTADB"):
        Ledger.open_for_reading(text)
    with pytest.raises(LedgerError, match="SQLITE_NOTADB"):
        Ledger(text).open()


def test_a_reader_sees_what_is_written_meanwhile(source: str) -> None:
    with Ledger(source) as ledger:
        ledger.open()
        with ledger.reader() as reader:
            assert reader.last_seq() == 0
            ledger.record(result("c-1"))
            assert ledger.flush()
            assert [call.id for call in reader.calls(after=0)] == ["c-1"]
            calls = reader.calls()
            next(calls)
            ledger.record(result("c-2"))  # a reader in the middle of its page holds up nobody
            assert ledger.flush()
