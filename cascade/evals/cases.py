"""Cases: requests whose right answers are known, from JSON Lines or CSV.

One object a line, or one row a case below a header:

    id          names the case; no two have the same
    input       the user message; or, in JSON Lines, `messages`, a whole chat
    expected    what a right answer is, as the grader wants it
    grader      how this case is graded; left out: as the command line says
    slices      named parts of the set that the case belongs to
    cluster     cases that belong together, as in one conversation
    weight      how much the case counts; 1 where it is left out
    params      request parameters, such as {"temperature": 0}
    dataset, task, split    labels, kept as they are

In CSV, `slices` are separated by "|", `params.temperature` is a column, and an `expected` that is
JSON is read as such. In both, null is the same as left out.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from cascade.errors import ConfigError, did_you_mean
from cascade.types import UNSET, Request

__all__ = ["Case", "read_cases"]

_LABELS: Final = ("dataset", "task", "split")
_KEYS: Final = (
    "id",
    "input",
    "messages",
    "expected",
    "grader",
    "slices",
    "cluster",
    "weight",
    "params",
    *_LABELS,
)
_PARAM: Final = "params."


@dataclass(frozen=True, slots=True)
class Case:
    """One request whose right answer is known.

    Attributes:
        id: unique in its set.
        request: what is sent.
        line: where it stands in its file, from 1.
        expected: what a right answer is. UNSET: the case does not say.
        grader: how it is graded, such as "numeric:0.01". None: as the whole set is.
        slices: the named parts of the set that it belongs to.
        cluster: cases with the same cluster belong together. None: it stands for itself.
        weight: how much it counts.
        labels: dataset, task and split, where they are given.
    """

    id: str
    request: Request = field(repr=False)
    line: int = 0
    expected: Any = field(default=UNSET, repr=False)
    grader: str | None = None
    slices: tuple[str, ...] = ()
    cluster: str | None = None
    weight: float = 1.0
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


def read_cases(path: Path) -> list[Case]:
    """The cases of a file; a name that ends in .csv is CSV, every other JSON Lines.

    Raises:
        ConfigError: it cannot be read, a line is no case, or two cases have the same id.
    """
    cases: list[Case] = []
    lines_of_ids: dict[str, int] = {}
    for number, fields in _fields(path):
        place = f"{path}, line {number}"
        case = _case(fields, place, number)
        if case.id in lines_of_ids:
            raise ConfigError(
                f"{place}: the id {case.id!r} is that of line {lines_of_ids[case.id]}; give each "
                "case an id of its own"
            )
        lines_of_ids[case.id] = number
        cases.append(case)
    if not cases:
        raise ConfigError(f"{path} holds no cases")
    return cases


def _fields(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    read = _csv_rows if path.suffix.lower() == ".csv" else _json_lines
    try:
        yield from read(path)
    except FileNotFoundError:
        raise ConfigError(f"there is no file {str(path)!r} to read cases from") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"the cases {path} cannot be read: {error}") from None


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, _object(line, f"{path}, line {number}")


def _object(line: str, place: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise ConfigError(f"{place} is not valid JSON") from None
    if not isinstance(fields, dict):
        raise ConfigError(f'{place} is no object such as {{"id": "q1", "input": "..."}}')
    return {
        key: value for key, value in cast("dict[str, Any]", fields).items() if value is not None
    }


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines, strict=True)
        for row in rows:
            yield rows.line_num, _uncsv(row, f"{path}, line {rows.line_num}")


def _uncsv(row: dict[str | None, Any], place: str) -> dict[str, Any]:
    if None in row:
        raise ConfigError(f"{place} has more cells than the header has names; quote its commas")
    fields: dict[str, Any] = {}
    for key, cell in cast("dict[str, str | None]", row).items():
        if not cell:
            continue
        if key.startswith(_PARAM):
            fields.setdefault("params", {})[key.removeprefix(_PARAM)] = _read_cell(cell)
        elif key == "slices":
            fields[key] = cell.split("|")
        else:
            fields[key] = _read_cell(cell) if key in ("expected", "weight") else cell
    return {key: value for key, value in fields.items() if value is not None}


def _read_cell(cell: str) -> Any:
    """JSON where it is; text as it stands."""
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell


def _case(fields: Mapping[str, Any], place: str, line: int) -> Case:
    for key in fields:
        if key not in _KEYS:
            raise ConfigError(f"{place}: there is no key {key!r}; {did_you_mean(key, _KEYS)}")
    return Case(
        id=_name("id", fields.get("id"), place),
        request=_request(fields, place),
        line=line,
        expected=fields.get("expected", UNSET),
        grader=_optional_name("grader", fields, place),
        slices=_slices(fields.get("slices", ()), place),
        cluster=_optional_name("cluster", fields, place),
        weight=_weight(fields.get("weight", 1), place),
        labels={key: _name(key, fields[key], place) for key in _LABELS if key in fields},
    )


def _name(key: str, value: object, place: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ConfigError(f"{place}: {key} should be text or a whole number")
    return str(value)


def _optional_name(key: str, fields: Mapping[str, Any], place: str) -> str | None:
    return _name(key, fields[key], place) if key in fields else None


def _request(fields: Mapping[str, Any], place: str) -> Request:
    if ("input" in fields) == ("messages" in fields):
        raise ConfigError(f'{place}: give it either "input" or "messages"')
    params = fields.get("params", {})
    if not isinstance(params, dict):
        raise ConfigError(f'{place}: params should be an object such as {{"temperature": 0}}')
    content = fields["input"] if "input" in fields else fields["messages"]
    if not isinstance(content, str if "input" in fields else list):
        wanted = "input should be text" if "input" in fields else "messages should be a list"
        raise ConfigError(f"{place}: {wanted}")
    try:
        return Request(cast("str", content), **cast("dict[str, Any]", params))
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None


def _slices(given: object, place: str) -> tuple[str, ...]:
    if isinstance(given, str):
        given = [given]
    elif isinstance(given, dict):
        given = [f"{key}={value}" for key, value in cast("dict[str, object]", given).items()]
    if not isinstance(given, list | tuple):
        raise ConfigError(f'{place}: slices should be a list of names, such as ["german"]')
    names = [_name("a slice", one, place).strip() for one in cast("list[object]", given)]
    return tuple(dict.fromkeys(names))


def _weight(given: object, place: str) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise ConfigError(f"{place}: weight should be a number above 0")
    if not (math.isfinite(given) and given > 0):
        raise ConfigError(f"{place}: weight is {given}; it should be a number above 0")
    return float(given)
