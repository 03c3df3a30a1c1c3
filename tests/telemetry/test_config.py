"""[telemetry] in a cascade.toml."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import anyio
import httpx
import pytest

from cascade.config import ConfigFileError, load
from cascade.config.mistakes import Mistakes
from cascade.telemetry import OpenTelemetry, Prometheus
from cascade.telemetry.serving import ServedPrometheus

CASCADES = """
[tiers.small]
model = "simulated:sim-small"
price = { input = 0.05, output = 0.4 }
[cascades.one]
tiers = ["small"]
[cascades.two]
tiers = ["small"]
"""


def written(folder: Path, telemetry: str) -> Path:
    file = folder / "cascade.toml"
    file.write_text(f"{CASCADES}\n[telemetry]\n{telemetry}\n", encoding="utf-8")
    return file


def test_all_cascades_of_a_file_are_measured_at_its_address(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = written(tmp_path, f'prometheus = "127.0.0.1:{port}"\n[ledger]\njsonl = "calls.jsonl"')
    config = load(file)

    async def main() -> None:
        for name in ("one", "two"):
            await config.cascade(name).run("Hello")

    anyio.run(main)
    (served,) = config.telemetry(Mistakes(""))
    assert isinstance(served, ServedPrometheus)
    serving = served.serving()
    assert serving is not None
    with serving:
        shown = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    for name in ("one", "two"):
        assert f'cascade_requests_total{{cascade="{name}"' in shown
    assert "cascade_ledger_lost_total 0.0" in shown
    assert len((tmp_path / "calls.jsonl").read_text().splitlines()) == 2
    for recorder in config.recorders(Mistakes("")):
        recorder.close()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def test_both_can_be_had(tmp_path: Path) -> None:
    config = load(written(tmp_path, "otel = true\nprometheus = true"))
    kinds = [type(one) for one in config.telemetry(Mistakes(""))]
    assert kinds == [OpenTelemetry, Prometheus]
    assert config.cascade("one").plan().observers.is_tracing


def test_an_address_may_be_of_the_new_kind(tmp_path: Path) -> None:
    (served,) = load(written(tmp_path, 'prometheus = "[::1]:9464"')).telemetry(Mistakes(""))
    assert isinstance(served, ServedPrometheus)
    assert served.address == ("::1", 9464)


@pytest.mark.parametrize(
    ("telemetry", "place", "message"),
    [
        ("", "telemetry", "it asks for nothing"),
        ("otel = false", "telemetry", "write otel = true or prometheus = true"),
        ('prometheus = "9464"', "telemetry.prometheus", "'HOST:PORT', true or false"),
        ('prometheus = "host:99999"', "telemetry.prometheus", "'HOST:PORT', true or false"),
        ('prometheus = "host:http"', "telemetry.prometheus", "'HOST:PORT', true or false"),
        ("prometheus = 9464", "telemetry.prometheus", "string"),
        ("prometheus = true\nport = 9464", "telemetry.port", "no such key"),
    ],
)
def test_what_cannot_work_is_told(tmp_path: Path, telemetry: str, place: str, message: str) -> None:
    with pytest.raises(ConfigFileError) as raised:
        load(written(tmp_path, telemetry)).cascade("one")
    (mistake,) = raised.value.mistakes
    assert mistake.place == place
    assert message in mistake.message


def test_the_schema_knows_the_table() -> None:
    schema = json.loads(
        (Path(__file__).resolve().parents[2] / "docs" / "cascade.schema.json").read_text("utf-8")
    )
    assert set(schema["$defs"]["TelemetryTable"]["properties"]) == {"otel", "prometheus"}
