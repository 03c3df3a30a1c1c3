"""Routes HTTP requests to simulated models and their completions back onto the wire."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from hmac import compare_digest
from math import isinf

import anyio

from cascade.simulated.anthropic_wire import AnthropicWire
from cascade.simulated.chat import ChatRequest, Completion, Usage
from cascade.simulated.fields import WireError, read_body
from cascade.simulated.http import Handler, HttpRequest, Reply, Step, script
from cascade.simulated.models import SimulatedModel
from cascade.simulated.openai_wire import OpenAIWire
from cascade.simulated.server import Server, serve

Wire = OpenAIWire | AnthropicWire
OPENAI, ANTHROPIC = OpenAIWire(), AnthropicWire()
POSTS: Mapping[str, Wire] = {"/v1/chat/completions": OPENAI, "/v1/messages": ANTHROPIC}
MODELS = "/v1/models"
LABEL = {"x-simulated": "true"}
REMEMBERED_PROMPTS = 10_000  # visits are counted for the newest prompts only, to bound memory
CACHEABLE_TOKENS, CACHE_STEP_TOKENS = 1024, 128  # prompts are cached from here, in these steps
ERROR_MESSAGES = {
    429: "Rate limit reached. Please try again later.",
    500: "The server had an error while processing your request.",
}


def serve_models(
    models: Sequence[SimulatedModel],
    *,
    seed: int | None = None,
    speed: float = 1.0,
    api_key: str | None = None,
    faults: Sequence[Step] = (),
    host: str = "127.0.0.1",
    port: int = 0,
) -> AbstractAsyncContextManager[Server]:
    """Serve `models` in the OpenAI and Anthropic wire formats until the block ends.

    `seed` replaces the seed of every model; None keeps them. `speed` 10 answers ten times faster,
    math.inf at once. With an `api_key`, requests without it get status 401. `faults` are played
    for the first requests, one each, before the models answer. Raises as `serve` does, and
    ValueError for a speed that is not above 0 or two models of one name.
    """
    handler = model_handler(models, seed=seed, speed=speed, api_key=api_key)
    return serve(script(*faults, then=handler), host=host, port=port)


def model_handler(
    models: Sequence[SimulatedModel],
    *,
    seed: int | None = None,
    speed: float = 1.0,
    api_key: str | None = None,
) -> Handler:
    """The handler `serve_models` serves, to put behind a `script` or a server of your own."""
    if not speed > 0:
        raise ValueError(f"speed is {speed}; it must be above 0")
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise ValueError(f"models {names} are not all named differently")
    if seed is not None:
        models = [replace(model, seed=seed) for model in models]
    return _Models({model.name: model for model in models}, speed, api_key).handle


class _Models:
    """The models by name, and how often each prompt came."""

    def __init__(
        self, models: Mapping[str, SimulatedModel], speed: float, api_key: str | None
    ) -> None:
        self._models = models
        self._speed = speed
        self._api_key = api_key
        self._visits: OrderedDict[str, int] = OrderedDict()

    async def handle(self, request: HttpRequest) -> Reply:
        wire = POSTS.get(request.path) or _wire_of(request)
        try:
            reply = self._route(request, wire)
        except WireError as error:
            reply = _error_reply(wire, error)
        digest = hashlib.sha256(request.path.encode() + request.body).hexdigest()
        return replace(
            reply, headers={**LABEL, wire.id_header: f"req_{digest[:20]}", **reply.headers}
        )

    def _route(self, request: HttpRequest, wire: Wire) -> Reply:
        allowed = "POST" if request.path in POSTS else "GET"
        if request.path not in POSTS and request.path != MODELS:
            raise WireError(404, f"Unknown request URL: {request.method} {request.path}.")
        if request.method != allowed:
            message = f"Not allowed to {request.method} {request.path}; use {allowed}."
            return replace(_error_reply(wire, WireError(405, message)), headers={"allow": allowed})
        self._check_key(request, wire)
        if request.path == MODELS:
            return Reply(body=wire.models(list(self._models)))
        return self._complete(wire, wire.read(read_body(request)))

    def _check_key(self, request: HttpRequest, wire: Wire) -> None:
        if self._api_key is None:
            return
        given = [(request.headers.get(name), prefix) for name, prefix in wire.key_headers]
        expected = self._api_key.encode()
        for value, prefix in given:
            if value is not None and compare_digest(value.encode(), prefix.encode() + expected):
                return
        fault = "Incorrect" if any(value for value, _ in given) else "Missing"
        message = f"{fault} API key in the {wire.key_headers[0][0]} header."
        raise WireError(401, message, None, "invalid_api_key")

    def _complete(self, wire: Wire, request: ChatRequest) -> Reply:
        model = self._models.get(request.model)
        if model is None:
            raise wire.unknown_model(request.model)
        reply_id, visit = self._visit(request)
        wait_s = model.first_token_s(request, visit) / self._speed
        if status := model.error_status(request, visit):
            return replace(self._failure(wire, status), delay_s=wait_s)
        done = model.complete(request, visit)
        usage = _usage(request, done, visit)
        token_s = 0.0 if isinf(self._speed) else 1 / model.tokens_per_s / self._speed
        if request.stream:
            events = wire.events(reply_id, request, done, usage)
            return Reply(stream=_paced(events, token_s), delay_s=wait_s)
        longest = max(item.output_tokens for item in done)
        body = wire.reply(reply_id, request, done, usage)
        return Reply(body=body, delay_s=wait_s + longest * token_s)

    def _visit(self, request: ChatRequest) -> tuple[str, int]:
        """An id for the reply, and how often this model was asked this before."""
        prompt = json.dumps([request.model, request.messages]).encode()
        key = hashlib.sha256(prompt).hexdigest()
        visit = self._visits.pop(key, -1) + 1
        self._visits[key] = visit
        if len(self._visits) > REMEMBERED_PROMPTS:
            self._visits.popitem(last=False)
        return f"{key[:16]}{visit:04x}", visit

    def _failure(self, wire: Wire, status: int) -> Reply:
        status = wire.overloaded if status == 503 else status
        message = ERROR_MESSAGES.get(status, "The server is overloaded. Please try again later.")
        code = "rate_limit_exceeded" if status == 429 else None
        reply = _error_reply(wire, WireError(status, message, None, code))
        if status != 429:
            return reply
        wait_s = 1 / self._speed
        headers = {"retry-after": f"{wait_s:.0f}", "retry-after-ms": f"{wait_s * 1000:.0f}"}
        return replace(reply, headers=headers)


def _wire_of(request: HttpRequest) -> Wire:
    return ANTHROPIC if "anthropic-version" in request.headers else OPENAI


def _error_reply(wire: Wire, error: WireError) -> Reply:
    return Reply(error.status, wire.error(error))


def _usage(request: ChatRequest, done: Sequence[Completion], visit: int) -> Usage:
    """Token counts; a long prompt that came before is read from a simulated cache."""
    total = request.input_tokens
    cacheable = total // CACHE_STEP_TOKENS * CACHE_STEP_TOKENS
    if not request.cache or total < CACHEABLE_TOKENS:
        cacheable = 0
    output_tokens = sum(item.output_tokens for item in done)
    if visit:
        return Usage(total, output_tokens, cached_tokens=cacheable)
    return Usage(total, output_tokens, cache_written_tokens=cacheable)


async def _paced(events: Iterator[tuple[int, bytes]], token_s: float) -> AsyncIterator[bytes]:
    for tokens, data in events:
        await anyio.sleep(tokens * token_s)
        yield data
