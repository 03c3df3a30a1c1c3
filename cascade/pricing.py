"""Prices by model name, from the table that the package `genai-prices` ships. No network."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from cascade.errors import ConfigError
from cascade.providers import split_model
from cascade.types import Price

__all__ = ["price_of"]


def price_of(model: str) -> Price | None:
    """What a model is listed at. Look it up once, at load: the table is large.

    A model whose price depends on the length of the prompt has the price of short prompts; one
    whose price depends on the date or the hour has the price of the moment of this call.

    Args:
        model: "provider:model" as in `Tier(model=...)`, or a model's name alone, whose maker is
            then guessed from the name.

    Returns:
        the price, with what it says of cached input, cache writes and reasoning. None when the
        model is unknown, or not billed by tokens alone.

    Raises:
        ConfigError: the extra `prices` is not installed, or the model names no known provider.
    """
    try:
        from genai_prices import Usage, calc_price
    except ImportError:
        raise ConfigError(
            'prices by model name need the extra "prices": pip install "cascade-engine[prices]"'
        ) from None
    named = split_model(model)
    provider, name = named or (None, model)
    try:
        listed = calc_price(Usage(), name, provider_id=provider).model_price
    except LookupError:
        return None
    return _price(vars(listed))


def _price(listed: dict[str, Any]) -> Price | None:
    """A price of ours from the names of genai-prices. None: input or output is not in it."""
    read, written = _per_million(listed, "input_mtok"), _per_million(listed, "output_mtok")
    if read is None or written is None or listed.get("requests_kcount"):
        return None
    return Price(
        input=read,
        output=written,
        cached_input=_per_million(listed, "cache_read_mtok"),
        cache_write=_per_million(listed, "cache_write_mtok"),
        reasoning=_per_million(listed, "output_reasoning_mtok"),
    )


def _per_million(listed: dict[str, Any], name: str) -> Decimal | None:
    value = listed.get(name)
    # Prices by the length of the prompt come with the `base`, that of short ones.
    price: Decimal | None = getattr(value, "base", value)
    return price
