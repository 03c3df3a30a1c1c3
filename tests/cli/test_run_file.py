from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from cascade import Answer, Cascade, Request, Tier
from cascade.cli.lines import ROW_START, Line, parse_line, read_done
from cascade.cli.output import as_json, usd
from cascade.cli.run_file import _answer_all, _Job
from cascade.cli.tally import Tally
from cascade.cli.way import Way
from cascade.errors import ConfigError
from cascade.types import Result


class Asked:
    """A model that answers when it is told to."""

    def __init__(self) -> None:
        self.started = 0
        self.free = anyio.Event()

    async def __call__(self, request: Request) -> Answer[str]:
        self.started += 1
        await self.free.wait()
        return Answer("yes")


@pytest.mark.anyio
async def test_no_more_lines_are_read_than_are_under_way() -> None:
    model = Asked()
    drawn: list[int] = []
    written: list[dict[str, Any]] = []

    def lines() -> Iterator[Line]:
        for number in range(1, 101):
            drawn.append(number)
            yield Line(number, "", request=Request("x"))

    job = _Job(Cascade(tiers=[Tier("t", call=model)]), Way(), written.append, Tally())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_answer_all, job, lines(), 7)
        while model.started < 7:
            await checkpoint()
        assert (len(drawn), written) == (7, [])
        model.free.set()
    assert sorted(row["line"] for row in written) == list(range(1, 101))
    assert job.tally.accepted == 100


@pytest.mark.anyio
async def test_an_unexpected_error_stays_in_its_row_without_its_text() -> None:
    class Broken(Cascade):
        async def run(self, *args: Any, **kwargs: Any) -> Result[Any]:
            raise RuntimeError("the prompt was: secret")

    written: list[dict[str, Any]] = []
    job = _Job(Broken(tiers=[Tier("t", call=Asked())]), Way(), written.append, Tally())
    await _answer_all(job, iter([Line(1, "", request=Request("secret"))]), 1)
    assert written[0]["error"] == {
        "type": "RuntimeError",
        "message": "line 1: an unexpected RuntimeError",
    }


def test_every_row_begins_as_it_is_recognised() -> None:
    row = {"id": None, "line": 1}
    assert as_json(row).encode().startswith(ROW_START)


rows = st.lists(st.booleans(), max_size=6).map(
    lambda verdicts: [
        json.dumps({"id": n, "line": n, "input": f"d{n}", "accepted": verdict}).encode() + b"\n"
        for n, verdict in enumerate(verdicts, 1)
    ]
)


@given(rows, st.data())
def test_a_file_torn_anywhere_keeps_its_whole_rows(
    tmp_path_factory: pytest.TempPathFactory, whole: list[bytes], data: st.DataObject
) -> None:
    text = b"".join(whole)
    torn = text[: data.draw(st.integers(0, len(text)))]
    output = tmp_path_factory.mktemp("torn") / "out.jsonl"
    output.write_bytes(torn)
    done = read_done(output)
    assert list(done) == list(range(1, torn.count(b"\n") + 1))
    assert output.read_bytes() == b"".join(whole[: len(done)])


@given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_no_line_breaks_the_reader(text: bytes) -> None:
    line = parse_line(3, text)
    assert (line.request is None) == isinstance(line.mistake, ConfigError)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
keys = st.sampled_from(["id", "path", "prompt", "messages", "model", "stream", "tools", "self"])


@given(st.dictionaries(keys, json_values | st.just([{"role": "user"}]), max_size=5))
def test_no_object_breaks_the_reader(body: dict[str, Any]) -> None:
    line = parse_line(3, json.dumps(body).encode())
    assert (line.request is None) == isinstance(line.mistake, ConfigError)
    if line.request is not None:
        assert line.id == body.get("id")
        assert line.path == body.get("path")


def test_percentiles_are_of_the_nearest_rank() -> None:
    tally = Tally()
    assert tally.percentile_s(0.5) is None
    for latency_s in (4.0, 1.0, 3.0, 2.0):
        tally.add(Result(None, True, "t", "accepted", (), latency_s))
    assert [tally.percentile_s(share) for share in (0.25, 0.5, 0.95)] == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("0", "$0.00"), ("3", "$3.00"), ("0.4", "$0.40"), ("0.00000985", "$0.00000985"),
     ("1E+3", "$1000.00")],
)  # fmt: skip
def test_money_is_shown_exactly(amount: str, shown: str) -> None:
    assert usd(Decimal(amount)) == shown
    assert usd(None) == "an unknown cost"


def test_a_digest_tells_lines_apart() -> None:
    assert parse_line(1, b'"x"').digest == parse_line(9, b'"x"').digest
    assert parse_line(1, b'"x"').digest != parse_line(1, b'"y"').digest
