"""Token counters from the table `[tokenizers]` of a configuration file."""

from __future__ import annotations

from pathlib import Path

from cascade.config.mistakes import Mistakes, place_of
from cascade.config.tables import ConfigTables, TierTable
from cascade.tokens import TokenCounter, register, tokenizer_file

__all__ = ["register_tokenizers"]


def register_tokenizers(file: Path, tables: ConfigTables) -> None:
    """Have the tokens of these models counted by their own tokenizers, in the whole process.

    Raises:
        ConfigError: a file cannot be read as a tokenizer, or would have nothing to count.
    """
    if not tables.tokenizers:
        return
    mistakes = Mistakes(str(file))
    if tables.spend is None and not any(
        tier.limits is not None and tier.limits.tokens_per_min is not None
        for tier in tables.tiers.values()
    ):
        mistakes.add(
            "tokenizers", "it has no effect without [spend] or tokens_per_min; leave it out"
        )
    models = sorted({_name(tier) for tier in tables.tiers.values()})
    counters: dict[str, TokenCounter] = {}
    for prefix, name in tables.tokenizers.items():
        place = place_of("tokenizers", prefix)
        if not any(model.startswith(prefix) for model in models):
            mistakes.add(place, f"no model begins so; the models are {', '.join(models)}")
        with mistakes.at(place):
            counters[prefix] = tokenizer_file(file.parent / name)
    mistakes.check()
    for prefix, counter in counters.items():
        register(prefix, counter)


def _name(tier: TierTable) -> str:
    """The model's name without its provider."""
    return tier.model if tier.provider is not None else tier.model.partition(":")[2] or tier.model
