"""The exit codes of `cascade`, for scripts."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """What a command's end says."""

    OK = 0
    """Done; every request was accepted."""
    NOT_ACCEPTED = 1
    """One request or more has no accepted answer."""
    MISTAKE = 2
    """The command line, the configuration or a file cannot work; the message names the mend."""
    NO_ANSWER = 3
    """No model answered at all: every call broke or ran out of time."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C."""
    PIPE_CLOSED = 141
    """The reader of the output went away, as `head` does."""
