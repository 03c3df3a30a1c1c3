"""Stand-ins for models, so that a cascade can be tested without a network.

small = Tier("small", call=Scripted("no idea", "42"))
result = await Cascade(tiers=[small, large], validators=[...]).run("what is six times seven?")
assert small_script.requests[0].messages[0]["content"] == "what is six times seven?"
"""

from __future__ import annotations

from typing import Any, Final

from cascade.errors import ConfigError
from cascade.types import Request

__all__ = ["HANG", "Scripted"]


class _Hang:
    def __repr__(self) -> str:
        return "HANG"


HANG: Final = _Hang()
"""A step that never answers: only a deadline or a cancellation ends it."""


class Scripted:
    """An async callable for `Tier(call=...)` that plays a script; the last step repeats.

    Args:
        steps: what each call gives: any value (an `Answer` for usage and log-probabilities), an
            exception to raise, or `HANG`.

    Attributes:
        requests: every request received, in order.

    Raises:
        ConfigError: there are no steps.
    """

    def __init__(self, *steps: Any) -> None:
        if not steps:
            raise ConfigError("a script has no steps; give it at least one answer")
        self._steps = steps
        self.requests: list[Request] = []

    async def __call__(self, request: Request) -> Any:
        """The next step of the script."""
        step = self._steps[min(len(self.requests), len(self._steps) - 1)]
        self.requests.append(request)
        if step is HANG:
            from anyio import sleep_forever

            await sleep_forever()
        if isinstance(step, BaseException):
            raise step
        return step
