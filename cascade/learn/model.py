"""What was learnt, as numbers: a readable JSON file that is checked before it is believed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

from cascade.errors import ConfigError
from cascade.learn.features import FEATURES_VERSION, SHAPE

__all__ = ["Familiar", "Head", "Model", "checked", "content_of", "parse", "to_json"]

FORMAT: Final = "cascade-router"
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Head:
    """How one tier's probability of being right follows from the features.

    Attributes:
        tier: its name.
        cost_usd: what asking it cost in the training runs, on average, in USD.
        intercept, shape: log-odds, and what each standardised number of the shape adds, and after
            them each number of the embedding.
        slope, offset: calibration of the log-odds, learnt on answers that were held out.
    """

    tier: str
    cost_usd: float
    intercept: float
    shape: tuple[float, ...]
    slope: float
    offset: float


@dataclass(frozen=True, slots=True)
class Familiar:
    """What the training texts look like, to know a text that is unlike them.

    Attributes:
        unseen: the share of a training text's words that occur too seldom in the other ones.
        unseen_limit: how surprising the number of unknown words may be.
        shape_limit: how far from the mean shape a text may be. Few training texts exceed a limit.
        least_chars, most_chars: lengths of text that were met, with room to spare.
    """

    unseen: float
    unseen_limit: float
    shape_limit: float
    least_chars: float
    most_chars: float


@dataclass(frozen=True, slots=True)
class Model:
    """A trained router, as it is stored.

    Attributes:
        features: the version of the features it was trained on.
        value_usd: what a right answer is worth, in USD.
        signals: names of the signals it looks at.
        heads: one a tier, cheapest first.
        familiar: what it was trained on looks like.
        shape_mean, shape_scale: a number of the shape is standardised as (x - mean) * scale.
        vocabulary: by n-gram or signal its inverse document frequency, then its weight for each
            head. N-grams come from the training texts, so treat the file with their care.
        facts: where it comes from and how well it did on held-out queries.
        embedding: how many numbers the embedding gives. 0: it was trained without one.
    """

    features: int
    value_usd: float
    signals: tuple[str, ...]
    heads: tuple[Head, ...]
    familiar: Familiar
    shape_mean: tuple[float, ...]
    shape_scale: tuple[float, ...]
    vocabulary: Mapping[str, tuple[float, ...]]
    facts: Mapping[str, Any]
    embedding: int = 0


def _canonical(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _sha256(content: Any) -> str:
    return hashlib.sha256(_canonical(content).encode()).hexdigest()


def content_of(model: Model) -> dict[str, Any]:
    """The model as plain JSON values; `checked` reads them."""
    content: dict[str, Any] = json.loads(_canonical(asdict(model)))
    return content


def to_json(model: Model) -> str:
    """The file: readable, an n-gram a line, and with a SHA-256 over its canonical content."""
    content = content_of(model)
    about = {"format": FORMAT, "version": VERSION, "sha256": _sha256(content)}
    vocabulary = content.pop("vocabulary")
    lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in about.items()]
    lines += [f"  {json.dumps(name)}: {_canonical(value)}" for name, value in content.items()]
    grams = [f"    {json.dumps(gram)}: {json.dumps(row)}" for gram, row in vocabulary.items()]
    lines.append('  "vocabulary": {\n' + ",\n".join(grams) + "\n  }")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def parse(text: str, path: Path) -> Model:
    """The model in a file's text.

    Raises:
        ConfigError: it is no router, of another version, or was changed since it was written.
    """
    content = _content(text, path)
    if content.pop("format", None) != FORMAT:
        raise ConfigError(f"{path} is not a learned router; `cascade learn` writes one")
    version, features = content.pop("version", None), content.get("features")
    if version != VERSION or features != FEATURES_VERSION:
        raise ConfigError(
            f"{path} is a learned router of format {version!r} with features {features!r}, and "
            f"this version reads {VERSION} and {FEATURES_VERSION}; train it again"
        )
    told = content.pop("sha256", None)
    try:
        digest = _sha256(content)
    except (ValueError, RecursionError) as error:  # a number such as 1e999
        raise ConfigError(f"{path} is not a learned router: {error}") from error
    if told != digest:
        raise ConfigError(
            f"{path} was changed after it was written: its SHA-256 does not match; train it again"
        )
    return checked(content, str(path))


def _content(text: str, path: Path) -> dict[str, Any]:
    def refuse(constant: str) -> float:
        raise ValueError(f"{constant} is no number")

    try:
        content = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is not a learned router; `cascade learn` writes one")
    return cast("dict[str, Any]", content)


def checked(content: Mapping[str, Any], name: str) -> Model:
    """The model of plain JSON values.

    Args:
        name: what they are called in errors.

    Raises:
        ConfigError: they are no model, or their parts do not fit together.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        model = TypeAdapter(Model).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"][:2])
        raise ConfigError(f"{name}: {where}: {first['msg']}") from None
    sizes = {len(model.shape_mean), len(model.shape_scale), *(len(h.shape) for h in model.heads)}
    widths = {len(row) for row in model.vocabulary.values()}
    if (
        sizes != {len(SHAPE) + model.embedding}
        or not widths <= {len(model.heads) + 1}
        or len(model.heads) < 2
    ):
        raise ConfigError(f"{name}: its parts do not fit together; train it again")
    return model
