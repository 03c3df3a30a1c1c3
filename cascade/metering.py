"""One invocation of a tier: what it billed, and what an earlier attempt hands over to it.

The current invocation is a context variable, so that every `Tier.chat` inside the user's function
is billed, however deep it is called and whatever the function makes of the answers.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from cascade.answers import understand
from cascade.errors import (
    ConfigError,
    ProviderError,
    ProviderTimeoutError,
    SpendLimitExceeded,
)
from cascade.spend import CallSpend, Reservation, record_all, reserve_all
from cascade.tokens import correction, guess_tokens, observe
from cascade.types import NO_USAGE, Answer, Attempt, Charge, Message, Request, Usage

if TYPE_CHECKING:
    from cascade.tier import Tier

__all__ = [
    "Handover",
    "Invocation",
    "billing",
    "covered",
    "current_invocation",
    "handover",
    "invoke",
    "send",
]


@dataclass(frozen=True, slots=True)
class Handover:
    """A rejected answer with what was wrong about it, for the one who is asked next.

    Attributes:
        tier: the name of the tier that gave the answer.
        answer: the rejected answer.
        feedback: what the validators found wrong, a line each. None when they said nothing.
    """

    tier: str
    answer: Answer[Any] = field(repr=False)
    feedback: str | None = field(repr=False)

    @classmethod
    def of(cls, attempt: Attempt) -> Handover | None:
        """What `attempt` hands over. None when it has no rejected answer."""
        if attempt.answer is None or attempt.outcome != "rejected":
            return None
        return cls(attempt.tier, attempt.answer, attempt.feedback)

    def messages(self) -> tuple[Message, ...]:
        """The same as chat messages, to be put after the request's own."""
        said = self.answer.text
        if said is None and self.answer.tool_calls:
            # Not as tool_calls: the wire formats would then demand the tools' results next.
            said = "\n".join(f"{call.name}({call.arguments})" for call in self.answer.tool_calls)
        wrong = f" What was wrong:\n{self.feedback}" if self.feedback else ""
        complaint = f"That answer was checked and rejected.{wrong}\nAnswer again, corrected."
        user: Message = {"role": "user", "content": complaint}
        return ({"role": "assistant", "content": said}, user) if said else (user,)


class Invocation:
    """One call of the user's function (or of `Cascade.run`'s sender) for one tier.

    Attributes:
        tier: the tier that is asked.
        purpose: "answer", or the name of the validator that asks.
        handover: what an earlier attempt hands over. None: nothing.
        deadline: when it must end, on the event loop's clock. inf: no limit.
        charges: one for each `Tier.chat` so far.
        answers: those that came back.
        sinks: every bill a charge belongs on: this invocation's own, the attempt's, and those of
            the cascades around this one.
        request: the last one sent. None: none was sent through the tier.
        spends: the calls, this one's and those around it, whose caps its money counts under.
        hold: what is reserved for the first thing it does, until a chat takes it over. None: it
            was, or there are no caps.
        call_id: of the call it belongs to. None: to none.
        own: the charge for what the function did beside its chats. None: nothing.
        is_cut_short: whether a chat was cancelled while it was under way.
    """

    __slots__ = (
        "_handed_over",
        "answers",
        "call_id",
        "charges",
        "deadline",
        "handover",
        "hold",
        "is_cut_short",
        "own",
        "purpose",
        "request",
        "sinks",
        "spends",
        "tier",
    )

    def __init__(
        self,
        tier: Tier,
        purpose: str,
        handover: Handover | None,
        charges: list[Charge],
        outer: Invocation | None,
        deadline: float = math.inf,
        spend: CallSpend | None = None,
        call_id: str | None = None,
    ) -> None:
        self.tier = tier
        self.call_id = call_id
        self.purpose = purpose
        self.handover = handover
        # A cascade inside of a cascade cannot outlive the outer one either.
        self.deadline: float = deadline if outer is None else min(deadline, outer.deadline)
        self.charges: list[Charge] = []
        self.answers: list[Answer[Any]] = []
        self.request: Request | None = None
        self.sinks: tuple[list[Charge], ...] = (self.charges, charges)
        self.spends: tuple[CallSpend, ...] = () if spend is None else (spend,)
        self.hold: Reservation | None = None
        self.own: Charge | None = None
        self.is_cut_short = False
        if outer is not None:
            self.spends += tuple(other for other in outer.spends if other is not spend)
            self.sinks += tuple(sink for sink in outer.sinks if sink is not charges)
        self._handed_over = False

    def bill(self, charge: Charge) -> None:
        """Put a charge on every bill it belongs on."""
        for sink in self.sinks:
            sink.append(charge)

    def bill_own(self, charge: Charge) -> None:
        """Bill what the function did by itself, through an SDK of its own."""
        self.own = charge
        self.bill(charge)

    def prepare(self, request: Request) -> Request:
        """The request to send: the first one of an invocation carries the handover."""
        self.request = request
        if self.handover is None or self._handed_over:
            return request
        self._handed_over = True
        return request.followed_by(*self.handover.messages())

    async def reserve(self, tier: Tier, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Hold what one call of `tier` may cost. Raises SpendLimitExceeded."""
        usd = self.spends[0].spend.estimate_usd(tier, args, kwargs)
        self.hold = await reserve_all(self.spends, usd)

    async def hand_over(self) -> None:
        """Give back what is on hold: an invocation inside of this one reserves for itself."""
        hold, self.hold = self.hold, None
        if hold is not None:
            await hold.release()

    async def take_hold(self, usd: Decimal) -> Reservation:
        """What is on hold, enlarged to `usd`; or a new reservation of it."""
        hold, self.hold = self.hold, None
        if hold is None:
            return await reserve_all(self.spends, usd)
        missing = hold.short_of(usd)
        if missing > 0:
            try:
                hold.add(await reserve_all(self.spends, missing))
            except BaseException:
                await hold.release()
                raise
        return hold

    async def settle(self) -> None:
        """Count what no chat has settled: at the end, however it ends."""
        hold, self.hold = self.hold, None
        if hold is not None:
            await hold.settle_charges(self.charges)
        elif self.own is not None:
            await record_all(self.spends, self.own.cost_usd)


_REFUSED = frozenset({400, 401, 403, 404, 409, 413, 422, 429, 503, 529})

_current: ContextVar[Invocation | None] = ContextVar("cascade_invocation", default=None)


def current_invocation() -> Invocation | None:
    """The invocation this code runs in. None outside of every cascade."""
    return _current.get()


def handover() -> Handover | None:
    """Inside a wrapped function: the rejected answer this call should improve on.

    None on the first ask, and always unless the cascade has `feedback=True` or `reasks`.
    `Tier.chat` adds it to the first chat by itself; functions that use another SDK read it here.
    """
    invocation = _current.get()
    return None if invocation is None else invocation.handover


async def invoke(
    call: Callable[..., Awaitable[Any]],
    tier: Tier,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    charges: list[Charge],
    *,
    purpose: str = "answer",
    handover: Handover | None = None,
    deadline: float = math.inf,
    spend: CallSpend | None = None,
    call_id: str | None = None,
) -> tuple[Answer[Any], Request | None]:
    """Call `call(tier, *args, **kwargs)` and put every charge it caused on `charges`.

    The charges are put there however the call ends: an error's usage is its own (None where it
    does not know), a cancelled call's is unknown. Under `spend`, and the caps of the cascades
    around this one, its money is reserved first and settled at the end.

    Returns:
        the answer, and the last request sent through the tier (None: none was).

    Raises:
        SpendLimitExceeded: a cap would be passed; nothing was billed then.
        Exception: whatever the call raises.
    """
    outer = _current.get()
    invocation = Invocation(tier, purpose, handover, charges, outer, deadline, spend, call_id)
    if invocation.spends:
        if outer is not None:
            await outer.hand_over()
        await invocation.reserve(tier, args, kwargs)
    token = _current.set(invocation)
    billed = invocation.charges
    try:
        answer = understand(await call(tier, *args, **kwargs))
        if not billed or _is_unbilled(answer, invocation):
            invocation.bill_own(Charge(tier.name, tier.price, answer.usage, purpose))
        elif answer.usage is None and len(invocation.answers) == 1:
            answer = _with_facts_of(invocation.answers[0], answer)
        return answer, invocation.request
    except BaseException as error:
        if not billed:
            # A chat that was cut short while it waited to be sent is not on the bill yet.
            usage = NO_USAGE if invocation.is_cut_short else usage_of(error)
            invocation.bill_own(Charge(tier.name, tier.price, usage, purpose))
        raise
    finally:
        _current.reset(token)
        if invocation.spends:
            await invocation.settle()


@asynccontextmanager
async def covered(
    invocation: Invocation, charge: Charge, request: Request, model: str | None
) -> AsyncGenerator[None]:
    """Around sending one request of an invocation with `spends`: reserved before, settled after.

    Args:
        charge: what the sending is billed, its usage set inside.
        request: as it is sent.
        model: the model's name, by which guesses are corrected. None: the tier's.

    Raises:
        SpendLimitExceeded: a cap would be passed.
    """
    model = model or charge.tier
    guess = guess_tokens(request, model)
    spend = invocation.spends[0].spend
    tokens = round(guess * correction(model))
    hold = await invocation.take_hold(spend.estimate_charge_usd(charge, request, tokens))
    try:
        yield
    finally:
        await hold.settle_charges((charge,))
        if charge.usage is not None:
            observe(model, guess, charge.usage.input_tokens)


@contextmanager
def billing(
    tier: Tier,
    purpose: str,
    charges: list[Charge],
    deadline: float = math.inf,
    spend: CallSpend | None = None,
    call_id: str | None = None,
) -> Generator[None]:
    """Inside of it every `Tier.chat` is put on `charges`, though it is no answer of `tier`."""
    token = _current.set(
        Invocation(tier, purpose, None, charges, _current.get(), deadline, spend, call_id)
    )
    try:
        yield
    finally:
        _current.reset(token)


def _is_unbilled(answer: Answer[Any], invocation: Invocation) -> bool:
    """Whether the function asked through an SDK of its own, beside its metered chats."""
    usage = answer.usage
    if usage is None or any(usage is charge.usage for charge in invocation.charges):
        return False
    billed = [charge.usage for charge in invocation.charges if charge.usage is not None]
    return not billed or usage != sum(billed[1:], billed[0])


async def send(tier: Tier, request: Request) -> Answer[Any]:
    """The plainest thing to invoke: one request to one tier."""
    return await tier.send(request)


def usage_of(error: BaseException) -> Usage | None:
    """The tokens billed for a call that ended in `error`. None when unknown."""
    if isinstance(error, ConfigError | SpendLimitExceeded):
        return NO_USAGE  # it was refused on this side
    if isinstance(error, ProviderError):
        return error.usage
    # The SDKs' errors tell the status too, and what was refused was not billed.
    refused = _is_sdks(error) and getattr(error, "status_code", None) in _REFUSED
    return NO_USAGE if refused else None


def is_timeout(error: Exception) -> bool:
    """Whether the transport gave up waiting, ours or that of an SDK."""
    return isinstance(error, ProviderTimeoutError | TimeoutError) or (
        _is_sdks(error) and type(error).__name__ == "APITimeoutError"
    )


def _is_sdks(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in ("openai", "anthropic")


def _with_facts_of(chat: Answer[Any], answer: Answer[Any]) -> Answer[Any]:
    """A value that was made from one chat, with that chat's facts, so that none is lost."""
    if answer is chat:
        return answer
    facts = ("text", "finish_reason", "logprobs", "usage", "refusal", "reasoning", "model", "raw")
    missing = {fact: getattr(chat, fact) for fact in facts if getattr(answer, fact) is None}
    return replace(answer, tool_calls=answer.tool_calls or chat.tool_calls, **missing)
