"""What a Prometheus server fetches, over a real socket, read by its client's own parser."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any
from wsgiref.simple_server import WSGIServer, make_server

import anyio
import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse

from cascade import (
    Answer,
    Breaker,
    Cascade,
    CascadeExhausted,
    Limits,
    Path,
    ProviderError,
    Usage,
)
from cascade.telemetry import Prometheus
from cascade.telemetry.measures import METRICS
from cascade.telemetry.serving import ServedPrometheus
from cascade.testing import HANG
from tests.telemetry.support import good, scripted


def fetched(port: int, **headers: str) -> dict[str, Family]:
    """What a server gets from there, by the names of metrics."""
    reply = httpx.get(f"http://127.0.0.1:{port}/metrics", headers=headers, trust_env=False)
    assert reply.status_code == 200
    is_open = "openmetrics" in reply.headers["content-type"]
    return {family.name: family for family in (parse_openmetrics if is_open else parse)(reply.text)}


def value(families: dict[str, Family], sample: str, **labels: str) -> float | None:
    """The value of one series. None: there is none."""
    for family in families.values():
        for one in family.samples:
            if one.name == sample and one.labels == labels:
                return one.value
    return None


@pytest.fixture
def metrics() -> Prometheus:
    return Prometheus(CollectorRegistry())


@pytest.mark.parametrize(
    "accepts", ["text/plain", "application/openmetrics-text; version=1.0.0"], ids=["text", "open"]
)
@pytest.mark.anyio
async def test_a_scrape_reads_as_the_calls_were(metrics: Prometheus, accepts: str) -> None:
    bad = Answer("bad", usage=Usage(100, 10))
    made = Cascade(
        name="support",
        tiers=[
            scripted("small", bad, limits=Limits(concurrency=8)),
            scripted("large", Answer("good", usage=Usage(1000, 100)), breaker=Breaker()),
        ],
        validators=[good],
        paths={"chat": Path(budget_s=30.0)},
        observers=[metrics],
    )
    for _ in range(3):
        await made.run("?", path="chat")
    with metrics.serve(0) as serving:
        families = await anyio.to_thread.run_sync(lambda: fetched(serving.port, accept=accepts))
    call = {"cascade": "support", "path": "chat"}
    assert (
        value(
            families,
            "cascade_requests_total",
            **call,
            tier="large",
            reason="accepted",
            nested="false",
        )
        == 3
    )
    left = {"from": "small", "to": "large", "reason": "good"}
    assert value(families, "cascade_escalations_total", **call, **left) == 3
    how = {"accepted": "true", "escalated": "true"}
    assert value(families, "cascade_duration_seconds_count", **call, **how) == 3
    assert value(families, "cascade_budget_used_ratio_count", **call, accepted="true") == 3
    # 100 x 1 + 10 x 2 and 1,000 x 1 + 100 x 2 USD per million tokens, three times.
    for tier, usd in (("small", 0.00036), ("large", 0.0036)):
        cost = {**call, "tier": tier, "purpose": "answer", "nested": "false"}
        assert value(families, "cascade_cost_usd_total", **cost) == pytest.approx(usd)
    tokens = {"tier": "large", "kind": "output", "nested": "false"}
    assert value(families, "cascade_tokens_total", **tokens) == 300
    verdicts = {"validator": "good", "tier": "small", "status": "failed"}
    assert value(families, "cascade_validator_verdicts_total", **verdicts) == 3
    assert value(families, "cascade_validator_duration_seconds_count", validator="good") == 6
    queued = {"cascade": "support", "tier": "small"}
    assert value(families, "cascade_attempt_queue_seconds_count", **queued) == 3
    attempts = {"cascade": "support", "tier": "small", "outcome": "rejected"}
    assert value(families, "cascade_attempt_duration_seconds_count", **attempts) == 3
    # Every family has the type and the words of the table.
    table = {metric.prometheus_name: metric for metric in METRICS}
    # The older format has the time a series began as a family of its own.
    families = {name: one for name, one in families.items() if not name.endswith("_created")}
    for name, family in families.items():
        assert (family.type, family.documentation) == (table[name].kind, table[name].description)
        assert all(
            sample.labels.keys() - {"le"} == set(table[name].labels) for sample in family.samples
        )
    assert families.keys() == table.keys() - {"cascade_ledger_lost"}


@pytest.mark.anyio
async def test_circuits_are_read_as_they_are_when_somebody_looks(metrics: Prometheus) -> None:
    now = 0.0

    def clock() -> float:
        return now

    breaker = Breaker(consecutive=1, open_s=10.0, clock=clock)
    tier = scripted("fragile", ProviderError("x"), "fine", breaker=breaker)
    made = Cascade(tiers=[tier], observers=[metrics])
    lane = {"tier": "fragile", "deployment": "fragile-1"}

    def state() -> float | None:
        return value(fetched(serving.port), "cascade_breaker_state", **lane)

    with metrics.serve(0) as serving:
        with pytest.raises(CascadeExhausted):
            await made.run("?")
        assert await anyio.to_thread.run_sync(state) == 2
        now = 10.0
        assert await anyio.to_thread.run_sync(state) == 1
        await made.run("?")
        assert await anyio.to_thread.run_sync(state) == 0
        del made, tier
        gc.collect()
        assert await anyio.to_thread.run_sync(state) is None


@pytest.mark.anyio
async def test_a_queue_is_as_deep_as_what_waits_in_it(metrics: Prometheus) -> None:
    tier = scripted("narrow", HANG, limits=Limits(concurrency=1))
    made = Cascade(tiers=[tier], observers=[metrics])

    def depth() -> float | None:
        return value(fetched(serving.port), "cascade_queue_depth", tier="narrow")

    with metrics.serve(0) as serving:
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(made.run, "?")
            await anyio.wait_all_tasks_blocked()
            assert await anyio.to_thread.run_sync(depth) == 3
            group.cancel_scope.cancel()
        assert await anyio.to_thread.run_sync(depth) == 0


def test_what_ledgers_lost_is_told() -> None:
    class Lossy:
        lost = 7

    registry = CollectorRegistry()
    metrics = Prometheus(registry, ledgers=[Lossy(), Lossy()])
    with metrics.serve(0) as serving:
        assert value(fetched(serving.port), "cascade_ledger_lost_total") == 14


@pytest.mark.anyio
async def test_several_of_one_registry_share_its_metrics() -> None:
    registry = CollectorRegistry()
    for _ in range(2):
        made = Cascade(tiers=[scripted("a", "x")], observers=[Prometheus(registry)])
        await made.run("?")
    labels = {"cascade": "none", "path": "none", "tier": "a", "reason": "accepted"}
    assert registry.get_sample_value("cascade_requests_total", {**labels, "nested": "false"}) == 2


def test_it_stands_beside_what_the_program_counts() -> None:
    registry = CollectorRegistry()
    Counter("mine", "Of the program.", registry=registry).inc()
    with Prometheus(registry).serve(0) as serving:
        assert value(fetched(serving.port), "mine_total") == 1


@pytest.mark.anyio
async def test_it_can_be_mounted_in_an_asgi_application(metrics: Prometheus) -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/metrics",
        "query_string": b"",
        "headers": [],
    }
    await metrics.asgi_app()(scope, receive, send)
    start, body = sent
    assert start["status"] == 200
    assert "cascade_breaker_state" in {family.name for family in parse(body["body"].decode())}


@pytest.fixture
def wsgi(metrics: Prometheus) -> Iterator[WSGIServer]:
    with make_server("127.0.0.1", 0, metrics.wsgi_app()) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        yield server
        thread.join()


def test_it_can_be_mounted_in_a_wsgi_application(wsgi: WSGIServer) -> None:
    assert "cascade_breaker_state" in fetched(wsgi.server_port)


def test_it_listens_on_this_machine_alone_unless_told_otherwise(metrics: Prometheus) -> None:
    with metrics.serve(0) as serving:
        assert serving.address[0] == "127.0.0.1"
    with pytest.raises(httpx.ConnectError):
        fetched(serving.port)


def test_an_address_that_is_taken_is_told(metrics: Prometheus) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(OSError, match="in use"):
            metrics.serve(taken.getsockname()[1])


@pytest.mark.anyio
async def test_it_is_served_from_the_first_call_on(metrics: Prometheus) -> None:
    served = ServedPrometheus(metrics, 0, "127.0.0.1")
    assert served.serving() is None
    await Cascade(tiers=[scripted("a", "x")], observers=[served]).run("?")
    serving = await anyio.to_thread.run_sync(served.serving)
    assert serving is not None
    families = await anyio.to_thread.run_sync(fetched, serving.port)
    assert "cascade_requests" in families
    # Another one for the same address finds it served.
    other = ServedPrometheus(metrics, 0, "127.0.0.1")
    await Cascade(tiers=[scripted("a", "x")], observers=[other]).run("?")
    assert await anyio.to_thread.run_sync(other.serving) is serving
    await anyio.to_thread.run_sync(serving.close)
    assert await anyio.to_thread.run_sync(other.serving) is None


@pytest.mark.anyio
async def test_an_address_that_is_taken_is_no_calls_problem(
    metrics: Prometheus, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        served = ServedPrometheus(metrics, port, "127.0.0.1")
        result = await Cascade(tiers=[scripted("a", "x")], observers=[served]).run("?")
        assert await anyio.to_thread.run_sync(served.serving) is None
    assert result.accepted
    assert [record.getMessage() for record in caplog.records] == [
        f"metrics_not_served host='127.0.0.1' port={port} error='OSError'"
    ]


WORKER = """
import os, sys, anyio
from cascade import Cascade, Tier
from cascade.telemetry import Prometheus
from cascade.testing import Scripted
made = Cascade(tiers=[Tier("a", call=Scripted("x"))], observers=[Prometheus()])
child = os.fork()
for _ in range(2 if child else 3):
    anyio.run(made.run, "?")
if child:
    assert os.waitpid(child, 0)[1] == 0
    from urllib.request import urlopen
    with Prometheus().serve(0) as serving:
        print(urlopen(f"http://127.0.0.1:{serving.port}/metrics").read().decode())
"""


def test_several_processes_are_added_up(tmp_path: FilePath) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WORKER],
        env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    families = {family.name: family for family in parse(done.stdout)}
    labels = {"cascade": "none", "path": "none", "tier": "a", "reason": "accepted"}
    assert value(families, "cascade_requests_total", **labels, nested="false") == 5
    how = {"cascade": "none", "path": "none", "accepted": "true", "escalated": "false"}
    assert value(families, "cascade_duration_seconds_count", **how) == 5


def test_it_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from cascade.errors import ConfigError\n"
        "from cascade.telemetry import Prometheus\n"
        "try: Prometheus()\n"
        "except ConfigError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert 'pip install "cascade-engine[prometheus]"' in done.stdout
