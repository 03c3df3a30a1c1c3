"""Folds for cross-validation: the same text never stands on both sides."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeAlias

from cascade.learn.examples import Examples

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints: TypeAlias = NDArray[np.int64]

__all__ = ["folds_of"]


def folds_of(examples: Examples, count: int, seed: int) -> Ints:
    """The fold of each example, dealt out evenly among those whose tiers did alike."""
    import numpy as np

    groups: dict[str, list[int]] = {}
    for number, text in enumerate(examples.texts):
        groups.setdefault(" ".join(text.split()), []).append(number)
    shuffled = list(groups.values())
    random.Random(seed).shuffle(shuffled)
    # Alike ones side by side, so that every fold gets its share of them; the sort is stable.
    shuffled.sort(key=lambda members: examples.correct[members[0]])
    folds = np.zeros(len(examples), dtype=np.int64)
    for place, members in enumerate(shuffled):
        folds[members] = place % count
    return folds
