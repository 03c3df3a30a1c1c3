"""What `cascade init` finds on a machine: keys in the environment, model servers on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import anyio
from pydantic import BaseModel

from cascade.providers import PROVIDERS

__all__ = ["LOCAL_SERVERS", "Found", "look_around"]

PROBE_TIMEOUT_S: Final = 0.5

LOCAL_SERVERS: Final[Mapping[str, str]] = {
    name: str(PROVIDERS[name].base_url) for name in ("ollama", "vllm", "lmstudio")
}
"""The addresses asked, by provider: all on the loopback interface."""

_KEYS: Final = {
    name: str(PROVIDERS[name].key_env) for name in ("openai", "anthropic", "openrouter")
}
_NOT_CHAT: Final = ("embed", "rerank", "whisper", "clip")
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*b\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Found:
    """What can be asked.

    Attributes:
        hosted: the providers whose keys are in the environment.
        local: the chat models on this machine as "provider:model", smallest first as far as
            their names say.
    """

    hosted: tuple[str, ...] = ()
    local: tuple[str, ...] = ()


class _Model(BaseModel):
    id: str


class _ModelList(BaseModel):
    """What servers of the OpenAI format say at /models."""

    data: list[_Model]


async def look_around(
    environment: Mapping[str, str], servers: Mapping[str, str] = LOCAL_SERVERS
) -> Found:
    """Find out, within half a second. Nothing but `servers` is contacted."""
    import httpx

    models: dict[str, list[str]] = {}

    async def ask(client: httpx.AsyncClient, name: str, url: str) -> None:
        with anyio.move_on_after(PROBE_TIMEOUT_S):
            try:
                reply = await client.get(f"{url}/models")
                models[name] = _chat_models(_ModelList.model_validate_json(reply.content))
            except (httpx.HTTPError, ValueError):
                return  # nothing there, or something else

    async with (
        httpx.AsyncClient(timeout=PROBE_TIMEOUT_S, trust_env=False) as client,
        anyio.create_task_group() as tasks,
    ):
        for name, url in servers.items():
            tasks.start_soon(ask, client, name, url)
    local = [f"{name}:{model}" for name in servers for model in models.get(name, ())]
    return Found(
        hosted=tuple(name for name, key in _KEYS.items() if environment.get(key)),
        local=tuple(sorted(local, key=_size)),
    )


def _chat_models(listed: _ModelList) -> list[str]:
    names = (model.id for model in listed.data)
    return [name for name in names if name.isprintable() and not _is_no_chat_model(name)]


def _is_no_chat_model(name: str) -> bool:
    return any(word in name.lower() for word in _NOT_CHAT)


def _size(model: str) -> float:
    """Billions of parameters, by the name; those that do not say come last."""
    stated = _SIZE.search(model)
    return float(stated[1]) if stated else float("inf")
