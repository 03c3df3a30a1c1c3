from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.errors import ConfigError
from cascade.evals.cases import read_cases
from cascade.evals.graders import GraderSettings, grader_of
from cascade.types import UNSET


def jsonl(folder: Path, *rows: object) -> Path:
    path = folder / "cases.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_a_case_in_json_lines(tmp_path: Path) -> None:
    full = {
        "id": 7,
        "messages": [{"role": "user", "content": "6 * 7?"}],
        "expected": 42,
        "grader": "numeric:0.01",
        "slices": ["maths", "short", "maths"],
        "cluster": "c1",
        "weight": 2,
        "params": {"temperature": 0},
        "task": "sums",
    }
    one, two = read_cases(jsonl(tmp_path, full, {"id": "b", "input": "hello", "cluster": None}))
    assert (one.id, one.expected, one.grader, one.slices) == (
        "7", 42, "numeric:0.01", ("maths", "short")
    )  # fmt: skip
    assert (one.cluster, one.weight, one.labels) == ("c1", 2.0, {"task": "sums"})
    assert dict(one.request.params) == {"temperature": 0}
    assert (two.expected, two.cluster, two.line) == (UNSET, None, 2)
    assert two.request.messages[0]["content"] == "hello"


def test_a_case_in_csv(tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    path.write_text(
        "id,input,expected,slices,weight,params.temperature\n"
        'a,"one, two\nthree",42,de|short,0.5,0\n'
        "b,hello,Paris,,,\n",
        encoding="utf-8-sig",
    )
    one, two = read_cases(path)
    assert (one.expected, one.slices, one.weight) == (42, ("de", "short"), 0.5)
    assert one.request.messages[0]["content"] == "one, two\nthree"
    assert dict(one.request.params) == {"temperature": 0}
    assert (two.expected, two.slices, two.weight) == ("Paris", (), 1.0)


def test_null_is_left_out_in_csv_as_in_json(tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    path.write_text("id,input,expected,weight\na,hello,null,null\n", encoding="utf-8")
    (case,) = read_cases(path)
    assert (case.expected, case.weight) == (UNSET, 1.0)
    (same,) = read_cases(jsonl(tmp_path, {"id": "a", "input": "hello", "expected": None}))
    assert same.expected is UNSET
    with pytest.raises(ConfigError, match="expects nothing; give it `expected`"):
        grader_of(case, GraderSettings())


def test_named_slices_are_pairs(tmp_path: Path) -> None:
    (case,) = read_cases(jsonl(tmp_path, {"id": "a", "input": "x", "slices": {"language": "de"}}))
    assert case.slices == ("language=de",)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([1], "is no object"),
        ({"input": "x"}, "id should be text"),
        ({"id": "a"}, 'either "input" or "messages"'),
        ({"id": "a", "input": "x", "messages": []}, 'either "input" or "messages"'),
        ({"id": "a", "input": ["x"]}, "input should be text"),
        ({"id": "a", "messages": []}, "no messages"),
        ({"id": "a", "input": "x", "expectd": 1}, "no key 'expectd'"),
        ({"id": "a", "input": "x", "weight": 0}, "weight is 0"),
        ({"id": "a", "input": "x", "params": 1}, "params should be an object"),
        ({"id": "a", "input": "x", "params": {"stream": True}}, "stream"),
        ({"id": "a", "input": "x", "slices": 3}, "slices should be"),
    ],
)
def test_a_mistake_names_its_line(tmp_path: Path, row: object, said: str) -> None:
    path = jsonl(tmp_path, {"id": "first", "input": "x"}, row)
    with pytest.raises(ConfigError, match="line 2") as raised:
        read_cases(path)
    assert said in str(raised.value)


def test_two_cases_of_one_id_are_refused(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"id": "a", "input": "x"}, {"id": "a", "input": "y"})
    with pytest.raises(ConfigError, match="line 2: the id 'a' is that of line 1"):
        read_cases(path)


def test_no_cases_are_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("\n")
    with pytest.raises(ConfigError, match="holds no cases"):
        read_cases(tmp_path / "none.jsonl")
    with pytest.raises(ConfigError, match="there is no file"):
        read_cases(tmp_path / "gone.jsonl")


def test_a_csv_row_with_too_many_cells_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    path.write_text("id,input\na,one,two\n")
    with pytest.raises(ConfigError, match="line 2 has more cells"):
        read_cases(path)


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    for name in ("cases.jsonl", "cases.csv"):
        (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(ConfigError):
            read_cases(folder / name)
