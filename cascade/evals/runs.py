"""Recorded runs: for every query, what each tier answered, whether it was right, what it cost.

One JSON object a line (JSON Lines, gzipped or not), one line a (query, tier). Required fields:

    model         the tier's name ("tier" is understood too)
    qid           the query's id
    correct       0 to 1, true or false: how right the answer is; 0 is read where schema_ok is 0
    cost_usd      what asking the tier cost, its validators included

and, where they are known:

    dataset, task, split     labels; a query is known by (dataset, task, qid)
    slice                    the named part of the set that the query belongs to
    signals                  {"name": number}: null is missing, -inf (or "-inf") is a value
    versions                 {"name": text}: the versions of the validators that gave signals
    answer                   a short text by which answers are compared
    schema_ok                0 or 1, false or true: whether the hard validators passed
    tok_in, tok_out          tokens
    latency_ms               milliseconds
    cluster                  queries that belong together, as in one conversation; null is none
    weight                   how much the query counts; 1 where it is left out

A line with "outcome": "failed" holds no answer, and one of weight 0 counts for nothing: they are
left out. Other fields are kept for people.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias, cast

from cascade.errors import ConfigError

if find_spec("numpy") is None or find_spec("scipy") is None:
    raise ConfigError('recorded runs need numpy and scipy: pip install "cascade-engine[evals]"')

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from cascade.evals.statistics.arrays import cluster_codes

__all__ = [
    "Bools",
    "Floats",
    "Ints",
    "Row",
    "Runs",
    "json_object",
    "numbered_lines",
    "read_rows",
    "read_runs",
]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Key: TypeAlias = tuple[str, str, str]


class Row(NamedTuple):
    """One line: what one tier did with one query. NaN and None: not known."""

    key: Key
    tier: str
    correct: float
    cost_usd: float
    signals: Mapping[str, float]
    slice: str | None = None
    answer: str | None = None
    schema_ok: float = math.nan
    output_tokens: float = math.nan
    latency_s: float = math.nan
    cluster: str | None = None
    weight: float = 1.0
    tier_model: str | None = None
    cascade: str | None = None
    versions: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Runs:
    """Queries that every chosen tier has run, as arrays with a row a query and a column a tier.

    Attributes:
        tiers: the columns.
        keys: (dataset, task, qid) of each query.
        slices: of each query; "" where there is none.
        correct: 0 to 1.
        cost_usd: USD.
        signals: by name; NaN is missing.
        answers: a number for each distinct answer; -1 is not known.
        answer_texts: the answers by their numbers.
        schema_ok: 1, 0, or NaN where no hard validator looked.
        output_tokens: NaN is not known.
        latency_s: seconds; NaN is not known.
        weights: of each query.
        slice_by: the field that named the slices. None: there are none.
        clusters: a number for each cluster; a query without one has a number of its own. None:
            every query stands for itself.
        dropped: queries that a chosen tier has not run, and so are not here.
        duplicates: lines that a later line of the same query and tier replaced.
        models: what model each tier was, as far as the lines say.
        cascade: whose runs they are. None: the lines do not say, or name several.
        versions: of the validators that gave the signals, as far as the lines say.
        texts: what each query says, for a router to go by. Empty: not known.
    """

    tiers: tuple[str, ...]
    keys: tuple[Key, ...]
    slices: tuple[str, ...]
    correct: Floats
    cost_usd: Floats
    signals: Mapping[str, Floats]
    answers: Ints
    answer_texts: tuple[str, ...]
    schema_ok: Floats
    output_tokens: Floats
    latency_s: Floats
    weights: Floats
    slice_by: str | None = None
    clusters: Ints | None = None
    dropped: int = 0
    duplicates: int = 0
    models: Mapping[str, str] = field(default_factory=dict[str, str])
    cascade: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    texts: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def column(self, tier: str) -> int:
        """The tier's column."""
        return self.tiers.index(tier)

    def take(self, rows: Ints) -> Runs:
        """These queries only, in this order."""
        places: list[int] = rows.tolist()
        return replace(
            self,
            keys=tuple(self.keys[i] for i in places),
            slices=tuple(self.slices[i] for i in places),
            correct=self.correct[rows],
            cost_usd=self.cost_usd[rows],
            signals={name: values[rows] for name, values in self.signals.items()},
            answers=self.answers[rows],
            schema_ok=self.schema_ok[rows],
            output_tokens=self.output_tokens[rows],
            latency_s=self.latency_s[rows],
            weights=self.weights[rows],
            clusters=None if self.clusters is None else self.clusters[rows],
            texts=tuple(self.texts[i] for i in places) if self.texts else (),
        )

    def take_columns(self, rows: Ints) -> Runs:
        """What features are made from, for these queries only; the labels stay as they are."""
        return replace(
            self,
            keys=(("", "", ""),) * len(rows),
            signals={name: values[rows] for name, values in self.signals.items()},
            answers=self.answers[rows],
            output_tokens=self.output_tokens[rows],
        )

    def sha256(self) -> str:
        """A fingerprint of the queries, tiers, labels and costs."""
        digest = hashlib.sha256("\n".join(self.tiers).encode())
        for key in self.keys:
            digest.update("\t".join(key).encode())
        for values in (self.correct, self.cost_usd, *self.signals.values()):
            digest.update(values.tobytes())
        return digest.hexdigest()


def read_runs(
    paths: Iterable[Path],
    *,
    tiers: Sequence[str] = (),
    signals: Sequence[str] | None = None,
    where: Mapping[str, Sequence[str]] | None = None,
    slice_by: str | None = None,
) -> Runs:
    """Read files of recorded runs.

    Args:
        paths: JSON Lines files, gzipped or not.
        tiers: which models, in this order. Empty: all there are, by mean cost.
        signals: which signals. None: all there are.
        where: the values that dataset, task or split may have.
        slice_by: "slice", "task" or "dataset": what names a query's slice. None: the `slice` where
            a line has one, else the task where the runs hold several.

    Raises:
        ConfigError: a file cannot be read, a line is no run, or nothing is left.
    """
    rows = [row for path in paths for row in read_rows(path, where or {}, slice_by)]
    if not rows:
        raise ConfigError("the files hold no run that passes the filters and has a weight above 0")
    chosen = _chosen_tiers(rows, tiers)
    by_query: dict[Key, dict[str, Row]] = {}
    duplicates = 0
    wanted = frozenset(chosen)
    for row in rows:
        if row.tier in wanted:
            tiers_of = by_query.setdefault(row.key, {})
            duplicates += row.tier in tiers_of
            tiers_of[row.tier] = row
    complete = {key: found for key, found in by_query.items() if len(found) == len(chosen)}
    if not complete:
        raise ConfigError(
            f"no query was run by every one of the tiers {', '.join(chosen)}; leave some out"
        )
    names = _chosen_signals(complete.values(), signals)
    runs = _arrays(complete, chosen, names, slice_by)
    used = [row for row in rows if row.tier in wanted]
    named = {row.cascade for row in used}
    return replace(
        runs,
        dropped=len(by_query) - len(complete),
        duplicates=duplicates,
        models={row.tier: row.tier_model for row in used if row.tier_model is not None},
        cascade=named.pop() if len(named) == 1 else None,
        versions=_versions(used, names),
    )


def _versions(rows: Iterable[Row], signals: Sequence[str]) -> dict[str, str]:
    """Raises ConfigError where one signal has the scores of two versions."""
    found: dict[str, str] = {}
    for row in rows:
        for name, version in row.versions.items():
            if name in signals and found.setdefault(name, version) != version:
                raise ConfigError(
                    f"the runs hold scores of two versions of {name!r}, {found[name]} and "
                    f"{version}; record them again, or leave the signal out"
                )
    return found


def read_rows(
    path: Path, where: Mapping[str, Sequence[str]], slice_by: str | None = None
) -> Iterator[Row]:
    """The rows of one file that pass the filters.

    Raises:
        ConfigError: the file cannot be read, or a line is no run; the message names the line.
    """
    for number, line in numbered_lines(path):
        row = _row(line, where, slice_by, f"{path}, line {number}")
        if row is not None:
            yield row


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, gzipped or not, that are not blank, and their numbers from 1.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if zipped else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error) as error:  # the last two: a gzip cut off, or corrupt
        raise ConfigError(f"the runs {path} cannot be read: {error}") from error


def _row(
    line: bytes, where: Mapping[str, Sequence[str]], slice_by: str | None, place: str
) -> Row | None:
    try:
        given = json_object(line)
        if where and any(str(given.get(f)) not in allowed for f, allowed in where.items()):
            return None
        weight = _amount(given.get("weight", 1))
        if weight == 0 or given.get("outcome") == "failed":  # no answer that could be graded
            return None
        schema_ok = _number(given.get("schema_ok"))
        correct = _share(given["correct"])
        return Row(
            key=(str(given.get("dataset", "")), str(given.get("task", "")), str(given["qid"])),
            tier=str(given["model"] if "model" in given else given["tier"]),
            correct=0.0 if schema_ok == 0 else correct,  # a cascade never accepts it
            cost_usd=_amount(given["cost_usd"]),
            signals={name: _number(value) for name, value in _named(given, "signals").items()},
            slice=_text(given.get(slice_by or "slice")),
            answer=_text(given.get("answer")),
            schema_ok=schema_ok,
            output_tokens=_number(given.get("tok_out")),
            latency_s=_number(given.get("latency_ms")) / 1000,
            cluster=_text(given.get("cluster")),
            weight=weight,
            tier_model=_text(given.get("tier_model")),
            cascade=_text(given.get("cascade")),
            versions={name: str(value) for name, value in _named(given, "versions").items()},
        )
    except KeyError as error:
        raise ConfigError(f"{place} lacks the field {error}") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{place} is no recorded run: {error}") from error


def json_object(line: bytes) -> dict[str, Any]:
    """A line's JSON object.

    Raises:
        TypeError: it holds another kind of value.
        ValueError: it is no JSON, or nested too deeply.
    """
    found: Any = from_json(line)
    if not isinstance(found, dict):
        raise TypeError("a line must be a JSON object")
    return cast("dict[str, Any]", found)


def _named(given: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Values by name; none where the field is left out or null."""
    found = given.get(key)
    if found is not None and not isinstance(found, dict):
        raise TypeError(f'{key} is {found!r}; it must be an object such as {{"name": ...}}')
    return cast("dict[str, Any]", found or {})


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _share(value: Any) -> float:
    share = float(value)
    if not 0 <= share <= 1:
        raise ValueError(f"correct is {share}; it must be 0 to 1")
    return share


def _amount(value: Any) -> float:
    amount = float(value)
    if not (math.isfinite(amount) and amount >= 0):
        raise ValueError(f"a cost or weight is {amount}; it must be a number from 0 up")
    return amount


def _chosen_tiers(rows: Sequence[Row], tiers: Sequence[str]) -> tuple[str, ...]:
    costs: dict[str, list[float]] = {}
    for row in rows:
        costs.setdefault(row.tier, []).append(row.cost_usd)
    if not tiers:
        return tuple(sorted(costs, key=lambda tier: sum(costs[tier]) / len(costs[tier])))
    if unknown := [tier for tier in tiers if tier not in costs]:
        raise ConfigError(
            f"the runs have no tier {', '.join(unknown)}; they have {', '.join(sorted(costs))}"
        )
    if len(set(tiers)) < len(tiers):
        raise ConfigError(f"a tier is named twice: {', '.join(tiers)}")
    return tuple(tiers)


def _chosen_signals(
    queries: Iterable[Mapping[str, Row]], signals: Sequence[str] | None
) -> tuple[str, ...]:
    there = {name for found in queries for row in found.values() for name in row.signals}
    if signals is None:
        return tuple(sorted(there))
    if unknown := [name for name in signals if name not in there]:
        raise ConfigError(
            f"the runs have no signal {', '.join(unknown)}; they have "
            f"{', '.join(sorted(there)) or 'none'}"
        )
    return tuple(dict.fromkeys(signals))


def _arrays(
    queries: Mapping[Key, Mapping[str, Row]],
    tiers: tuple[str, ...],
    signals: tuple[str, ...],
    slice_by: str | None,
) -> Runs:
    flat = [found[tier] for found in queries.values() for tier in tiers]
    columns = dict(zip(Row._fields, zip(*flat, strict=True), strict=True))
    shape = len(queries), len(tiers)
    codes: dict[str | None, int] = {None: -1}

    def floats(name: str) -> Floats:
        return np.array(columns[name], np.float64).reshape(shape)

    def signal(name: str) -> Floats:
        given: Sequence[Mapping[str, float]] = columns["signals"]
        return np.array([one.get(name, math.nan) for one in given], np.float64).reshape(shape)

    def code(text: str | None) -> int:
        return codes.setdefault(text, len(codes) - 1)

    answers = np.array([code(text) for text in columns["answer"]], np.int64).reshape(shape)
    texts = tuple(text for text in codes if text is not None)
    first = flat[:: len(tiers)]  # what is said of a query is said in each of its rows
    # A query without a cluster stands for itself, by its key.
    named = zip(queries, first, strict=True)
    clusters = [key if row.cluster is None else row.cluster for key, row in named]
    slices, slice_by = _slices(first, slice_by)
    return Runs(
        tiers=tiers,
        keys=tuple(queries),
        slices=slices,
        slice_by=slice_by,
        correct=floats("correct"),
        cost_usd=floats("cost_usd"),
        signals={name: signal(name) for name in signals},
        answers=answers,
        answer_texts=texts,
        schema_ok=floats("schema_ok"),
        output_tokens=floats("output_tokens"),
        latency_s=floats("latency_s"),
        weights=np.array([row.weight for row in first], np.float64),
        clusters=None
        if all(row.cluster is None for row in first)
        else cluster_codes(clusters, len(clusters)).astype(np.int64),
    )


def _slices(rows: Sequence[Row], slice_by: str | None) -> tuple[tuple[str, ...], str | None]:
    """The slice of each query, by a row of it each, and the field that named it."""
    named = tuple(row.slice or "" for row in rows)
    if slice_by is not None:
        return named, slice_by
    if any(named):
        return named, "slice"
    tasks = tuple(row.key[1] for row in rows)
    return (tasks, "task") if len(set(tasks)) > 1 else (("",) * len(tasks), None)
