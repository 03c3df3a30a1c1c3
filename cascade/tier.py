"""A tier: one rung of a ladder, a named model or any async callable with a price."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from anyio import CancelScope, current_time

from cascade import providers
from cascade.breaker import Breaker
from cascade.delivery import Delivery, Deployment, Lane, TierCall
from cascade.errors import ConfigError, ProviderTimeoutError
from cascade.limits import Gate, Limits
from cascade.metering import current_invocation
from cascade.options import check_seconds, named_options
from cascade.retry import Retries
from cascade.types import UNSET, Answer, Message, Price, Request, Secret, Unset

__all__ = ["Tier"]


class Tier:
    """One rung: a named model (or any async callable) with a price. Immutable.

    Args:
        name: how the tier is called in paths, results and metrics.
        model: "provider:model", such as "openai:gpt-5-nano"; or, for functions that call an SDK
            of their own, just a model's name.
        call: an async callable `(request) -> answer`, in place of a model.
        price: USD per million tokens. "auto": what the model is listed at now (extra `prices`).
            None, and "auto" for a model that is not listed: unknown, and so is every bill it is
            part of.
        base_url: where the provider listens, for any compatible server. None: its usual address.
        api_key: None: from the provider's usual environment variable.
        headers: HTTP headers sent along with each request.
        params: request parameters for this tier, where a request does not say otherwise.
        drop_params: request parameters that this model does not take, left out on purpose.
        latency_s: about how long one ask takes at its median, in seconds, for budgets to reckon
            with until enough was seen. None: nothing is known at first.
        timeout_s: seconds that one ask of this tier may take: on a rung, its validators included,
            after which the call escalates; and each chat with it elsewhere, such as a judge's,
            which then raises `ProviderTimeoutError`. None: no limit but the path's budget.
        first_token_s: seconds within which each answer has to begin, or the request counts as
            timed out. It is streamed for that between the provider and here, and judged whole all
            the same. None: it is not streamed, and may begin late.
        deployments: the model at several endpoints or with several keys, tried in this order
            before the tier counts as failed. Empty: the tier's own endpoint is the only one.
        retries: how often to try again what may pass. None: twice for a model behind an address,
            never for a callable or a model in the process.
        breaker: when an endpoint that keeps failing is left alone. None: never. Left out: the
            usual `Breaker()` for a model behind an address, else none.
        limits: how much may be under way at once and per minute. None: no limits.

    Raises:
        ConfigError: the options do not fit together.
    """

    __slots__ = (
        "_call",
        "_delivery",
        "api_key",
        "base_url",
        "breaker",
        "deployments",
        "drop_params",
        "first_token_s",
        "headers",
        "latency_s",
        "limits",
        "model",
        "name",
        "params",
        "price",
        "retries",
        "timeout_s",
    )

    @named_options
    def __init__(
        self,
        name: str,
        *,
        model: str | None = None,
        call: TierCall | None = None,
        price: Price | Literal["auto"] | None = None,
        base_url: str | None = None,
        api_key: str | Secret | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        drop_params: Iterable[str] = (),
        latency_s: float | None = None,
        timeout_s: float | None = None,
        first_token_s: float | None = None,
        deployments: Sequence[Deployment] = (),
        retries: int | Retries | None = None,
        breaker: Breaker | Unset | None = UNSET,
        limits: Limits | None = None,
    ) -> None:
        if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"a tier's name is {name!r}; give it a word, such as 'small'")
        self.name = name
        self.model = model
        self.price = _listed(name, model) if price == "auto" else price
        self.base_url = base_url
        self.api_key = Secret(api_key) if isinstance(api_key, str) else api_key
        self.headers = _mapping(name, "headers", headers)
        self.params = _mapping(name, "params", params)
        self.drop_params = _names(name, drop_params)
        self.latency_s = latency_s
        self.timeout_s = timeout_s
        self.first_token_s = first_token_s
        self.deployments = tuple(deployments)
        self.limits = limits
        self._call = call
        self._delivery: Delivery | None = None
        self._check()
        self._check_deployments()
        remote = self.is_remote
        self.retries = _retries(retries, 2 if remote else 0)
        self.breaker = (Breaker() if remote else None) if breaker is UNSET else breaker
        self._check_unused()
        if self.breaker is not None and not isinstance(self.breaker, Breaker):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                f"tier {name!r}: breaker is a {type(breaker).__name__}; write Breaker(...), or "
                "None for none"
            )

    def _check(self) -> None:
        check_seconds(f"tier {self.name!r}: latency_s", self.latency_s)
        check_seconds(f"tier {self.name!r}: timeout_s", self.timeout_s)
        self._check_first_token()
        if self.price is not None and not isinstance(self.price, Price):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                f"tier {self.name!r}: price is a {type(self.price).__name__}; "
                "write Price(input=..., output=...) in USD per million tokens, or 'auto'"
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
        if self.limits is not None and not isinstance(self.limits, Limits):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                f"tier {self.name!r}: limits is a {type(self.limits).__name__}; "
                "write Limits(concurrency=..., ...)"
            )

    def _check_first_token(self) -> None:
        first_token_s = self.first_token_s
        if first_token_s is None:
            return
        check_seconds(f"tier {self.name!r}: first_token_s", first_token_s)
        if self.timeout_s is not None and first_token_s >= self.timeout_s:
            raise ConfigError(
                f"tier {self.name!r}: first_token_s={first_token_s!r} has no effect beside "
                f"timeout_s={self.timeout_s!r}; give it less, or leave it out"
            )
        if "stream" in self.drop_params:
            raise ConfigError(
                f"tier {self.name!r}: drop_params leaves out 'stream', and first_token_s needs a "
                "stream; leave one of the two out"
            )

    def _check_deployments(self) -> None:
        named = self.model is not None and providers.split_model(self.model) is not None
        for one in self.deployments:
            if not isinstance(one, Deployment):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConfigError(
                    f"tier {self.name!r}: a deployment is a {type(one).__name__}; "
                    "write Deployment(...)"
                )
            if one.call is None and one.model is None and not named:
                raise ConfigError(
                    f"tier {self.name!r}: {one!r} has no provider; name one in the tier's model, "
                    "such as model='openai:gpt-5-nano'"
                )
        if self.deployments and self._call is not None:
            raise ConfigError(
                f"tier {self.name!r} has both call and deployments; give it deployments alone, "
                "each a Deployment(call=...)"
            )

    def _check_unused(self) -> None:
        if self._providers():
            return
        self._refuse_unused("base_url", "api_key", "headers", "drop_params", "first_token_s")
        if self._call is None and not self.deployments:
            self._refuse_unused("breaker", "limits")
            if self.retries.times:
                self._refuse("retries")
            if self.model is None:
                self._refuse_unused("params")

    def _providers(self) -> list[str]:
        """The names of the providers its requests go to."""
        models = [self.model]
        if self.deployments:
            models = [one.model or self.model for one in self.deployments if one.call is None]
        named = [providers.split_model(model) for model in models if model is not None]
        return [name for name, _ in filter(None, named)]

    @property
    def is_remote(self) -> bool:
        """Whether its requests leave the process: only there things break that mend themselves."""
        return any(providers.PROVIDERS[name].base_url for name in self._providers())

    def _refuse_unused(self, *options: str) -> None:
        for option in options:
            if getattr(self, option):
                self._refuse(option)

    def _refuse(self, option: str) -> None:
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
        delivery = self._delivery or self._connect()
        invocation = current_invocation()
        if invocation is not None:
            request = invocation.prepare(request)
        request = self.as_sent(request)
        if self.timeout_s is None:
            return await delivery.send(request, invocation)
        # On a rung the engine's own limit strikes first; this one is for judges and bare chats.
        with CancelScope(deadline=current_time() + self.timeout_s):
            return await delivery.send(request, invocation)
        raise ProviderTimeoutError(f"tier {self.name!r} gave no answer in {self.timeout_s} s")

    def as_sent(self, request: Request) -> Request:
        """A request with this tier's own `params`, and without its `drop_params`."""
        request = request.with_params(self.params)
        return request.without_params(self.drop_params) if self.drop_params else request

    def _connect(self) -> Delivery:
        gate = None if self.limits is None else Gate(self.name, self.limits)
        self._delivery = Delivery(
            self.name, self.price, self._lanes(), self.retries, gate, self.model_name
        )
        return self._delivery

    def _lanes(self) -> list[Lane]:
        own = Deployment() if self._call is None else Deployment(call=self._call)
        if self.model is None and self._call is None and not self.deployments:
            raise ConfigError(
                f"tier {self.name!r} has no model to chat with; give it one, such as "
                "model='openai:gpt-5-nano', or call=an async function"
            )
        return [
            Lane(
                one.name or f"{self.name}-{number}",
                one.connect(self),
                self.breaker,
                self.latency_s,
                self.timeout_s,
            )
            for number, one in enumerate(self.deployments or (own,), 1)
        ]

    def __repr__(self) -> str:
        model = f", model={self.model!r}" if self.model else ""
        return f"Tier({self.name!r}{model}, price={self.price!r})"


def _listed(tier: str, model: str | None) -> Price | None:
    from cascade.pricing import price_of

    if not isinstance(model, str):
        raise ConfigError(
            f"tier {tier!r}: price='auto' needs a model to look up; name it in model, or write "
            "Price(input=..., output=...)"
        )
    return price_of(model)


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


def _retries(given: int | Retries | None, default: int) -> Retries:
    if isinstance(given, Retries):
        return given
    return Retries(default if given is None else given)
