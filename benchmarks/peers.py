"""The same call through other libraries, for benchmarks. Each needs the extra `bench`.

Every peer answers from memory, without a network: what is measured is the library.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any

# Before anything imports LiteLLM: it would fetch its price list over the network.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LANGSMITH_TRACING"] = "false"

Call = Callable[[], Awaitable[Any]]
QUESTION = "What is the capital of France, and since when has it been the capital?"
ANSWER = "The capital of France is Paris. It has been the capital since the tenth century."


def cascadeflow_calls() -> dict[str, Call]:
    """cascadeflow's CascadeAgent: a draft that its quality check accepts, and one that it rejects.

    Both roads are checked before they are timed: a benchmark of the wrong road is worthless.
    """
    from cascadeflow import CascadeAgent, ModelConfig
    from cascadeflow.providers import PROVIDER_REGISTRY
    from cascadeflow.providers.base import BaseProvider, ModelResponse

    class Memory(BaseProvider):  # type: ignore[misc, no-any-unimported]
        """Answers from memory; the draft model's confidence decides the road."""

        confidence = 0.95
        reply = ANSWER

        def _load_api_key(self) -> str:
            return "none"

        async def _complete_impl(self, prompt: str, model: str, **_: Any) -> Any:
            draft = model == "gpt-4o-mini"
            return ModelResponse(
                content=self.reply if draft else ANSWER,
                model=model,
                provider="openai",
                cost=0.0001,
                tokens_used=40,
                confidence=self.confidence if draft else 0.95,
            )

        async def _stream_impl(self, prompt: str, model: str, **_: Any) -> Any:
            yield ANSWER

        def estimate_cost(self, tokens: int, model: str) -> float:
            return 0.0001

    class Unsure(Memory):
        confidence = 0.05
        reply = "I don't know."

    def agent(provider: type[Any]) -> Any:
        PROVIDER_REGISTRY["openai"] = provider
        return CascadeAgent(
            models=[
                ModelConfig(name="gpt-4o-mini", provider="openai", cost=0.0002),
                ModelConfig(name="gpt-4o", provider="openai", cost=0.01),
            ]
        )

    sure, unsure = agent(Memory), agent(Unsure)

    async def accepted() -> None:
        result = await sure.run(QUESTION)
        assert result.draft_accepted, "cascadeflow did not accept the draft"

    async def escalated() -> None:
        result = await unsure.run(QUESTION)
        assert result.cascaded, "cascadeflow did not cascade"
        assert not result.draft_accepted, "cascadeflow did not escalate"

    return {"cascadeflow, accepted": accepted, "cascadeflow, escalated": escalated}


def pydantic_ai_calls() -> dict[str, Call]:
    """pydantic-ai's FallbackModel itself, without an agent around it, the first model answering."""
    from pydantic_ai.messages import ModelRequest
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.models.fallback import FallbackModel
    from pydantic_ai.models.test import TestModel

    model = FallbackModel(*(TestModel(custom_output_text=ANSWER) for _ in range(3)))
    parameters = ModelRequestParameters(allow_text_output=True)

    async def first() -> None:
        await model.request([ModelRequest.user_text_prompt(QUESTION)], None, parameters)

    return {"pydantic-ai FallbackModel, first answers": first}


def langchain_calls() -> dict[str, Call]:
    """LangChain's with_fallbacks, the first runnable answering."""
    from langchain_core.runnables import RunnableLambda

    async def answer(_: str) -> str:
        return ANSWER

    def never(_: str) -> str:
        raise NotImplementedError

    chain = RunnableLambda(never, afunc=answer).with_fallbacks(
        [RunnableLambda(never, afunc=answer), RunnableLambda(never, afunc=answer)]
    )

    async def first() -> None:
        await chain.ainvoke(QUESTION)

    return {"LangChain with_fallbacks, first answers": first}


def litellm_calls() -> dict[str, Call]:
    """LiteLLM's Router with mock responses, the first group answering."""
    import litellm

    litellm.suppress_debug_info = True
    logging.getLogger("LiteLLM").setLevel(logging.ERROR)
    names = ["small", "medium", "large"]
    router = litellm.Router(
        model_list=[
            {
                "model_name": name,
                "litellm_params": {
                    "model": "openai/gpt-4o-mini",
                    "api_key": "none",
                    "mock_response": ANSWER,
                },
            }
            for name in names
        ],
        fallbacks=[{"small": ["medium", "large"]}],
    )

    async def first() -> None:
        messages: list[Any] = [{"role": "user", "content": QUESTION}]
        await router.acompletion(model="small", messages=messages)

    return {"LiteLLM Router, mock response": first}


PEERS: dict[str, Callable[[], dict[str, Call]]] = {
    "cascadeflow": cascadeflow_calls,
    "pydantic-ai-slim": pydantic_ai_calls,
    "langchain-core": langchain_calls,
    "litellm": litellm_calls,
}
