"""Retries: what broke for a moment is tried again, after a wait that the deadline allows.

tenacity runs the loop. It is imported only when a first, plain try has failed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, cast

from cascade.errors import (
    CircuitOpenError,
    LoadShedError,
    OverloadedError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitError,
    ServerError,
)
from cascade.options import check_count, check_seconds, named_options

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from cascade.types import Answer

__all__ = ["RETRYABLE", "Retries", "persevere"]

RETRYABLE: Final = (
    OverloadedError,
    ProviderConnectionError,
    ProviderTimeoutError,
    RateLimitError,
    ServerError,
)
"""Errors that may be gone the next time. An unreadable answer is not among them: the provider did
its work and may bill it, and what speaks another format now speaks it the next time too."""

LONGEST_UNBOUNDED_WAIT_S: Final = 60.0
"""The longest Retry-After that is waited for where no deadline bounds the wait."""

_REFUSED: Final = (CircuitOpenError, LoadShedError)


class Retries:
    """How often a tier tries again, and how long it waits before each try.

    The wait before the n-th retry is a random time between 0 and `base_s` * 2^(n-1) seconds, at
    most `cap_s` ("full jitter": M. Brooker, "Exponential Backoff And Jitter"). A Retry-After goes
    on top, so that those who were told the same time do not come back at the same time.

    Args:
        times: retries after the first try. 0: none.
        base_s: seconds; the longest wait before the first retry.
        cap_s: seconds; the longest wait before any retry.
        seed: for waits that repeat from run to run. None: other ones each time.

    Raises:
        ConfigError: an option is out of its range.
    """

    __slots__ = ("_random", "base_s", "cap_s", "times")

    @named_options
    def __init__(
        self, times: int = 2, *, base_s: float = 0.5, cap_s: float = 8.0, seed: int | None = None
    ) -> None:
        check_count("retries", times, least=0)
        check_seconds("base_s", base_s)
        check_seconds("cap_s", cap_s)
        self.times = times
        self.base_s = base_s
        self.cap_s = cap_s
        self._random = random.Random(seed)

    def wait_s(self, retry: int, retry_after_s: float | None = None) -> float:
        """Seconds to wait before the `retry`-th retry, the first being 1."""
        # The exponent is bounded: 2.0 ** 1100 is no float.
        longest = min(self.cap_s, self.base_s * 2.0 ** min(retry - 1, 60))
        return (retry_after_s or 0.0) + self._random.uniform(0.0, longest)

    def __repr__(self) -> str:
        return f"Retries({self.times}, base_s={self.base_s}, cap_s={self.cap_s})"


async def persevere(
    again: Callable[[], Awaitable[Answer[Any]]],
    error: ProviderError,
    retries: Retries,
    deadline: float,
) -> Answer[Any]:
    """Try `again` after `error`, as often as `retries` says.

    Args:
        again: one more try.
        error: what the first try, already made, ended in; one of `RETRYABLE`.
        retries: how often, and how long to wait.
        deadline: on the event loop's clock. A wait that would not end before it is not begun.

    Raises:
        ProviderError: the last error. That of the provider, where all that came after it was a
            refusal on this side.
    """
    from anyio import current_time, sleep
    from tenacity import AsyncRetrying, retry_if_exception_type

    plain, told = [error], error

    async def attempt() -> Answer[Any]:
        nonlocal told
        if plain:
            raise plain.pop()  # the first try is behind us
        try:
            return await again()
        except _REFUSED:
            raise
        except ProviderError as latest:
            told = latest
            raise

    def is_hopeless(state: RetryCallState) -> bool:
        if deadline == math.inf:
            return (_asked_wait_s(state) or 0.0) > LONGEST_UNBOUNDED_WAIT_S
        return current_time() + state.upcoming_sleep >= deadline

    retrying = AsyncRetrying(
        retry=retry_if_exception_type((*RETRYABLE, CircuitOpenError)),
        wait=lambda state: retries.wait_s(state.attempt_number, _asked_wait_s(state)),
        stop=lambda state: state.attempt_number > retries.times or is_hopeless(state),
        sleep=sleep,
        reraise=True,
    )
    try:
        return cast("Answer[Any]", await retrying(attempt))
    except _REFUSED:
        raise told from None
    finally:
        del error, told  # an error that its own traceback leads back to is freed late


def _asked_wait_s(state: RetryCallState) -> float | None:
    error = None if state.outcome is None else state.outcome.exception()
    return error.retry_after_s if isinstance(error, ProviderError) else None
