"""The commands by name, and how each of them ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App, CycloptsError
from rich.console import Console

from cascade.cli.codes import ExitCode
from cascade.cli.output import say
from cascade.errors import CascadeError

__all__ = ["build_app", "run_command"]

HELP = """Answer each request with the cheapest model tier that can answer it correctly.

Start with `cascade init`, which writes a cascade.toml that fits this machine; then
`cascade check` explains it, and `cascade run "..."` answers a request with it.
"""

EPILOGUE = """Results go to stdout, progress and logs to stderr.

Exit codes: 0 done; 1 a request has no accepted answer; 2 a mistake in the command line, the
configuration or a file; 3 no model answered at all; 130 stopped by Ctrl-C; 141 the reader of the
output went away.
"""

# Imported when asked for: `cascade run` does not wait for what only `cascade demo` needs.
COMMANDS = {
    "init": "Write a first cascade.toml that fits this machine.",
    "check": "Check a cascade.toml and explain what it means.",
    "run": "Answer one request, or every request in a JSON Lines file.",
    "explain": "Show which rungs a request would use, and why.",
    "estimate": "Estimate what a cascade saves, and whether it is worth it.",
    "learn": "Learn which tier to begin with, and tell whether it is worth it.",
    "eval": "Run cases with known answers through each tier, or through the whole cascade.",
    "tune": "Find the cheapest policy for a quality target, from recorded runs.",
    "replay": "Show what a policy would have answered and cost on recorded runs.",
    "gate": "Say whether a candidate is not worse than the baseline.",
    "audit": "Tell from audits how good accepted answers are, and whether they drift.",
    "ledger": "Tell what a ledger holds, upgrade it, or delete what is old.",
    "report": "Report cost, escalation, quality, latency and faults, from a ledger.",
    "tail": "Show calls as they are stored, a line each, until Ctrl-C.",
    "show": "Tell the story of one call.",
    "demo": "Show the engine at work on simulated models.",
}


def build_app(asked: str | None = None) -> App:
    """The whole command line.

    Args:
        asked: the command that will run, which describes itself. The others are not imported:
            they are listed with one line. None: no command.
    """
    app = App(
        name="cascade",
        help=HELP,
        help_epilogue=EPILOGUE,
        version=version("cascade-engine"),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        error_console=Console(stderr=True),  # it draws boxes, which have to fit
    )
    for name, help_line in COMMANDS.items():
        help_or_none = None if name == asked else help_line
        app.command(f"cascade.cli.{name}:{name}", name=name, help=help_or_none)
    return app


def run_command(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code."""
    _use_utf8()
    try:
        asked = next((word for word in arguments if not word.startswith("-")), None)
        code = build_app(asked)(arguments, exit_on_error=False)
        sys.stdout.flush()
    except CycloptsError:  # told already
        return ExitCode.MISTAKE
    except CascadeError as error:
        say(f"cascade: {error}")
        return ExitCode.MISTAKE
    except BrokenPipeError:
        # Python flushes stdout once more as it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.PIPE_CLOSED
    except OSError as error:
        say(f"cascade: {error.filename or 'a file'}: {error.strerror}")
        return ExitCode.MISTAKE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return code if isinstance(code, int) else ExitCode.OK


def _use_utf8() -> None:
    """Text as UTF-8 wherever it goes; a broken character as its JSON escape."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(encoding="utf-8", errors="backslashreplace")
