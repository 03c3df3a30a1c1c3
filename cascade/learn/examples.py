"""What a router learns from: queries with their text, and how right each tier was."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, cast

from cascade.errors import ConfigError, did_you_mean
from cascade.signals import BUILT_IN, Signals
from cascade.types import Fact, Request

__all__ = ["Examples", "Prompt", "read_prompts", "training_rows", "with_signals"]

Key: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One query: its text, and the signals that were known before any model ran."""

    text: str
    signals: Mapping[str, Fact]


@dataclass(frozen=True, slots=True)
class Examples:
    """Queries that every tier has run.

    Attributes:
        tiers: cheapest first.
        keys: (dataset, task, qid) of each query.
        texts: of each query.
        signals: of each query, known before any model ran; "path" is the path it was asked on.
        correct: of each query how right each tier was, 0 to 1.
        costs_usd: of each query what each tier cost, in USD.
        dropped: queries that are not here, as a tier has not run them or their text is unknown.
        asked: of each query the whole request. Empty: the text was all of it.
    """

    tiers: tuple[str, ...]
    keys: tuple[Key, ...]
    texts: tuple[str, ...]
    signals: tuple[Mapping[str, Fact], ...]
    correct: tuple[tuple[float, ...], ...]
    costs_usd: tuple[tuple[float, ...], ...]
    dropped: int = 0
    asked: tuple[Request, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: Iterable[int]) -> Examples:
        """These queries only, in this order."""
        rows = [int(row) for row in rows]
        return replace(
            self,
            keys=tuple(self.keys[row] for row in rows),
            texts=tuple(self.texts[row] for row in rows),
            signals=tuple(self.signals[row] for row in rows),
            correct=tuple(self.correct[row] for row in rows),
            costs_usd=tuple(self.costs_usd[row] for row in rows),
            asked=tuple(self.asked[row] for row in rows) if self.asked else (),
        )

    def requests(self) -> Iterator[Request]:
        """What was asked, query by query."""
        return iter(self.asked) if self.asked else map(Request, self.texts)

    def mean_costs_usd(self) -> tuple[float, ...]:
        """What each tier cost on average."""
        return tuple(sum(column) / len(self) for column in zip(*self.costs_usd, strict=True))

    def base_rates(self) -> tuple[float, ...]:
        """How often each tier was right."""
        return tuple(sum(column) / len(self) for column in zip(*self.correct, strict=True))

    def sha256(self) -> str:
        """A fingerprint of the queries, texts, labels and costs."""
        digest = hashlib.sha256()
        for row in (self.tiers, self.keys, self.texts, self.correct, self.costs_usd):
            digest.update(json.dumps(row).encode())
        return digest.hexdigest()


def training_rows(
    runs: Sequence[Path],
    prompts: Sequence[Path],
    tiers: Mapping[str, str],
    where: Mapping[str, Sequence[str]] | None = None,
) -> Examples:
    """Recorded runs with the prompts that belong to them.

    Args:
        runs: files of recorded runs, as `cascade tune` reads them.
        prompts: files with a JSON object a line: dataset, task, qid, prompt, and signals where
            there are some. Empty: the runs' own lines hold "prompt".
        tiers: the model's name in the runs by the tier's name, cheapest first.
        where: the values that dataset, task or split may have.

    Raises:
        ConfigError: a file cannot be read, a line is of another kind, or nothing is left.
    """
    from cascade.evals.runs import read_rows

    if len(tiers) < 2:
        raise ConfigError("a router chooses between two tiers or more; name them in --tiers")
    texts = {key: prompt for path in prompts or runs for key, prompt in read_prompts(path)}
    wanted = {model: tier for tier, model in tiers.items()}
    by_query: dict[Key, dict[str, tuple[float, float]]] = {}
    models: set[str] = set()
    for path in runs:
        for row in read_rows(path, where or {}):
            models.add(row.tier)
            if row.tier in wanted:
                by_query.setdefault(row.key, {})[wanted[row.tier]] = (row.correct, row.cost_usd)
    met = {tier for found in by_query.values() for tier in found}
    for tier, model in tiers.items():
        if tier not in met:
            raise ConfigError(
                f"the runs hold nothing of {model!r}; they are of "
                f"{', '.join(sorted(models)) or 'no model'}, and --tiers names models of them"
            )
    keys = [key for key, found in by_query.items() if len(found) == len(tiers) and key in texts]
    if not keys:
        raise ConfigError("no query has both a prompt and a run of every tier; check --prompts")
    return Examples(
        tuple(tiers),
        tuple(keys),
        tuple(texts[key].text for key in keys),
        tuple(texts[key].signals for key in keys),
        tuple(tuple(by_query[key][tier][0] for tier in tiers) for key in keys),
        tuple(tuple(by_query[key][tier][1] for tier in tiers) for key in keys),
        len(by_query) - len(keys),
    )


def with_signals(examples: Examples, names: Sequence[str]) -> Examples:
    """The examples with these signals: as recorded, and built-in ones else as requests tell them.

    Raises:
        ConfigError: one is neither recorded of any query nor told by any request.
    """
    if not names:
        return examples
    rows: list[Mapping[str, Fact]] = []
    for request, given in zip(examples.requests(), examples.signals, strict=True):
        told = Signals.of(request)
        rows.append({**{name: told[name] for name in names}, **given})
    for name in names:
        if all(row[name] is None for row in rows):
            recorded = {one for given in examples.signals for one in given}
            raise ConfigError(
                f"the runs have no signal {name!r}, and no prompt tells it; "
                f"{did_you_mean(name, {*recorded, *BUILT_IN})}"
            )
    return replace(examples, signals=tuple(rows))


def read_prompts(path: Path) -> Iterator[tuple[Key, Prompt]]:
    """The prompts of one file (JSON Lines, gzipped or not); lines without one are passed over.

    The signals of a line that holds a run are what its answer showed, and no facts of its prompt.

    Raises:
        ConfigError: the file cannot be read, or a line is no JSON object with a qid.
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if zipped else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    found = _prompt(line, f"{path}, line {number}")
                    if found is not None:
                        yield found
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"the prompts {path} cannot be read: {error}") from error


def _prompt(line: bytes, place: str) -> tuple[Key, Prompt] | None:
    try:
        given = cast("dict[str, Any]", json.loads(line))
        text = given.get("prompt")
        if not isinstance(text, str):
            return None
        key = (str(given.get("dataset", "")), str(given.get("task", "")), str(given["qid"]))
        is_run = "model" in given or "tier" in given
        return key, Prompt(text, {} if is_run else dict(given.get("signals") or {}))
    except KeyError as error:
        raise ConfigError(f"{place} lacks the field {error}") from error
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{place} is no prompt: {error}") from error
