"""What a validator may know besides the answer, and how it asks a model itself."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from cascade.errors import ConfigError
from cascade.metering import Handover, billing, invoke, send
from cascade.types import Answer, Attempt, Charge, Request

if TYPE_CHECKING:
    from cascade.spend import CallSpend
    from cascade.tier import Tier

__all__ = ["Context"]

_purpose: ContextVar[str] = ContextVar("cascade_purpose", default="validator")
"""The name of the validator this code runs for."""


class Context:
    """What a validator may know besides the answer.

    Attributes:
        tier: the tier whose answer is judged. None when a validator is tried by hand.
        request: the request that was sent. None when the function sent none through its tier.
        args, kwargs: what the wrapped function was called with, without the tier.
        path: the name of the path. None: no path.
        ask: 0 for the tier's first answer, 1 after the first re-ask, and so on.
        attempts: the attempts of this call so far, this one last. Not to be changed.
        call_id: names the call among all others. None when a validator is tried by hand.
        cache: lets validators of one answer share work, such as its parsed JSON.
    """

    __slots__ = (
        "_call",
        "_charges",
        "_deadline",
        "_handover",
        "_spend",
        "args",
        "ask",
        "attempts",
        "cache",
        "call_id",
        "kwargs",
        "path",
        "request",
        "tier",
    )

    def __init__(
        self,
        tier: Tier | None = None,
        request: Request | None = None,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        path: str | None = None,
        ask: int = 0,
        attempts: Sequence[Attempt] = (),
        call: Callable[..., Awaitable[Any]] | None = None,
        charges: list[Charge] | None = None,
        deadline: float = math.inf,
        handover: Handover | None = None,
        spend: CallSpend | None = None,
        call_id: str | None = None,
    ) -> None:
        self.tier = tier
        self.request = request
        self.args = args
        self.kwargs: Mapping[str, Any] = {} if kwargs is None else kwargs
        self.path = path
        self.ask = ask
        self.attempts = attempts
        self.cache: dict[Any, Any] = {}
        self._call = call
        self._charges: list[Charge] = [] if charges is None else charges
        self._deadline = deadline
        self._handover = handover
        self._spend = spend
        self.call_id = call_id

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The wrapped function's arguments by name, defaults included, without the tier."""
        if self._call is None:
            return self.kwargs
        bound = inspect.signature(self._call).bind(self.tier, *self.args, **self.kwargs)
        bound.apply_defaults()
        return dict(list(bound.arguments.items())[1:])

    @property
    def time_left_s(self) -> float | None:
        """Seconds until the path's deadline, 0 when it has passed. None: there is none."""
        if self._deadline == math.inf:
            return None
        from anyio import current_time

        return max(0.0, self._deadline - current_time())

    @contextmanager
    def billed_to(self, purpose: str) -> Generator[None]:
        """Inside of it every call of a tier is billed to this attempt, for `purpose`."""
        token = _purpose.set(purpose)
        try:
            with self._billing(purpose):
                yield
        finally:
            _purpose.reset(token)

    def _billing(self, purpose: str) -> AbstractContextManager[None]:
        if self.tier is None:
            return nullcontext()
        return billing(self.tier, purpose, self._charges, self._deadline, self._spend, self.call_id)

    @property
    def can_sample(self) -> bool:
        """Whether `sample` can ask again: not when a validator is tried by hand."""
        return self._call is not None and self.tier is not None

    async def sample(self, *, purpose: str | None = None) -> Answer[Any]:
        """Ask the same tier the same once more. The call is billed to this attempt.

        Args:
            purpose: for the bill. None: the name of the validator that asks.

        Raises:
            ConfigError: there is nothing to ask again; see `can_sample`.
            Exception: whatever the call raises.
        """
        if self._call is None or self.tier is None:
            raise ConfigError("this context belongs to no call, so there is nothing to ask again")
        answer, _ = await invoke(
            self._call,
            self.tier,
            self.args,
            self.kwargs,
            self._charges,
            purpose=purpose or _purpose.get(),
            handover=self._handover,
            deadline=self._deadline,
            spend=self._spend,
            call_id=self.call_id,
        )
        return answer

    async def ask_tier(
        self, tier: Tier, request: Request, *, purpose: str | None = None
    ) -> Answer[Any]:
        """Send a request of the validator's own to any tier. It is billed to this attempt.

        Args:
            purpose: for the bill. None: the name of the validator that asks.

        Raises:
            ProviderError: the call broke.
        """
        answer, _ = await invoke(
            send,
            tier,
            (request,),
            {},
            self._charges,
            purpose=purpose or _purpose.get(),
            deadline=self._deadline,
            spend=self._spend,
            call_id=self.call_id,
        )
        return answer
