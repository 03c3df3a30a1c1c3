"""A tier: one rung of a ladder, a named model or any async callable with a price."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from cascade import providers
from cascade.answers import understand
from cascade.errors import ConfigError
from cascade.metering import Invocation, current_invocation, usage_of
from cascade.options import check_seconds, named_options
from cascade.types import Answer, Charge, Message, Price, Request, Secret

__all__ = ["Tier"]

TierCall = Callable[[Request], Awaitable[Any]]


class Tier:
    """One rung: a named model (or any async callable) with a price. Immutable.

    Args:
        name: how the tier is called in paths, results and metrics.
        model: "provider:model", such as "openai:gpt-5-nano"; or, for functions that call an SDK
            of their own, just a model's name.
        call: an async callable `(request) -> answer`, in place of a model.
        price: USD per million tokens. None: unknown, and so is every bill it is part of.
        base_url: where the provider listens, for any compatible server. None: its usual address.
        api_key: None: from the provider's usual environment variable.
        headers: HTTP headers sent along with each request.
        params: request parameters for this tier, where a request does not say otherwise.
        drop_params: request parameters that this model does not take, left out on purpose.
        timeout_s: seconds that one ask of this tier may take, its validators included; then it is
            timed out and the call escalates. None: no limit but the path's budget.

    Raises:
        ConfigError: the options do not fit together.
    """

    __slots__ = (
        "_call",
        "_provider",
        "api_key",
        "base_url",
        "drop_params",
        "headers",
        "model",
        "name",
        "params",
        "price",
        "timeout_s",
    )

    @named_options
    def __init__(
        self,
        name: str,
        *,
        model: str | None = None,
        call: TierCall | None = None,
        price: Price | None = None,
        base_url: str | None = None,
        api_key: str | Secret | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        drop_params: Iterable[str] = (),
        timeout_s: float | None = None,
    ) -> None:
        if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"a tier's name is {name!r}; give it a word, such as 'small'")
        self.name = name
        self.model = model
        self.price = price
        self.base_url = base_url
        self.api_key = Secret(api_key) if isinstance(api_key, str) else api_key
        self.headers = _mapping(name, "headers", headers)
        self.params = _mapping(name, "params", params)
        self.drop_params = _names(name, drop_params)
        self.timeout_s = timeout_s
        self._call = call
        self._provider: providers.Provider | None = None
        self._check()

    def _check(self) -> None:
        check_seconds(f"tier {self.name!r}: timeout_s", self.timeout_s)
        if self.price is not None and not isinstance(self.price, Price):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                f"tier {self.name!r}: price is a {type(self.price).__name__}; "
                "write Price(input=..., output=...) in USD per million tokens"
            )
        if self.params.get("stream"):
            raise ConfigError(
                f"tier {self.name!r}: params has stream=True; leave it out: an answer is judged "
                "whole before any of it is returned"
            )
        if self.model is not None and not isinstance(self.model, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                f"tier {self.name!r}: model is a {type(self.model).__name__}; "
                "write it like 'openai:gpt-5-nano'"
            )
        if self.model is not None and self._call is not None:
            raise ConfigError(f"tier {self.name!r} has both model and call; give one of them")
        if self._call is not None and not callable(self._call):
            raise ConfigError(f"tier {self.name!r}: call is not callable; give an async function")
        if self.model is None or providers.split_model(self.model) is None:
            self._refuse_unused("base_url", "api_key", "headers", "drop_params")
        if self.model is None and self._call is None:
            self._refuse_unused("params")

    def _refuse_unused(self, *options: str) -> None:
        for option in options:
            if getattr(self, option):
                raise ConfigError(
                    f"tier {self.name!r}: {option} has no effect without a provider; "
                    "name one in model, such as model='openai:gpt-5-nano', or leave it out"
                )

    @property
    def model_name(self) -> str | None:
        """The model's name without its provider, for SDKs of one's own. None: no model."""
        if self.model is None:
            return None
        named = providers.split_model(self.model)
        return self.model if named is None else named[1]

    async def chat(self, messages: str | Iterable[Message], /, **params: Any) -> Answer[Any]:
        """Send chat messages with any parameters of the wire format to this tier.

        Args:
            messages: a string is one user message.
            params: tools, response_format, temperature, logprobs ...; they go before the tier's
                own `params`.

        Raises:
            ProviderError: the call broke; which kind says how.
            ConfigError: the tier has neither a provider nor a callable.
        """
        return await self.send(Request(messages, **params))

    async def send(self, request: Request) -> Answer[Any]:
        """Send a request to this tier. Raises as `chat` does."""
        send = self._sender()
        invocation = current_invocation()
        if invocation is None:
            return understand(await send(request.with_params(self.params)))
        return await self._send_metered(send, request, invocation)

    async def _send_metered(
        self, send: TierCall, request: Request, invocation: Invocation
    ) -> Answer[Any]:
        # On the bill before it is sent: a call that is cancelled half-way was still made.
        charge = Charge(self.name, self.price, None, invocation.purpose)
        invocation.bill(charge)
        prepared = invocation.prepare(request).with_params(self.params)
        try:
            answer = understand(await send(prepared))
        except Exception as error:
            charge.usage = usage_of(error)
            raise
        charge.usage = answer.usage
        invocation.answers.append(answer)
        return answer

    def _sender(self) -> TierCall:
        if self._call is not None:
            return self._call
        if self._provider is None:
            if self.model is None:
                raise ConfigError(
                    f"tier {self.name!r} has no model to chat with; give it one, such as "
                    "model='openai:gpt-5-nano', or call=an async function"
                )
            self._provider = providers.connect(
                self.model,
                base_url=self.base_url,
                api_key=self.api_key,
                headers=self.headers,
                drop_params=self.drop_params,
            )
        return self._provider.complete

    def __repr__(self) -> str:
        model = f", model={self.model!r}" if self.model else ""
        return f"Tier({self.name!r}{model}, price={self.price!r})"


def _mapping(tier: str, option: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    if given is not None and not isinstance(given, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            f"tier {tier!r}: {option} is a {type(given).__name__}; give a mapping of names"
        )
    return dict(given or {})


def _names(tier: str, given: Iterable[str]) -> frozenset[str]:
    if isinstance(given, str):
        raise ConfigError(
            f"tier {tier!r}: drop_params is the text {given!r}; give a list, as in [{given!r}]"
        )
    return frozenset(given)
