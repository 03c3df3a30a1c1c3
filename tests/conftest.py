"""What tests share: both event loops, Hypothesis without chance, and a real PostgreSQL."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from tests.postgres import PostgresServer

# Derandomised: the same examples on every machine, so a failure is the change's, not the day's.
settings.register_profile("cascade", derandomize=True, deadline=None, max_examples=60)
# Many random examples, to look for what the fixed ones miss: --hypothesis-profile=search.
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile("cascade")


def pytest_configure() -> None:
    """Let tests stop programs with Ctrl-C, though a shell's jobs in the background ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Runs each `@pytest.mark.anyio` test once on asyncio and once on trio."""
    backend: str = request.param
    return backend


@pytest.fixture(autouse=True)
def _no_structlog_left_behind() -> Iterator[None]:
    """A command line configures structlog for its process, which here is that of all tests."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL server, for all tests that ask for one."""
    # Its data does not outlive the run, so it need not reach the disk.
    server = PostgresServer({"fsync": "off"})
    yield server
    server.close()
