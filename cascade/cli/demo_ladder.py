"""The cascade that `cascade demo` runs: the part to copy for models of your own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cascade.context import Context
from cascade.decorator import Cascade
from cascade.routing import Path
from cascade.simulated import TICKET_SCHEMA, SimulatedModel
from cascade.tier import Tier
from cascade.types import Answer, Price
from cascade.validators import field_logprob, finish_reason, json_schema, logprob, not_refusal

__all__ = ["AUTOCOMPLETE", "HELD_OUT_SEED", "THRESHOLDS", "alone", "ladder", "states_every_fact"]

AUTOCOMPLETE = "autocomplete"

# Chosen on 2000 tickets of this seed, which the command never shows: the cheapest ones on a grid
# whose answers were right at most one point less often than those of the large model.
HELD_OUT_SEED = -1
THRESHOLDS: Mapping[str, Mapping[str, float]] = {
    "small": {"logprob_p10": 0.97, "field_logprob_min_answer": 0.90},
    "medium": {"logprob_p10": 0.93, "field_logprob_min_answer": 0.50},
}
# Nobody is asked after the small model on this path, and a suggestion may be wrong now and then.
AUTOCOMPLETE_THRESHOLDS = {"small": {"logprob_p10": 0.90, "field_logprob_min_answer": 0.50}}


def states_every_fact(answer: Answer[Any], context: Context) -> bool:
    """The demo's own validator: each fact that a ticket lists has to stand in the answer."""
    ticket = context.request.messages[-1]["content"] if context.request else ""
    facts = re.findall(r"^\* .+?: (.+)$", ticket, re.MULTILINE)
    return all(fact in (answer.text or "") for fact in facts)


def tiers_for(models: tuple[SimulatedModel, ...], url: str) -> list[Tier]:
    """The ladder over the simulated models, spoken to as any OpenAI-compatible server is."""
    return [
        Tier(
            name,
            model=f"openai:{model.name}",
            base_url=f"{url}/v1",
            api_key="none-needed",
            price=Price(input=model.input_usd, output=model.output_usd),
            params={"logprobs": True} if name in THRESHOLDS else None,
        )
        for name, model in zip(("small", "medium", "large"), models, strict=True)
    ]


def ladder(tiers: list[Tier], budget_s: float) -> Cascade:
    """The demo's cascade; `budget_s` is the autocomplete path's."""
    return Cascade(
        name="demo",
        tiers=tiers,
        validators=[
            finish_reason(),
            not_refusal(),
            json_schema(TICKET_SCHEMA),
            states_every_fact,
            logprob("p10").for_tiers("small", "medium"),
            field_logprob("answer").for_tiers("small", "medium"),
        ],
        thresholds=THRESHOLDS,
        paths={
            AUTOCOMPLETE: Path(
                direct="small",
                budget_s=budget_s,
                thresholds=AUTOCOMPLETE_THRESHOLDS,
            )
        },
        on_exhausted="best",
    )


def alone(tier: Tier) -> Cascade:
    """One tier for everything. Its answers are only parsed, as those of the cascade are."""
    return Cascade(
        name=f"{tier.name} alone",
        tiers=[tier],
        validators=[json_schema(TICKET_SCHEMA)],
        on_exhausted="best",
    )
