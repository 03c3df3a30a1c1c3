"""Delivery: one request through a tier's deployments, until one of them answers.

A round tries the deployments in order, each guarded by its circuit and the tier's limits. When a
round fails for a reason that may pass, further rounds follow, each after a wait. Every request that
is sent is a charge on the bill.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from anyio import current_time

from cascade import providers
from cascade.answers import understand
from cascade.breaker import Breaker, Circuit
from cascade.errors import (
    AuthenticationError,
    BadRequestError,
    CircuitOpenError,
    ConfigError,
    LoadShedError,
    ProviderError,
    SpendLimitExceeded,
)
from cascade.live import LaneState, QueueDepth, watch
from cascade.metering import covered, usage_of
from cascade.options import named_options
from cascade.retry import RETRYABLE, Retries, persevere
from cascade.types import NO_USAGE, Answer, Charge, Price, Request, Secret

if TYPE_CHECKING:
    from cascade.limits import Gate
    from cascade.metering import Invocation
    from cascade.tier import Tier

__all__ = ["Delivery", "Deployment", "Lane", "TierCall"]

TierCall = Callable[[Request], Awaitable[Any]]


class Deployment:
    """The model of a tier at one place: an endpoint, a key, or an async callable.

    Args:
        name: for messages and logs. None: the tier's name and its number, from 1.
        model: "provider:model". None: the tier's.
        base_url: None: the tier's.
        api_key, headers: None: the tier's, but only for a deployment at the tier's own address: a
            key is not sent to another server than it was given for.
        call: an async callable `(request) -> answer`, in place of all of them.

    Raises:
        ConfigError: the options do not fit together.
    """

    __slots__ = ("api_key", "base_url", "call", "headers", "model", "name")

    @named_options
    def __init__(
        self,
        name: str | None = None,
        *,
        model: str | None = None,
        base_url: str | None = None,
        api_key: str | Secret | None = None,
        headers: Mapping[str, str] | None = None,
        call: TierCall | None = None,
    ) -> None:
        self.name = name
        self.model = model
        self.base_url = base_url
        self.api_key = Secret(api_key) if isinstance(api_key, str) else api_key
        self.headers = None if headers is None else dict(headers)
        self.call = call
        whose = f"deployment {name!r}" if name else "a deployment"
        if model is not None and providers.split_model(model) is None:
            meant = providers.with_provider(model)
            raise ConfigError(f"{whose}: model {model!r} names no provider; write {meant!r}")
        if call is not None:
            if not callable(call):
                raise ConfigError(f"{whose}: call is not callable; give an async function")
            if any(given is not None for given in (model, base_url, api_key, headers)):
                raise ConfigError(f"{whose} has call and an endpoint too; give one of them")

    def connect(self, tier: Tier) -> TierCall:
        """What sends a request there; what this one leaves out is its tier's.

        Raises:
            ConfigError: it cannot be reached that way.
        """
        if self.call is not None:
            return _async(tier.name, self.call)
        model = self.model or tier.model or ""
        elsewhere = self.base_url is not None or _provider_of(model) != _provider_of(tier.model)
        headers = self.headers if self.headers is not None or elsewhere else tier.headers
        return providers.connect(
            model,
            base_url=self.base_url if elsewhere else tier.base_url,
            api_key=self.api_key or (None if elsewhere else tier.api_key),
            headers=headers,
            drop_params=tier.drop_params,
            first_token_s=tier.first_token_s,
        ).complete

    def __repr__(self) -> str:
        from cascade.providers._http import origin

        address = None if self.base_url is None else origin(self.base_url)
        named = (("model", self.model), ("base_url", address))
        given = [repr(self.name)] if self.name else []
        return f"Deployment({', '.join([*given, *(f'{n}={v!r}' for n, v in named if v)])})"


class Lane:
    """One deployment with its circuit.

    Args:
        name: for messages.
        send: what sends a request there.
        breaker: None: it has no circuit.
        latency_s, timeout_s: the tier's.
    """

    __slots__ = ("circuit", "name", "send")

    def __init__(
        self,
        name: str,
        send: TierCall,
        breaker: Breaker | None,
        latency_s: float | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self.name = name
        self.send = send
        self.circuit = None if breaker is None else Circuit(name, breaker, latency_s, timeout_s)


class Delivery:
    """Sends the requests of one tier.

    Args:
        tier, price: for the bill.
        lanes: tried in this order.
        retries: rounds after the first.
        gate: None: without limits.
        model: the model's name, to estimate tokens by.
    """

    __slots__ = ("__weakref__", "_gate", "_lanes", "_model", "_price", "_retries", "_tier")

    def __init__(
        self,
        tier: str,
        price: Price | None,
        lanes: Sequence[Lane],
        retries: Retries,
        gate: Gate | None,
        model: str | None,
    ) -> None:
        self._tier = tier
        self._price = price
        self._lanes = tuple(lanes)
        self._retries = retries
        self._gate = gate
        self._model = model
        watch(self)

    def lane_states(self) -> list[LaneState]:
        """How the circuits of its deployments are now. Those without one are left out."""
        return [
            LaneState(self._tier, lane.name, lane.circuit.state)
            for lane in self._lanes
            if lane.circuit is not None
        ]

    def queue_depth(self) -> QueueDepth | None:
        """How many requests wait in the tier's limits now. None: it has no limits."""
        return None if self._gate is None else QueueDepth(self._tier, self._gate.waiting)

    async def send(self, request: Request, invocation: Invocation | None) -> Answer[Any]:
        """The first answer that a deployment gives.

        Args:
            request: as it is to be sent.
            invocation: whose bill it goes on, and whose deadline it keeps. None: nobody's.

        Raises:
            ProviderError: no deployment answered; the error most worth another try is told.
        """
        try:
            return await self._tried(request, invocation)
        except BaseException as error:
            if invocation is not None and not isinstance(error, Exception):
                invocation.is_cut_short = True
            raise

    async def _tried(self, request: Request, invocation: Invocation | None) -> Answer[Any]:
        """Round after round, as far as the tier's retries go."""
        try:
            return await self._round(request, invocation)
        except RETRYABLE as error:
            if not self._retries.times:
                raise
            failed = error
        try:
            return await persevere(
                lambda: self._round(request, invocation),
                failed,
                self._retries,
                _deadline(invocation),
            )
        finally:
            del failed  # an error that its own traceback leads back to is freed late

    async def _round(self, request: Request, invocation: Invocation | None) -> Answer[Any]:
        if len(self._lanes) == 1:
            return await self._send_by(self._lanes[0], request, invocation)
        errors: list[ProviderError] = []
        for lane in self._lanes:
            try:
                return await self._send_by(lane, request, invocation)
            except ProviderError as error:
                errors.append(error)
                if not _differs_elsewhere(error):
                    break
        try:
            raise _most_telling(errors)
        finally:
            errors.clear()

    async def _send_by(
        self, lane: Lane, request: Request, invocation: Invocation | None
    ) -> Answer[Any]:
        """Through the tier's limits. A refusal on this side uses nothing of them."""
        gate = self._gate
        if gate is None:
            return await self._send_guarded(lane, request, invocation)
        if lane.circuit is not None and lane.circuit.blocked:
            raise self._refusal(lane, lane.circuit)  # no use to queue for it
        joined = current_time()
        ticket = await gate.admit(_deadline(invocation), *self._tokens(request, gate))
        queue_s = current_time() - joined
        try:
            answer = await self._send_guarded(lane, request, invocation, queue_s)
        except (CircuitOpenError, ConfigError, SpendLimitExceeded):
            ticket.give_back()
            raise
        except BaseException as error:
            ticket.close(usage_of(error))
            raise
        ticket.close(answer.usage)
        return answer

    async def _send_guarded(
        self, lane: Lane, request: Request, invocation: Invocation | None, queue_s: float = 0.0
    ) -> Answer[Any]:
        """Through the deployment's circuit."""
        circuit = lane.circuit
        if circuit is None:
            return await self._send_metered(lane.send, request, invocation, queue_s)
        permit = circuit.admit()
        if permit is None:
            raise self._refusal(lane, circuit)
        started, due = circuit.clock(), _deadline(invocation)
        try:
            answer = await self._send_metered(lane.send, request, invocation, queue_s)
        except Exception as error:
            if isinstance(error, _NOT_THE_ENDPOINTS_FAULT):
                circuit.cancelled(permit, 0.0)
            else:
                circuit.failed(permit, _asked_wait_s(error))
            raise
        except BaseException:
            took_s = circuit.clock() - started
            if current_time() >= due:
                circuit.cut_short(permit, took_s)
            else:
                circuit.cancelled(permit, took_s)
            raise
        circuit.succeeded(permit, circuit.clock() - started)
        return answer

    async def _send_metered(
        self, send: TierCall, request: Request, invocation: Invocation | None, queue_s: float
    ) -> Answer[Any]:
        if invocation is None:
            return understand(await send(request))
        charge = Charge(self._tier, self._price, None, invocation.purpose, queue_s)
        if not invocation.spends:
            return await _send_billed(send, request, invocation, charge)
        async with covered(invocation, charge, request, self._model):
            return await _send_billed(send, request, invocation, charge)

    def _tokens(self, request: Request, gate: Gate) -> tuple[int, int | None]:
        """About how many it has, and how many its answer may have. None: nobody says."""
        if not gate.counts_tokens:
            return 0, 0
        from cascade.tokens import estimate_tokens, max_output_tokens

        written = max_output_tokens(request.params, default=0)
        return estimate_tokens(request, self._model), written or None

    def _refusal(self, lane: Lane, circuit: Circuit) -> CircuitOpenError:
        after_s = circuit.retry_after_s
        when = "is on its way" if after_s is None else f"is due in {after_s:.3g} s"
        which = f", deployment {lane.name!r}" if len(self._lanes) > 1 else ""
        return CircuitOpenError(
            f"tier {self._tier!r}{which} was not asked: it kept failing, or asked to be left "
            f"alone; the next probe {when}",
            retry_after_s=after_s,
            usage=NO_USAGE,
        )


async def _send_billed(
    send: TierCall, request: Request, invocation: Invocation, charge: Charge
) -> Answer[Any]:
    # On the bill before it is sent: a call that is cancelled half-way was still made.
    invocation.bill(charge)
    try:
        answer = understand(await send(request))
    except Exception as error:
        charge.usage = usage_of(error)
        raise
    charge.usage = answer.usage
    invocation.answers.append(answer)
    return answer


_NOT_THE_ENDPOINTS_FAULT: Final = (
    AuthenticationError,
    BadRequestError,
    ConfigError,
    SpendLimitExceeded,
)
"""What says nothing about whether the endpoint is well."""


def _deadline(invocation: Invocation | None) -> float:
    """When it must end: by the path's budget, and by whatever scope stands around it."""
    from anyio import current_effective_deadline

    return min(
        math.inf if invocation is None else invocation.deadline, current_effective_deadline()
    )


def _asked_wait_s(error: Exception) -> float | None:
    return error.retry_after_s if isinstance(error, ProviderError) else None


def _differs_elsewhere(error: ProviderError) -> bool:
    """Whether another deployment may do better. A request that is wrong is wrong everywhere."""
    if isinstance(error, BadRequestError):
        return error.status == 404  # the model, or the address, is unknown there
    return not isinstance(error, LoadShedError)  # the limits are the tier's


def _most_telling(errors: list[ProviderError]) -> ProviderError:
    """The error of a round: a wrong request's; else, of what was sent, the soonest to pass."""
    sent = [e for e in errors if not isinstance(e, CircuitOpenError | LoadShedError)]

    def hopelessness(error: ProviderError) -> tuple[bool, bool, float]:
        may_pass = isinstance(error, RETRYABLE)
        return _differs_elsewhere(error), not may_pass, error.retry_after_s or 0.0

    return min(sent or errors, key=hopelessness)


def _async(tier: str, call: TierCall) -> TierCall:
    """The callable, or one that says what is wrong when what it returns cannot be awaited."""
    if inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(
        getattr(call, "__call__", None)  # noqa: B004 - asks whether it is async, not callable
    ):
        return call

    async def checked(request: Request) -> Any:
        awaitable: Any = call(request)
        if not inspect.isawaitable(awaitable):
            raise ConfigError(
                f"tier {tier!r}: call returned a {type(awaitable).__name__} that cannot be "
                "awaited; write it as `async def`, and what blocks as "
                "`await anyio.to_thread.run_sync(...)`"
            )
        return await awaitable

    return checked


def _provider_of(model: str | None) -> str | None:
    return None if model is None else model.partition(":")[0]
