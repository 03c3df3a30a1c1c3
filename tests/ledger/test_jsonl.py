from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cascade import Cascade, ConfigError, Tier
from cascade.ledger import JsonLines, MemoryLedger
from tests.ledger.support import LARGE, SECRET, attempt, python, result, verdict


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_a_call_is_one_object_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    tried = [
        attempt("small", "rejected", verdicts=[verdict("score", 0.3, 0.5)]),
        attempt("large", price=LARGE, verdicts=[verdict("score", 0.9, 0.5), verdict("json", 1)]),
    ]
    with JsonLines(file) as lines:
        given = result("c-1", tried, cascade="support", plan=("small",), metadata={"user": "u1"})
        lines.record(given)
        lines.record(result("c-2", []))
        lines.record_outcome("c-1", correct=True, by="grader")
    one, two, outcome = lines_of(file)
    assert (one["id"], one["cascade"], one["tier"]) == ("c-1", "support", "large")
    assert (one["metadata"], one["signals"], two["attempts"]) == ({"user": "u1"}, {}, [])
    assert Decimal(one["cost_usd"]) == given.cost_usd
    assert (one["plan"], two["plan"]) == (["small"], [])
    small, large = one["attempts"]
    assert [v["validator"] for v in large["verdicts"]] == ["score", "json"]
    assert (small["verdicts"][0]["score"], small["verdicts"][0]["threshold"]) == (0.3, 0.5)
    assert (small["charges"][0]["input_tokens"], "answer" in small) == (900, False)
    assert (outcome["outcome"]["call_id"], outcome["outcome"]["correct"]) == ("c-1", True)
    assert SECRET not in file.read_text(encoding="utf-8")


def test_answers_where_they_are_switched_on(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    with JsonLines(file, content="answers", redact=str.upper) as lines:
        lines.record(result("c-1", [attempt(), attempt(answer=None)]))
    (call,) = lines_of(file)
    assert call["attempts"][0]["answer"] == SECRET.upper()
    assert "answer" not in call["attempts"][1]


def test_a_line_that_broke_off_spoils_no_other(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    with JsonLines(file) as lines:
        lines.record(result("c-1"))
    with file.open("a", encoding="utf-8") as other:
        other.write("a line of another writer, ended\n")
    with JsonLines(file) as lines:
        lines.record(result("c-2"))
    first, _, last = file.read_text(encoding="utf-8").splitlines()
    assert (json.loads(first)["id"], json.loads(last)["id"]) == ("c-1", "c-2")


def test_several_processes_append_to_one_file(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    script = (
        "import sys\n"
        "from cascade.ledger import JsonLines\n"
        "from tests.ledger.support import result\n"
        "with JsonLines(sys.argv[1], window_s=0.001) as lines:\n"
        "    for number in range(300): lines.record(result(f'{sys.argv[2]}-{number}'))\n"
    )
    processes = [python(script, file, str(number)) for number in range(3)]
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
    assert len({call["id"] for call in lines_of(file)}) == 900


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        JsonLines(tmp_path / "no" / "calls.jsonl")


@pytest.mark.anyio
async def test_in_memory_results_are_kept_as_they_are() -> None:
    ledger = MemoryLedger(most=2)
    cascade = Cascade(tiers=[Tier("small")], observers=[ledger])

    @cascade
    async def ask(tier: Tier, text: str) -> str:
        return text

    results = [await ask.run(text) for text in ("a", "b", "c")]
    ledger.record_outcome(results[2].id, score=0.5)
    assert list(ledger.results) == results[1:]
    assert ledger.outcomes[0].call_id == results[2].id
    assert repr(ledger) == "<MemoryLedger of 2 results>"
