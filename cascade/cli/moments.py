"""Moments as people give them on the command line: "7d", "2026-05-25", "2026-05-25T13:00"."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from cascade.errors import ConfigError

__all__ = ["moment_of"]

_AGO: Final = re.compile(r"(\d+(?:\.\d+)?)([mhdw])")
_SECONDS: Final = {"m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}


def moment_of(option: str, text: str, now: float) -> float | None:
    """Unix time. None: "all", which is no bound.

    Args:
        option: whose value the text is, for the message.
        text: so long ago, as in "90m", "12h", "7d" or "2w"; a date or a time as ISO 8601 writes
            it, in UTC where it names no zone; or "all".
        now: Unix time.

    Raises:
        ConfigError: it is none of these.
    """
    if text == "all":
        return None
    if ago := _AGO.fullmatch(text):
        return now - float(ago[1]) * _SECONDS[ago[2]]
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{option} {text!r} is no time; write how long ago, as in 90m, 12h, 7d or 2w, a date "
            "as in 2026-05-25 or 2026-05-25T13:00, or all"
        ) from None
    return (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp()
