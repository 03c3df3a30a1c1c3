"""Content, keys and headers stay where they belong, however a call goes wrong.

Every call here carries marked secrets, in its prompt, system message, tools and tool arguments,
key, headers and metadata, and gets a marked answer; its servers quote what they were sent. Then
everything that cascade tells anybody is searched for the marks.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Final

import anyio
import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import LogCapture

from benchmarks.fault_rows import FAULTS, KEY, PROMPT, Fault
from cascade import (
    Answer,
    Cascade,
    CascadeExhausted,
    Context,
    NoAnswerError,
    Path,
    Price,
    Result,
    Retries,
    Tier,
    Verdict,
    cascade,
    validator,
)
from cascade.ledger import JsonLines, Ledger
from cascade.observing import Observer
from cascade.providers import close_connections
from cascade.simulated import Handler, HttpRequest, Reply, Reset, Server, serve
from cascade.telemetry import Prometheus
from tests.telemetry.support import Sdk

pytestmark = pytest.mark.anyio

ANSWER: Final = "the-marked-answer"
SYSTEM: Final = "the-marked-system-message"
ARGUMENTS: Final = "the-marked-tool-arguments"
TOOL: Final = "the-marked-tool-description"
HEADER: Final = "the-marked-header-value"
METADATA: Final = "the-marked-metadata"
OWN_ERROR: Final = "the-marked-error-of-the-caller"

SENT: Final = (KEY, PROMPT, SYSTEM, ARGUMENTS, TOOL, HEADER)
MARKS: Final = (*SENT, ANSWER, OWN_ERROR)
"""What nothing may show. The metadata is the caller's own: only the ledger keeps it."""

MESSAGES: Final[list[dict[str, Any]]] = [
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": PROMPT},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "look_up", "arguments": f'{{"who": "{ARGUMENTS}"}}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": f"found {ARGUMENTS}"},
]
TOOLS: Final = [
    {
        "type": "function",
        "function": {"name": "look_up", "description": TOOL, "parameters": {"type": "object"}},
    }
]
USD: Final = Price(input=1, output=1)


@dataclass
class Watch:
    """Everything that tells of calls, and what it told."""

    folder: FilePath
    caplog: pytest.LogCaptureFixture
    sdk: Sdk = field(default_factory=Sdk)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    events: list[Any] = field(default_factory=list[Any])
    objects: list[object] = field(default_factory=list[object])

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.folder / "ledger.db")
        self.lines = JsonLines(self.folder / "calls.jsonl")
        metrics = Prometheus(self.registry, ledgers=[self.ledger, self.lines])
        self.observers: list[Observer] = [self.ledger, self.lines, metrics, self.sdk.observer]

    def keep(self, *objects: object) -> None:
        """Have the words for these searched as well."""
        self.objects += objects

    def stored(self) -> str:
        """The bytes of the ledgers' files, those that SQLite has not merged yet included."""
        self.ledger.flush()
        self.lines.flush()
        files = sorted(self.folder.iterdir())
        return "".join(file.read_bytes().decode("latin-1") for file in files)

    def logged(self) -> str:
        """All log records of the process, those of the libraries included.

        But for one kind: at debug level httpcore logs the headers of responses as they came, and
        a server may quote in them what it likes.
        """
        records = [
            record
            for record in self.caplog.records
            if not (record.name.startswith("httpcore") and "response_headers" in record.msg)
        ]
        return "\n".join(f"{record.getMessage()} {record.__dict__}" for record in records)

    def told(self) -> str:
        """All that was logged, exported or can be printed."""
        words = [self.logged(), *map(str, self.events), self.sdk.everything()]
        words.append(generate_latest(self.registry).decode())
        for one in self.objects:
            words += list(_words(one))
        return "\n".join(words)

    def check(self) -> None:
        """Nothing that was told or stored shows a secret."""
        told, stored = self.told(), self.stored()
        assert [mark for mark in MARKS if mark in told] == []
        assert [mark for mark in MARKS if mark in stored] == []
        assert METADATA not in told
        assert METADATA in stored


def _words(one: object) -> Iterator[str]:
    """What an object says of itself."""
    yield from (repr(one), str(one))
    if isinstance(one, BaseException):
        yield "".join(traceback.format_exception(one))
    if isinstance(one, NoAnswerError) and one.result is not None:
        yield from _words(one.result)
    if isinstance(one, Result):
        yield one.story()
        for attempt in one.attempts:
            yield from (repr(attempt), *map(repr, attempt.verdicts), *map(repr, attempt.charges))
            if attempt.error is not None:
                yield from _words(attempt.error)


@pytest.fixture
def watch(tmp_path: FilePath, caplog: pytest.LogCaptureFixture) -> Iterator[Watch]:
    caplog.set_level(logging.DEBUG)
    watch = Watch(tmp_path, caplog)
    yield watch
    watch.ledger.close()
    watch.lines.close()


@contextmanager
def structured(events: list[Any]) -> Iterator[None]:
    """A host that configured structlog, for everything from debug on."""
    capture = LogCapture()
    structlog.configure(processors=[capture])
    try:
        yield
    finally:
        structlog.reset_defaults()
        events += capture.entries


def says(content: str) -> dict[str, Any]:
    """A completion in the OpenAI format, with a bill."""
    message = {"role": "assistant", "content": content}
    return {
        "model": "m-1",
        "choices": [{"message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }


async def answers(request: HttpRequest) -> Reply:
    return Reply(body=says(ANSWER))


def is_cheap(context: Context) -> bool:
    return context.tier is not None and context.tier.name == "small"


@validator("picky", at=0.5)
def picky(answer: Answer[Any], context: Context) -> Verdict:
    """Rejects the cheap tier's answers, and quotes them."""
    score = 0.1 if is_cheap(context) else 0.9
    return Verdict.scored(score, feedback=f"too short: {answer.text}", value=answer.text)


def crashes(answer: Answer[Any], context: Context) -> Verdict:
    """Quotes the answer in an error."""
    if is_cheap(context):
        raise ValueError(f"what is {answer.text}")
    return Verdict.passed()


def tier(name: str, address: str, model: str = "openai:m", **options: Any) -> Tier:
    return Tier(
        name,
        model=model,
        base_url=address,
        api_key=KEY,
        headers={"X-Customer": HEADER},
        price=USD,
        retries=Retries(1, base_s=0.001),
        **options,
    )


async def call(watch: Watch, small: Tier, large: Tier) -> Result[Any]:
    """One call with everything in it, up the ladder; and its cheap tier alone, which may raise."""
    made = Cascade(
        name="private",
        tiers=[small, large],
        validators=[picky, crashes],
        paths={"alone": Path(direct="small")},
        feedback=True,
        observers=watch.observers,
    )
    labels = {"customer": METADATA}
    result = await made.run({"messages": MESSAGES, "tools": TOOLS}, metadata=labels)
    body = {"messages": MESSAGES, "tools": TOOLS}
    try:
        watch.keep(await made.run(body, path="alone", metadata=labels))
    except NoAnswerError as error:
        watch.keep(error)
    watch.keep(result, made, made.plan("alone"), small, large, *watch.observers)
    return result


def arrived(server: Server) -> set[str]:
    """The marks that a server was sent."""
    sent = "".join(f"{dict(r.headers)} {r.body.decode()}" for r in server.requests)
    return {mark for mark in SENT if mark in sent}


@asynccontextmanager
async def two_servers(broken: Handler) -> AsyncIterator[tuple[Server, Server]]:
    async with serve(broken) as faulty, serve(answers) as good:
        yield faulty, good
        await close_connections()


# What takes tens of megabytes is left to the fault table.
ROWS = [fault for fault in FAULTS if fault.patience_s < 60 and "bomb" not in fault.name]


@pytest.mark.parametrize("fault", ROWS, ids=lambda fault: fault.name)
async def test_a_provider_that_breaks_gives_nothing_away(fault: Fault, watch: Watch) -> None:
    async def broken(request: HttpRequest) -> Any:
        return Reset() if fault.send is None else fault.send()

    options: dict[str, Any] = {"timeout_s": fault.patience_s, "first_token_s": fault.first_token_s}
    async with two_servers(broken) as (faulty, good):
        small, large = tier("small", faulty.url, **options), tier("large", good.url)
        with structured(watch.events):
            result = await call(watch, small, large)
        assert arrived(good) == set(SENT)
    assert result.value == ANSWER
    assert watch.events
    await anyio.to_thread.run_sync(watch.check)


STATUSES = (400, 401, 403, 404, 408, 413, 422, 429, 500, 503, 529)
FORMATS = ("openai:m", "anthropic:m")


def quotes(status: int) -> Handler:
    """A server that sends all it was sent back, in the body and the headers of an error."""

    async def handle(request: HttpRequest) -> Reply:
        quoted = f"{dict(request.headers)} {request.body.decode()}"
        error = {"type": KEY, "code": PROMPT, "param": SYSTEM, "message": quoted}
        headers = {"X-Echo": KEY, "Retry-After": "0", "X-Request-Id": HEADER}
        return Reply(status, {"type": "error", "error": error}, headers)

    return handle


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("model", FORMATS)
async def test_a_provider_that_quotes_gives_nothing_away(
    status: int, model: str, watch: Watch
) -> None:
    async with two_servers(quotes(status)) as (faulty, good):
        result = await call(watch, tier("small", faulty.url, model), tier("large", good.url))
        with structured(watch.events):
            await call(watch, tier("small", faulty.url, model), tier("large", good.url))
        assert arrived(faulty) == set(SENT)
    assert result.attempts[0].error is not None
    await anyio.to_thread.run_sync(watch.check)


async def test_answers_that_are_rejected_give_nothing_away(watch: Watch) -> None:
    async with two_servers(answers) as (cheap, good):
        result = await call(watch, tier("small", cheap.url), tier("large", good.url))
        with structured(watch.events):
            await call(watch, tier("small", cheap.url), tier("large", good.url))
        # The rejected answer was handed on, with what was wrong with it.
        assert any(ANSWER in request.body.decode() for request in good.requests)
    assert [a.outcome for a in result.attempts] == ["rejected", "accepted"]
    assert ANSWER in str(result.attempts[0].feedback)
    await anyio.to_thread.run_sync(watch.check)


class OwnError(Exception):
    """What the caller's own code raises; its words are the caller's, and none of ours."""


@pytest.mark.parametrize("host", [nullcontext, structured], ids=["standard", "structlog"])
async def test_what_the_callers_code_raises_is_told_by_its_name(
    host: Callable[[list[Any]], AbstractContextManager[object]], watch: Watch
) -> None:
    @cascade(name="private", tiers=[Tier("own", price=USD)], observers=watch.observers)
    async def ask(tier: Tier, question: str) -> str:
        raise OwnError(f"{OWN_ERROR}: {question}")

    with host(watch.events):
        with pytest.raises(CascadeExhausted) as raised:
            await ask.tagged(customer=METADATA)(PROMPT)
    # The caller's own error comes along as the cause, as it was raised.
    assert OWN_ERROR in str(raised.value.__cause__)
    watch.keep(str(raised.value), repr(raised.value), repr(raised.value.result), ask)
    await anyio.to_thread.run_sync(watch.check)
    assert "OwnError" in watch.told()
    assert "OwnError" in watch.stored()


async def test_a_call_that_is_cancelled_gives_nothing_away(watch: Watch) -> None:
    asked = anyio.Event()

    async def hangs(request: HttpRequest) -> Reply:
        asked.set()
        await anyio.sleep_forever()
        raise AssertionError

    async with two_servers(hangs) as (faulty, good):
        small, large = tier("small", faulty.url), tier("large", good.url)
        async with anyio.create_task_group() as group:
            group.start_soon(call, watch, small, large)
            await asked.wait()
            group.cancel_scope.cancel()
    watch.keep(small, large)
    await anyio.to_thread.run_sync(watch.check)
    assert "cancelled" in watch.told()


async def test_the_marks_are_found_where_they_are(tmp_path: FilePath) -> None:
    ledger = Ledger(tmp_path / "ledger.db", content="answers")
    async with two_servers(answers) as (_, good):
        made = Cascade(tiers=[tier("large", good.url)], observers=[ledger])
        await made.run(PROMPT)
    await anyio.to_thread.run_sync(ledger.close)
    stored = (tmp_path / "ledger.db").read_bytes().decode("latin-1")
    assert [mark for mark in MARKS if mark in stored] == [ANSWER]
