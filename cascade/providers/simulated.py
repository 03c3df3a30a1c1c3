"""Simulated models as a provider: "simulated:sim-small", without keys and without a network.

The models answer over real HTTP in the OpenAI format, from a server that a background thread of
this process runs on 127.0.0.1 from the first call on until the process ends.
"""

from __future__ import annotations

import atexit
from concurrent.futures import Future
from dataclasses import replace
from threading import Lock, Thread
from typing import Any

import anyio
from anyio import from_thread, to_thread

from cascade.providers import Endpoint, Provider
from cascade.providers._http import check_endpoint
from cascade.providers.openai import OpenAIChat
from cascade.types import Answer, Request

__all__ = ["SimulatedChat", "provide"]

STOP_TIMEOUT_S = 5.0


class SimulatedChat:
    """One simulated model, on this process's own server."""

    __slots__ = ("_endpoint",)

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def complete(self, request: Request) -> Answer[Any]:
        """One request, one answer. Raises ProviderError when the call broke."""
        url = await to_thread.run_sync(_server.url)
        return await OpenAIChat(replace(self._endpoint, base_url=url)).complete(request)


def provide(endpoint: Endpoint) -> Provider:
    """The provider for one simulated model; with a `base_url`, on the server that is there."""
    if endpoint.base_url is None:
        return SimulatedChat(endpoint)
    check_endpoint(endpoint)
    return OpenAIChat(endpoint)


class _Server:
    """The server of this process: started when it is first needed, stopped when it ends."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._url: str | None = None

    def url(self) -> str:
        """The base URL of the running server. Blocks until it runs."""
        with self._lock:
            if self._url is None:
                self._url = self._start()
            return self._url

    def _start(self) -> str:
        started: Future[tuple[str, from_thread.BlockingPortal]] = Future()
        thread = Thread(
            target=anyio.run, args=(_serve, started), name="cascade-simulated", daemon=True
        )
        thread.start()
        url, portal = started.result()

        def stop() -> None:
            if thread.is_alive():  # it is not in a forked child
                portal.call(portal.stop)
                thread.join(STOP_TIMEOUT_S)

        atexit.register(stop)
        return url


async def _serve(started: Future[tuple[str, from_thread.BlockingPortal]]) -> None:
    from cascade.simulated import model_handler, serve, simulated_models

    try:
        async with (
            serve(model_handler(simulated_models()), keep_requests=0) as server,
            from_thread.BlockingPortal() as portal,
        ):
            started.set_result((f"{server.url}/v1", portal))
            await portal.sleep_until_stopped()
    except Exception as error:
        if started.done():
            raise
        started.set_exception(error)


_server = _Server()
