from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog
from structlog.testing import LogCapture

from cascade import Answer, Cascade, Path, Price, ProviderError, Tier, Usage, tenant
from cascade.logs import warn
from cascade.testing import Scripted


@pytest.fixture
def captured() -> Iterator[LogCapture]:
    """What the processors of a host that configured structlog receive."""
    capture = LogCapture()
    structlog.configure(processors=[capture])
    yield capture
    structlog.reset_defaults()


def test_a_host_without_structlog_gets_records_of_its_own_logging(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        warn("attempt_failed", tier="small", error="ServerError")
    assert [(r.name, r.levelname, r.getMessage()) for r in caplog.records] == [
        ("cascade", "WARNING", "attempt_failed tier='small' error='ServerError'")
    ]


def test_a_level_above_warnings_is_respected(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, logger="cascade"):
        warn("attempt_failed", tier="small")
    assert caplog.records == []


def test_a_host_with_structlog_gets_events(
    captured: LogCapture, caplog: pytest.LogCaptureFixture
) -> None:
    warn("attempt_failed", tier="small")
    assert captured.entries == [
        {"event": "attempt_failed", "tier": "small", "log_level": "warning"}
    ]
    assert caplog.records == []


def test_an_unconfigured_program_sees_nothing() -> None:
    script = "from cascade.logs import warn; warn('attempt_failed', tier='small')"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.anyio
async def test_what_breaks_in_a_call_is_logged_by_name(captured: LogCapture) -> None:
    def crashes(answer: object, context: object) -> bool:
        raise ZeroDivisionError("secret")

    def says_nothing(answer: object, context: object) -> object:
        return ["secret"]

    made = Cascade(
        tiers=[Tier("a", call=Scripted(ProviderError("secret"))), Tier("b", call=Scripted("x"))],
        validators=[crashes, says_nothing],  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
        name="c",
        on_exhausted="best",
    )
    await made.run("secret")
    warnings = [entry for entry in captured.entries if entry.pop("log_level") == "warning"]
    assert warnings == [
        {
            "event": "attempt_failed",
            "cascade": "c",
            "path": None,
            "tier": "a",
            "error": "ProviderError",
        },
        {"event": "validator_crashed", "validator": "crashes", "error": "ZeroDivisionError"},
        {"event": "validator_gave_no_verdict", "validator": "says_nothing", "type": "list"},
    ]


def free(name: str, *steps: object) -> Tier:
    return Tier(name, call=Scripted(*steps), price=Price.free())


def logged_cascade() -> Cascade:
    return Cascade(
        tiers=[free("a", ProviderError("secret")), free("b", Answer("secret", usage=Usage(3, 4)))],
        name="c",
        paths={"p": Path()},
    )


@pytest.mark.anyio
async def test_a_call_is_one_event_and_each_attempt_one_at_debug(captured: LogCapture) -> None:
    with tenant("acme"):
        result = await logged_cascade().run("secret", path="p", metadata={"mail": "secret"})
    infos = [entry for entry in captured.entries if entry["log_level"] == "info"]
    debugs = [entry for entry in captured.entries if entry["log_level"] == "debug"]
    assert infos == [
        {
            "event": "call",
            "log_level": "info",
            "id": result.id,
            "cascade": "c",
            "path": "p",
            "rule": None,
            "policy": None,
            "accepted": True,
            "tier": "b",
            "reason": "accepted",
            "escalations": 1,
            "latency_s": round(result.latency_s, 6),
            "cost_usd": "0",
            "input_tokens": None,
            "output_tokens": None,
            "tenant": "acme",
        }
    ]
    assert [(d["id"], d["number"], d["tier"], d["outcome"], d["reason"]) for d in debugs] == [
        (result.id, 0, "a", "failed", "ProviderError"),
        (result.id, 1, "b", "accepted", ""),
    ]
    assert "secret" not in str(captured.entries)


@pytest.mark.anyio
async def test_standard_logging_gets_calls_from_info_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="cascade"):
        await logged_cascade().run("secret")
    events = [record.getMessage().split()[0] for record in caplog.records]
    assert events == ["attempt_failed", "call"]
    assert "secret" not in caplog.text


@pytest.mark.anyio
async def test_standard_logging_below_info_hears_of_no_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, logger="cascade"):
        await logged_cascade().run("secret")
    assert [record.getMessage().split()[0] for record in caplog.records] == ["attempt_failed"]
