from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice, Tier, TieredPrices

from cascade import ConfigError, Price, Usage
from cascade.pricing import _price, price_of


def test_a_listed_model_has_its_price() -> None:
    price = price_of("openai:gpt-4o-mini")
    assert price is not None
    # A million tokens read and a million written cost what the table says per million.
    assert price.cost_usd(Usage(10**6, 10**6)) == Decimal("0.15") + Decimal("0.60")


def test_the_parts_of_a_price_are_kept_apart() -> None:
    price = price_of("anthropic:claude-sonnet-4")
    assert price == Price(input=3, output=15, cached_input="0.3", cache_write="3.75")
    assert price is not None
    cached = price.cost_usd(Usage(10**6, 0, cached_input_tokens=10**6))
    written = price.cost_usd(Usage(10**6, 0, cache_write_tokens=10**6))
    assert (cached, written) == (Decimal("0.3"), Decimal("3.75"))


def test_reasoning_is_priced_apart_where_the_table_does() -> None:
    listed = {"input_mtok": Decimal(1), "output_mtok": Decimal(2)}
    assert _price(listed) == Price(input=1, output=2)
    reasoning = {**listed, "output_reasoning_mtok": Decimal(3)}
    assert _price(reasoning) == Price(input=1, output=2, reasoning=3)


def test_a_price_by_prompt_length_is_that_of_short_prompts() -> None:
    tiered = TieredPrices(base=Decimal(1), tiers=[Tier(start=200_000, price=Decimal(2))])
    listed = vars(ModelPrice(input_mtok=tiered, output_mtok=Decimal(5), cache_read_mtok=None))
    assert _price(listed) == Price(input=1, output=5)


@pytest.mark.parametrize(
    "listed",
    [
        {"input_mtok": Decimal(1)},
        {"output_mtok": Decimal(1)},
        {"audio_hours": Decimal(1)},
        {"input_mtok": Decimal(1), "output_mtok": Decimal(1), "requests_kcount": Decimal(5)},
    ],
)
def test_what_is_not_billed_by_tokens_alone_has_no_price(listed: dict[str, Decimal]) -> None:
    assert _price(listed) is None


def test_the_maker_is_guessed_where_no_provider_is_named() -> None:
    assert price_of("gpt-4o-mini") == price_of("openai:gpt-4o-mini")
    assert price_of("openrouter:openai/gpt-4o-mini") is not None


@pytest.mark.parametrize(
    "model", ["openai:no-such-model", "ollama:llama3", "simulated:sim-small", "my-own-model"]
)
def test_an_unknown_model_has_no_price(model: str) -> None:
    assert price_of(model) is None


def test_a_provider_that_does_not_exist_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="names the provider 'opnai'; did you mean 'openai'"):
        price_of("opnai:gpt-4o-mini")


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_every_listed_model_of_our_providers_has_a_price_or_none(provider: str) -> None:
    listed = next(p for p in get_snapshot().providers if p.id == provider)
    priced = [price_of(f"{provider}:{model.id}") for model in listed.models]
    assert sum(price is not None for price in priced) > 15


def test_without_the_extra_the_error_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['genai_prices'] = None\n"
        "from cascade import ConfigError\n"
        "from cascade.pricing import price_of\n"
        "try: price_of('openai:gpt-4o-mini')\n"
        "except ConfigError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert 'pip install "cascade-engine[prices]"' in done.stdout
