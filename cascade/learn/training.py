"""Training: regularised logistic regression for each tier, calibrated on held-out answers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import mul
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cascade.errors import ConfigError
from cascade.learn.examples import Examples
from cascade.learn.features import (
    FEATURES_VERSION,
    SHAPE,
    Embed,
    Key,
    Reading,
    embedded,
    read,
    spoken,
)
from cascade.learn.folds import folds_of
from cascade.learn.model import Familiar, Head, Model
from cascade.learn.one_thread import one_thread
from cascade.learn.router import farness, shape_of, surprise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Ints: TypeAlias = NDArray[np.int64]

__all__ = ["Settings", "matrix", "read_all", "sklearn", "train", "train_and_predict"]

LEAST_EXAMPLES: Final = 50
LEAST_TEXTS: Final = 2
"""In how many texts an n-gram has to occur."""

LEAST_SPREAD: Final = 0.05
"""What a number of the shape varies by at least, so that one that never varies counts little."""

LEAST_SPREAD_EMBEDDED: Final = 1e-6
"""The same for a number of an embedding, whose unit nobody knows."""

RARE: Final = 0.005
"""The share of training texts that would count as unlike the others, by each measure of it."""

_INSTALL: Final = 'training a router needs scikit-learn: pip install "cascade-engine[learn]"'


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train.

    Attributes:
        strengths: the inverse regularisations to choose from, by the error of held-out gains.
        most_grams: how many n-grams are kept, the most frequent ones.
        shape_weight: how much the shape counts beside the n-grams.
        embedding_weight: how much the embedding counts beside them, where there is one.
        folds: of the inner cross-validation, for the strength and the calibration.
        seed: of the folds.
    """

    strengths: tuple[float, ...] = (0.1, 0.3, 1.0)
    most_grams: int = 50_000
    shape_weight: float = 0.3
    embedding_weight: float = 1.0
    folds: int = 3
    seed: int = 0

    def of_shape(self, embedding: int = 0) -> list[float]:
        """What each number of a shape is multiplied with, beside n-grams of length 1.

        Args:
            embedding: how many numbers an embedding adds to it.
        """
        own = [self.shape_weight / math.sqrt(len(SHAPE))] * len(SHAPE)
        return own + [self.embedding_weight / math.sqrt(max(embedding, 1))] * embedding


def sklearn() -> Any:
    """The module `sklearn.linear_model`.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        from sklearn import linear_model  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise ConfigError(_INSTALL) from error
    return linear_model


def read_all(
    examples: Examples, signals: Sequence[str] = (), embed: Embed | None = None
) -> list[Reading]:
    """Every text as features.

    Raises:
        ConfigError: the embedding fails, or gives now more numbers and now fewer.
    """
    readings = [
        read(text, given, signals)
        for text, given in zip(examples.texts, examples.signals, strict=True)
    ]
    if embed is None:
        return readings
    try:
        readings = [
            embedded(reading, embed, text)
            for reading, text in zip(readings, examples.texts, strict=True)
        ]
    except Exception as error:
        raise ConfigError(f"the embedding failed: {type(error).__name__}: {error}") from error
    sizes = sorted({len(reading.shape) - len(SHAPE) for reading in readings})
    if len(sizes) > 1:
        raise ConfigError(
            f"the embedding gives {sizes[0]} numbers of one text, {sizes[-1]} of another"
        )
    return readings


def train(
    examples: Examples,
    settings: Settings | None = None,
    *,
    signals: Sequence[str] = (),
    readings: Sequence[Reading] | None = None,
) -> Model:
    """A model of the examples. Its value of a right answer is yet to be set.

    Args:
        signals: names of the signals to use.
        readings: what `read_all` made of the examples, where that is done; needed where there is an
            embedding.

    Raises:
        ConfigError: scikit-learn is not installed, or there are too few examples.
    """
    return train_and_predict(examples, settings, signals=signals, readings=readings)[0]


def train_and_predict(
    examples: Examples,
    settings: Settings | None = None,
    *,
    signals: Sequence[str] = (),
    readings: Sequence[Reading] | None = None,
) -> tuple[Model, Floats]:
    """As `train`; and for each example and tier the chance that models without it give it."""
    import numpy as np

    settings = settings or Settings()
    linear = sklearn()
    if len(examples) < LEAST_EXAMPLES:
        raise ConfigError(
            f"{len(examples)} queries are too few to learn from; a router wants "
            f"{LEAST_EXAMPLES} at the very least, and some thousands to be any good"
        )
    readings = read_all(examples, signals) if readings is None else readings
    blank = _blank(examples, readings, signals, settings)
    x = matrix(readings, blank, settings)
    correct = np.asarray(examples.correct, dtype=float)
    places = folds_of(examples, settings.folds, settings.seed)
    with one_thread():
        return _trained(linear, x, correct, blank, settings, places)


def _trained(
    linear: Any, x: Any, correct: Floats, blank: Model, settings: Settings, places: Ints
) -> tuple[Model, Floats]:
    """The blank model with its weights, and the chances that models without each example give."""
    import numpy as np

    held_out = _held_out(linear, x, correct, places, settings)
    strength = min(held_out, key=lambda c: _gain_error(linear, held_out[c], correct))
    of_shape = settings.of_shape(blank.embedding)
    heads: list[Head] = []
    weights: list[Floats] = []
    for place, head in enumerate(blank.heads):
        fitted = _fit(linear, x, correct[:, place], strength)
        slope, offset = _calibration(linear, held_out[strength][:, place], correct[:, place])
        shape = tuple(map(mul, map(float, fitted[len(blank.vocabulary) : -1]), of_shape))
        intercept = float(fitted[-1])
        heads.append(replace(head, intercept=intercept, shape=shape, slope=slope, offset=offset))
        weights.append(fitted)
    vocabulary = {
        gram: (row[0], *(float(w[number]) for w in weights))
        for number, (gram, row) in enumerate(blank.vocabulary.items())
    }
    model = replace(blank, heads=tuple(heads), vocabulary=vocabulary, facts={"strength": strength})
    odds = held_out[strength] * [h.slope for h in heads] + [h.offset for h in heads]
    chances: Floats = 1 / (1 + np.exp(-np.clip(odds, -700, 700)))
    return model, chances


def matrix(readings: Sequence[Reading], model: Model, settings: Settings) -> Any:
    """The features as a sparse matrix: a column for each n-gram, then the shape."""
    import numpy as np

    sparse = _sparse()
    columns = {
        gram: (number, row[0]) for number, (gram, row) in enumerate(model.vocabulary.items())
    }
    width = len(columns)
    of_shape = settings.of_shape(model.embedding)
    data: list[float] = []
    indices: list[int] = []
    ends = [0]
    for reading in readings:
        row = [
            (found[0], (1 + math.log(count)) * found[1])
            for key, count in reading.keys().items()
            if (found := columns.get(spoken(key)))
        ]
        norm = math.sqrt(sum(value * value for _, value in row)) or 1.0
        indices += [place for place, _ in row]
        data += [value / norm for _, value in row]
        indices += range(width, width + len(of_shape))
        data += map(mul, shape_of(reading, model), of_shape)
        ends.append(len(data))
    shape = (len(readings), width + len(of_shape))
    return sparse.csr_matrix((np.array(data), np.array(indices), np.array(ends)), shape=shape)


def _sparse() -> Any:
    from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]

    return sparse


def _blank(
    examples: Examples, readings: Sequence[Reading], signals: Sequence[str], settings: Settings
) -> Model:
    """A model with everything but the weights."""
    n = len(readings)
    texts: Counter[Key] = Counter()
    for reading in readings:
        texts.update(dict.fromkeys(reading.keys(), 1))
    often = [(key, count) for key, count in texts.items() if count >= LEAST_TEXTS]
    often.sort(key=lambda item: (-item[1], spoken(item[0])))
    vocabulary = {
        spoken(key): (1 + math.log((1 + n) / (1 + count)),)
        for key, count in often[: settings.most_grams]
    }
    means, scales = _standard(readings)
    zeros = (0.0,) * len(means)
    blank = Model(
        features=FEATURES_VERSION,
        value_usd=0.0,
        signals=tuple(signals),
        heads=tuple(
            Head(tier, cost, 0.0, zeros, 1.0, 0.0)
            for tier, cost in zip(examples.tiers, examples.mean_costs_usd(), strict=True)
        ),
        familiar=Familiar(0.0, 1.0, 1.0, 0.0, 0.0),
        shape_mean=means,
        shape_scale=scales,
        vocabulary=vocabulary,
        facts={},
        embedding=len(means) - len(SHAPE),
    )
    return _familiar(readings, texts, blank)


def _standard(readings: Sequence[Reading]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Means, and one over the standard deviations, of the numbers of the shape."""
    import numpy as np

    shapes = np.array([reading.shape for reading in readings])
    least = np.full(shapes.shape[1], LEAST_SPREAD_EMBEDDED)
    least[: len(SHAPE)] = LEAST_SPREAD
    spreads = np.maximum(shapes.std(axis=0), least)
    return tuple(float(m) for m in shapes.mean(axis=0)), tuple(float(1 / s) for s in spreads)


def _familiar(readings: Sequence[Reading], texts: Mapping[Key, int], blank: Model) -> Model:
    """The model, knowing what the texts look like; each is judged by the words of the others."""
    import numpy as np

    unseen: list[int] = []
    for reading in readings:
        known = [word in blank.vocabulary and texts[word] > LEAST_TEXTS for word in reading.words]
        unseen.append(len(known) - sum(known))
    words = [len(reading.words) for reading in readings]
    share = sum(unseen) / max(sum(words), 1)
    surprises = [surprise(u, n, share) for u, n in zip(unseen, words, strict=True)]
    far = [farness(reading, blank) for reading in readings]
    chars = [reading.chars for reading in readings]
    least, most = (float(q) for q in np.quantile(chars, (RARE, 1 - RARE)))
    return replace(
        blank,
        familiar=Familiar(
            unseen=share,
            unseen_limit=max(float(np.quantile(surprises, 1 - RARE)), 1.0),
            shape_limit=max(float(np.quantile(far, 1 - RARE)), 1.0),
            least_chars=least / 2,
            most_chars=most * 2,
        ),
    )


def _fit(linear: Any, x: Any, correct: Floats, strength: float) -> Floats:
    """The weights, the intercept last; an answer that is half right counts half on both sides."""
    import numpy as np

    sparse = _sparse()
    if correct.min() == correct.max() and correct[0] in (0.0, 1.0):
        # All right or all wrong: the odds of one more of each kind.
        sure = math.log1p(len(correct))
        return np.concatenate([np.zeros(x.shape[1]), [sure if correct[0] else -sure]])
    parts = np.flatnonzero((correct > 0) & (correct < 1))
    model = linear.LogisticRegression(C=strength, max_iter=500, tol=1e-5)
    labels = np.concatenate([correct > 0, np.zeros(len(parts), dtype=bool)])
    shares = np.concatenate([np.where(correct > 0, correct, 1.0), 1 - correct[parts]])
    rows = sparse.vstack([x, x[parts]]).tocsr() if len(parts) else x
    model.fit(rows, labels, sample_weight=shares)
    return np.concatenate([model.coef_[0], model.intercept_])


def _held_out(
    linear: Any, x: Any, correct: Floats, places: Ints, settings: Settings
) -> dict[float, Floats]:
    """For each strength the log-odds of every example by models that did not see it."""
    import numpy as np

    found = {strength: np.zeros_like(correct) for strength in settings.strengths}
    for fold in range(settings.folds):
        inside, outside = np.flatnonzero(places != fold), np.flatnonzero(places == fold)
        for strength, odds in found.items():
            for place in range(correct.shape[1]):
                weights = _fit(linear, x[inside], correct[inside, place], strength)
                odds[outside, place] = x[outside] @ weights[:-1] + weights[-1]
    return found


def _gain_error(linear: Any, odds: Floats, correct: Floats) -> float:
    """The mean squared error of what each tier is expected to bring over the one below it."""
    import numpy as np

    columns: list[Floats] = []
    for place in range(correct.shape[1]):
        slope, offset = _calibration(linear, odds[:, place], correct[:, place])
        columns.append(1 / (1 + np.exp(-(slope * odds[:, place] + offset))))
    return float(np.mean((np.diff(np.array(columns).T) - np.diff(correct)) ** 2))


def _calibration(linear: Any, odds: Floats, correct: Floats) -> tuple[float, float]:
    """What makes held-out log-odds honest (Platt, 1999); a slope below 0 counts as none."""
    import numpy as np

    weights = _fit(linear, odds[:, None], correct, 1e6)
    if weights[0] > 0:
        return float(weights[0]), float(weights[1])
    base = float(np.clip(correct.mean(), 1e-6, 1 - 1e-6))
    return 0.0, math.log(base / (1 - base))
