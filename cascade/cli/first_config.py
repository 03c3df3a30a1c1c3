"""The `cascade.toml` that `cascade init` writes, from what it found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cascade.cli.found import Found
from cascade.config.schema import SCHEMA_URL

__all__ = ["SIMULATED", "Offer", "choose", "first_config"]


@dataclass(frozen=True, slots=True)
class Offer:
    """A model to start with.

    Attributes:
        model: "provider:model".
        price: USD per million tokens, as TOML.
        note: where the price is from.
        params: request parameters, as TOML. None: none are needed.
    """

    model: str
    price: str
    note: str
    params: str | None = None


def _seen(page: str) -> str:
    return f"As of 2026-11, for prompts of usual length; check the current price at {page}"


_OPENAI: Final = _seen("https://developers.openai.com/api/docs/pricing")
_ANTHROPIC: Final = _seen("https://claude.com/pricing")
_OPENROUTER: Final = _seen("https://openrouter.ai/models")
_LUNA: Final = "{ input = 0.10, output = 0.50, cached_input = 0.01, cache_write = 0.125 }"
_SOL: Final = "{ input = 2.00, output = 10.00, cached_input = 0.20, cache_write = 2.50 }"
_HAIKU: Final = "{ input = 0.10, output = 0.50, cached_input = 0.01, cache_write = 0.125 }"
_SONNET: Final = "{ input = 2.00, output = 10.00, cached_input = 0.10, cache_write = 2.50 }"

# A cheap and a strong model of each provider. Prices change: they are a start, not a source.
_HOSTED: Final = {
    "openai": (
        Offer("openai:gpt-6-luna", _LUNA, _OPENAI),
        Offer("openai:gpt-6-sol", _SOL, _OPENAI),
    ),
    "anthropic": (
        Offer("anthropic:claude-haiku-5-5", _HAIKU, _ANTHROPIC),
        Offer("anthropic:claude-sonnet-5-5", _SONNET, _ANTHROPIC),
    ),
    "openrouter": (
        Offer("openrouter:openai/gpt-6-luna", "{ input = 0.10, output = 0.50 }", _OPENROUTER),
        Offer(
            "openrouter:anthropic/claude-sonnet-5.5",
            "{ input = 2.00, output = 10.00 }",
            _OPENROUTER,
        ),
    ),
}

_MADE_UP: Final = "The model is simulated, and its price made up"
SIMULATED: Final = (
    Offer(
        "simulated:sim-small",
        "{ input = 0.05, output = 0.40 }",
        _MADE_UP,
        "{ logprobs = true, top_logprobs = 5 }",
    ),
    Offer("simulated:sim-large", "{ input = 3.00, output = 15.00 }", _MADE_UP),
)


def _local(model: str) -> Offer:
    return Offer(model, "{ input = 0, output = 0 }", "Your own machine charges nothing per token")


def choose(found: Found) -> tuple[Offer, ...]:
    """The ladder for what was found: one or two models, cheapest first."""
    local = [_local(model) for model in found.local]
    hosted = [_HOSTED[name] for name in found.hosted]
    if local and hosted:
        return local[0], hosted[0][1]
    if hosted:
        return hosted[0]
    if local:
        return (local[0], local[-1]) if len(local) > 1 else (local[0],)
    return SIMULATED


def first_config(ladder: Sequence[Offer]) -> str:
    """The text of a commented configuration file with this ladder."""
    names = ("small", "large")[: len(ladder)]
    tiers = "\n".join(_tier(name, offer) for name, offer in zip(names, ladder, strict=True))
    return (
        f"{_HEAD}\n{tiers}"
        f"{_CASCADE.format(tiers=json.dumps(list(names)), confidence=_confidence(ladder[0]))}"
        f"{_PATHS.format(last=names[-1])}"
    )


def _tier(name: str, offer: Offer) -> str:
    lines = [
        f"[tiers.{name}]",
        f"model = {json.dumps(offer.model)}",
        f"# {offer.note}",
        f"price = {offer.price}  # USD per million tokens",
        "timeout_s = 60.0  # then the next tier is asked",
    ]
    if offer.params is not None:
        lines.append(f"params = {offer.params}")
    return "\n".join(lines) + "\n"


def _confidence(cheapest: Offer) -> str:
    if cheapest.params is not None:
        return (
            "    # The small model has to be sure of its words; the large one need not be.\n"
            '    { use = "logprob", at = 0.5, tiers = ["small"] },\n'
        )
    return (
        "    # More to choose from, with thresholds of your own:\n"
        '    # { use = "json_schema", schema = "answer.schema.json" },\n'
        '    # { use = "length", max_chars = 2000 },\n'
    )


_HEAD: Final = f"""#:schema {SCHEMA_URL}
#
# The models to ask, and what an answer must pass to be accepted.
#   cascade check         explains this file and finds mistakes in it
#   cascade run "..."     answers a request with it
# Keys never stand in here: a tier reads its provider's environment variable, or the one that
# api_key_env names.
"""

_CASCADE: Final = """
[cascades.default]
# The ladder, cheapest first. The next tier is asked only when an answer is not accepted.
tiers = {tiers}
# What every answer must pass.
validators = [
    "finish_reason",  # it was not cut off
    "not_refusal",
{confidence}]
# When no answer is accepted: "raise" an error, or give the "best" rejected one, marked so.
on_exhausted = "raise"
"""

_PATHS: Final = """
# A path is a kind of call: the time it may take, and the tiers it may use.
[cascades.default.paths.patient]
budget_s = 120.0

[cascades.default.paths.strongest]
direct = "{last}"

# Every call is recorded beside this file: tiers, reasons, costs; no prompts and no answers.
[ledger]
url = "sqlite:ledger.db"

# The most that all of it may cost, in USD. A call that might pass a cap is not made.
# [spend]
# store = "sqlite:spend.db"  # so that it is remembered from one run to the next
# caps = [{{ usd = 5, per = "day" }}]
"""
