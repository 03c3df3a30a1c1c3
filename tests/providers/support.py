"""What the tests of the providers share: a tier in front of a real, scripted server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.errors import ProviderError
from cascade.simulated import Reply, Server, script, serve
from cascade.simulated.http import Step
from cascade.tier import Tier

KEY = "sk-canary-0123456789"
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "lookup",
        "parameters": {"type": "object", "properties": {"plan": {"type": "string"}}},
    },
}


ROOT = Path(__file__).resolve().parents[2]


def run_python(code: str, *arguments: str) -> tuple[int, str, str]:
    """Status, stdout and stderr of a fresh interpreter, in which every warning is an error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@dataclass(frozen=True, slots=True)
class Scripted:
    tier: Tier
    server: Server

    def sent(self) -> Any:
        """The JSON body of the newest request."""
        return self.server.requests[-1].json()


@asynccontextmanager
async def scripted(
    *steps: Step, provider: str = "openai", then: Step | None = None, **options: Any
) -> AsyncIterator[Scripted]:
    async with serve(script(*steps, then=then)) as server:
        base_url = f"{server.url}/v1"
        # What one request does is looked at here; delivery has tests of its own.
        alone: dict[str, Any] = {"retries": 0, "breaker": None, **options}
        tier = Tier("t", model=f"{provider}:m", base_url=base_url, api_key=KEY, **alone)
        yield Scripted(tier, server)


async def failure_of(tier: Tier, **params: Any) -> ProviderError:
    """The error a chat with `tier` ends in."""
    try:
        await tier.chat("SECRET PROMPT", **params)
    except ProviderError as error:
        return error
    raise AssertionError("the call did not fail")


def completion(text: str = "hello", **message: Any) -> Reply:
    """A chat completion as a server sends it."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, **message},
        "finish_reason": "stop",
    }
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return Reply(body={"model": "m-1", "choices": [choice], "usage": usage})
