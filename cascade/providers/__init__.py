"""Providers: one module for each wire format, loaded when a tier first needs it.

A tier names its provider before the colon of its model: `openai:gpt-5-nano`. Providers of the
same wire format differ only in where they are and which key they want.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final, Protocol

from cascade.errors import ConfigError, did_you_mean
from cascade.types import Answer, Request, Secret

__all__ = [
    "PROVIDERS",
    "Endpoint",
    "Provider",
    "close_connections",
    "connect",
    "prepare",
    "split_model",
    "with_provider",
]


class Provider(Protocol):
    """Sends a request to one model and reads its answer."""

    async def complete(self, request: Request) -> Answer[Any]:
        """One request, one answer.

        Raises:
            ProviderError: the call broke; which kind says how.
        """
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a provider needs to reach one model.

    Attributes:
        provider: the name before the colon, for messages.
        model: the model's name as the provider knows it.
        base_url: where the provider listens. None: it has no address of its own.
        api_key: None: read from the environment variable `key_env` at each call.
        key_env: None: the provider wants no key unless `api_key` is given.
        headers: sent along with each request.
        drop_params: request parameters that this model does not take and that are left out.
        first_token_s: seconds within which an answer has to begin; it is streamed then. None: it
            is not, and comes whole.
    """

    provider: str
    model: str
    base_url: str | None = None
    api_key: Secret | None = None
    key_env: str | None = None
    headers: Mapping[str, str] | None = field(default=None, repr=False)  # may hold a key
    drop_params: frozenset[str] = frozenset()
    first_token_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    """A provider by name: the module that speaks its wire format, and its defaults."""

    module: str
    base_url: str | None = None
    key_env: str | None = None


PROVIDERS: Final[Mapping[str, _Known]] = {
    "anthropic": _Known("anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
    "lmstudio": _Known("openai", "http://127.0.0.1:1234/v1"),
    "ollama": _Known("openai", "http://127.0.0.1:11434/v1"),
    "openai": _Known("openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    "openrouter": _Known("openai", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "recorded": _Known("recorded"),
    "simulated": _Known("simulated"),
    "vllm": _Known("openai", "http://127.0.0.1:8000/v1"),
}


def split_model(model: str) -> tuple[str, str] | None:
    """The provider and the model's own name in "provider:name". None: no provider is named.

    Raises:
        ConfigError: there is a colon, but what stands before it is no provider.
    """
    provider, colon, name = model.partition(":")
    if not colon:
        return None
    if provider not in PROVIDERS:
        raise ConfigError(
            f"model {model!r} names the provider {provider!r}; {did_you_mean(provider, PROVIDERS)} "
            f"(a server that speaks the OpenAI format: model='openai:{model}' with base_url=...)"
        )
    if not name:
        raise ConfigError(f"model {model!r} names no model after the colon")
    return provider, name


def with_provider(model: str) -> str:
    """What was meant by a model without a provider: "openai/x", as others write it, or "x"."""
    provider, slash, name = model.partition("/")
    return f"{provider}:{name}" if slash and provider in PROVIDERS else f"openai:{model}"


def connect(
    model: str,
    *,
    base_url: str | None = None,
    api_key: Secret | None = None,
    headers: Mapping[str, str] | None = None,
    drop_params: frozenset[str] = frozenset(),
    first_token_s: float | None = None,
) -> Provider:
    """The provider for a model such as "openai:gpt-5-nano".

    Raises:
        ConfigError: the provider is unknown, or an option does not fit it.
    """
    named = split_model(model)
    if named is None:
        raise ConfigError(f"model {model!r} names no provider; write {with_provider(model)!r}")
    provider, name = named
    known = PROVIDERS[provider]
    endpoint = Endpoint(
        provider=provider,
        model=name,
        base_url=(base_url or known.base_url or "").rstrip("/") or None,
        api_key=api_key,
        # A server of one's own is not sent the key of the service it stands in for.
        key_env=None if base_url else known.key_env,
        headers=headers,
        drop_params=drop_params,
        first_token_s=first_token_s,
    )
    connected: Provider = import_module(f"cascade.providers.{known.module}").provide(endpoint)
    return connected


async def prepare() -> None:
    """Load what a first request would have to load, without holding up the event loop.

    `Cascade.lifespan` does so. Where it is not used, the first request waits for it.
    """
    from cascade.providers import _http

    await _http.prepare()


async def close_connections() -> None:
    """Close the connections to all providers that this event loop has open.

    Only for programs that want it earlier than at the end of the event loop.
    """
    from cascade.providers import _pool

    await _pool.close_connections()
