"""Run the simulated models as a server of their own: python -m cascade.simulated --port 8080."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress

import anyio

from cascade.simulated.handler import model_handler
from cascade.simulated.models import simulated_models
from cascade.simulated.server import serve


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve `simulated_models()` until interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m cascade.simulated",
        description="Serve simulated models in the OpenAI and Anthropic wire formats.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8080, help="port, 0 for a free one")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other answers")
    parser.add_argument("--speed", type=float, default=1.0, help="10 answers ten times faster")
    parser.add_argument(
        "--allow-remote", action="store_true", help="listen on an address others can reach"
    )
    options = parser.parse_args(arguments)
    try:
        with suppress(KeyboardInterrupt):
            anyio.run(_run, options)
    except (OSError, ValueError) as error:  # a port that is taken, a host or speed that will not do
        parser.error(str(error))


async def _run(options: argparse.Namespace) -> None:
    models = simulated_models(options.seed)
    handler = model_handler(models, speed=options.speed)
    async with serve(
        handler,
        host=options.host,
        port=options.port,
        allow_remote=options.allow_remote,
        keep_requests=0,
    ) as server:
        names = ", ".join(model.name for model in models)
        sys.stdout.write(f"simulated models {names} at {server.url}/v1\n")
        sys.stdout.flush()
        await anyio.sleep_forever()


if __name__ == "__main__":
    main()
