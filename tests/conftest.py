"""What every test shares: both event loops, and Hypothesis without chance."""

from __future__ import annotations

import pytest
from hypothesis import settings

# Derandomised: the same examples on every machine, so a failure is the change's, not the day's.
settings.register_profile("cascade", derandomize=True, deadline=None, max_examples=60)
# Many random examples, to look for what the fixed ones miss: --hypothesis-profile=search.
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile("cascade")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Runs each `@pytest.mark.anyio` test once on asyncio and once on trio."""
    backend: str = request.param
    return backend
