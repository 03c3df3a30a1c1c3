"""Routing that is learnt from recorded runs: `LearnedRouter.load("router.json")`.

Inference needs nothing but the standard library; training needs the extra `learn`.
"""

from __future__ import annotations

from cascade.learn.model import Model, to_json
from cascade.learn.router import Explanation, LearnedRouter, Weighed

__all__ = ["Explanation", "LearnedRouter", "Model", "Weighed", "to_json"]
