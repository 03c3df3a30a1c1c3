"""Where cascade's own log events go: to the host's structlog, else to the standard library.

As a library cascade configures nothing and prints nothing. A host that configured structlog gets
the events through its own processors; any other gets them as records of the logger "cascade",
which is silent until the host adds a handler. Events hold names, codes and numbers, never content.
"""

from __future__ import annotations

import logging
from typing import Any

logging.getLogger("cascade").addHandler(logging.NullHandler())


def warn(event: str, **facts: Any) -> None:
    """Log one structured warning."""
    import structlog

    if structlog.is_configured():
        structlog.get_logger("cascade").warning(event, **facts)
        return
    standard = logging.getLogger("cascade")
    if standard.isEnabledFor(logging.WARNING):
        shown = " ".join(f"{name}={value!r}" for name, value in facts.items())
        standard.warning("%s %s", event, shown)
