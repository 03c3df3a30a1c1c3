"""Where cascade's own log events go: to the host's structlog, else to the standard library.

As a library cascade configures nothing and prints nothing. A host that configured structlog gets
the events through its own processors; any other gets them as records of the logger "cascade",
which is silent until the host adds a handler. Events hold names, codes and numbers, never content.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cascade.types import Attempt, Result

_STANDARD: Final = logging.getLogger("cascade")
_STANDARD.addHandler(logging.NullHandler())

Log = Callable[..., None]


def warn(event: str, **facts: Any) -> None:
    """Log one structured warning."""
    log = _logger(logging.WARNING)
    if log is not None:
        log(event, **facts)


def log_call(result: Result[Any]) -> None:
    """Log how a call ended, as one event `call`; each of its attempts as `attempt` at debug."""
    log = _logger(logging.INFO)
    if log is None:
        return
    log("call", **_call_facts(result))
    log = _logger(logging.DEBUG)
    if log is not None:
        for number, attempt in enumerate(result.attempts):
            log("attempt", id=result.id, number=number, **_attempt_facts(attempt))


def _logger(level: int) -> Log | None:
    """What takes events of that level. None: nobody listens."""
    structlog = sys.modules.get("structlog")  # a host that configured it has imported it
    if structlog is not None and structlog.is_configured():
        bound = structlog.get_logger("cascade")
        return _method_of(bound, level)
    if not _STANDARD.isEnabledFor(level):
        return None

    def log(event: str, **facts: Any) -> None:
        shown = " ".join(f"{name}={value!r}" for name, value in facts.items())
        _STANDARD.log(level, "%s %s", event, shown)

    return log


def _method_of(bound: Any, level: int) -> Log:
    names = {logging.WARNING: "warning", logging.INFO: "info", logging.DEBUG: "debug"}
    method: Log = getattr(bound, names[level])
    return method


def _call_facts(result: Result[Any]) -> dict[str, Any]:
    cost, usage = result.cost_usd, result.usage
    return {
        "id": result.id,
        "cascade": result.cascade,
        "path": result.path,
        "rule": result.rule,
        "policy": result.policy,
        "accepted": result.accepted,
        "tier": result.tier,
        "reason": result.reason,
        "escalations": result.escalations,
        "latency_s": round(result.latency_s, 6),
        "cost_usd": None if cost is None else f"{cost.normalize():f}",
        "input_tokens": None if usage is None else usage.input_tokens,
        "output_tokens": None if usage is None else usage.output_tokens,
        "tenant": result.tenant,
    }


def _attempt_facts(attempt: Attempt) -> dict[str, Any]:
    cost = attempt.cost_usd
    return {
        "tier": attempt.tier,
        "model": attempt.model,
        "ask": attempt.ask,
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "latency_s": round(attempt.latency_s, 6),
        "cost_usd": None if cost is None else f"{cost.normalize():f}",
    }
