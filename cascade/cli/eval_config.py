"""A configuration whose tiers answer from a cache: what an eval runs."""

from __future__ import annotations

from pathlib import Path

from cascade.config import Config, ConfigFileError, load
from cascade.config.mistakes import Mistakes
from cascade.evals.answer_cache import AnswerCache
from cascade.evals.cached_tier import CachedTier
from cascade.observing import Recorder
from cascade.spend import Spend
from cascade.tier import Tier

__all__ = ["EvalConfig"]


class EvalConfig(Config):
    """What a `cascade.toml` says, with every tier behind a cache, judges' tiers too.

    Its calls are no traffic: nothing records them. Caps hold for what is really sent, which the
    runner sees to, and not for answers that were paid for before.
    """

    def __init__(self, file: Path, cache: AnswerCache) -> None:
        config = load(file)
        super().__init__(config.file, config.tables)
        self._original = config
        self._cache = cache
        self._cached: dict[str, CachedTier] = {}

    def tier(self, name: str) -> Tier:
        if name not in self._cached:
            self._cached[name] = CachedTier(super().tier(name), self._cache)
        return self._cached[name]

    def spend(self, mistakes: Mistakes) -> None:
        return None

    def recorders(self, mistakes: Mistakes) -> tuple[Recorder, ...]:
        return ()

    def caps(self, cascade: str) -> Spend | None:
        """The caps that one cascade's calls count under. None: there are none.

        Raises:
            ConfigError: the file says something of them that cannot work.
        """
        if not self.tables.cascades[cascade].spend:
            return None
        mistakes = Mistakes(str(self.file))
        spend = self._original.spend(mistakes)
        if mistakes.met:
            raise ConfigFileError(str(self.file), mistakes.found)
        return spend
