"""What all commands share: where text goes, how it looks, and how cascade's log events appear."""

from __future__ import annotations

import json
import logging
import re
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, TypeAlias

from cyclopts import Parameter
from rich.console import Console

__all__ = [
    "Common",
    "as_json",
    "configure_logs",
    "errors",
    "harmless",
    "say",
    "seconds",
    "usd",
    "write",
]

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and line feed

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Common:
    """The options of every command."""

    json: Annotated[bool, Parameter(negative="")] = False
    """Print the result as JSON, for machines."""
    log_level: LogLevel = "warning"
    """Which log events to show on stderr: as text on a terminal, as JSON lines elsewhere."""


def errors() -> Console:
    """The terminal's other half, where everything goes that is not a result."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def say(text: str, style: str | None = None) -> None:
    """Tell the user something that is not a result."""
    errors().print(text, style=style)


def write(text: str) -> None:
    """Write a line of the result."""
    sys.stdout.write(f"{harmless(text) if sys.stdout.isatty() else text}\n")


def harmless(text: str) -> str:
    """Text that cannot steer the terminal it is shown on, whatever a model wrote."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def as_json(value: Any, *, indent: int | None = None) -> str:
    """JSON text; of an object that JSON does not know, what pydantic makes of it, or its text."""
    from pydantic_core import to_jsonable_python

    plain = to_jsonable_python(value, inf_nan_mode="null", fallback=str)
    return json.dumps(plain, ensure_ascii=False, indent=indent)


def usd(amount: Decimal | None) -> str:
    """Money for people: exact, with cents at least."""
    if amount is None:
        return "an unknown cost"
    whole, _, cents = f"{amount.normalize():f}".partition(".")
    return f"${whole}.{cents:0<2}"


def seconds(value: float) -> str:
    """A time for people."""
    return f"{value:.2f} s"


def configure_logs(level: LogLevel) -> None:
    """Send cascade's log events to stderr."""
    import structlog

    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=errors().color_system is not None)
            if terminal
            else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        # Each time anew: a progress bar stands in for stderr while it is shown.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
