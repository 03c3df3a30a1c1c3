"""[ledger] in a cascade.toml, and `cascade ledger`."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from cascade.cli.app import run_command
from cascade.config import ConfigFileError, load
from cascade.config.mistakes import Mistakes
from cascade.ledger import JsonLines, Ledger
from tests.ledger.support import result
from tests.postgres import PASSWORD, PostgresServer

CASCADES = """
[tiers.small]
model = "simulated:sim-small"
price = { input = 0.05, output = 0.4 }
[cascades.one]
tiers = ["small"]
[cascades.two]
tiers = ["small"]
"""


def written(folder: Path, ledger: str) -> Path:
    file = folder / "cascade.toml"
    file.write_text(f"{CASCADES}\n[ledger]\n{ledger}\n", encoding="utf-8")
    return file


def test_all_cascades_of_a_file_are_recorded(tmp_path: Path) -> None:
    file = written(tmp_path, 'url = "sqlite:ledger.db"\njsonl = "calls.jsonl"')
    config = load(file)

    async def main() -> None:
        for name in ("one", "two"):
            await config.cascade(name).run("Hello")

    anyio.run(main)
    for recorder in config.recorders(Mistakes("")):
        assert isinstance(recorder, Ledger | JsonLines)
        assert recorder.close()
    with Ledger.open_for_reading(tmp_path / "ledger.db") as reader:
        assert [call.cascade for call in reader.calls()] == ["one", "two"]
    assert len((tmp_path / "calls.jsonl").read_text().splitlines()) == 2


def test_content_is_redacted_by_functions_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "ledger_redactions.py").write_text(
        "def nameless(text):\n    return text.replace('Ada', '[name]')\n", encoding="utf-8"
    )
    options = 'content = "all"\nredact = ["ledger_redactions:nameless"]'
    config = load(written(tmp_path, f'url = "sqlite:ledger.db"\njsonl = "calls.jsonl"\n{options}'))
    anyio.run(config.cascade("one").run, "Hello Ada")
    for recorder in config.recorders(Mistakes("")):
        assert isinstance(recorder, Ledger | JsonLines)
        assert recorder.close()
    with Ledger.open_for_reading(tmp_path / "ledger.db") as reader:
        (call,) = reader.calls(with_content=True)
    assert call.request is not None
    assert call.request["messages"] == [{"role": "user", "content": "Hello [name]"}]
    line = json.loads((tmp_path / "calls.jsonl").read_text())
    assert (line["request"], line["attempts"][0]["answer"]) == (
        call.request,
        call.attempts[0].answer,
    )


@pytest.mark.parametrize(
    ("ledger", "place", "message"),
    [
        ("", "ledger", "it says not where"),
        ('url = "ledger.db"\nurl_env = "X"', "ledger", "both url and url_env"),
        ('url_env = "NO_SUCH_LEDGER_URL"', "ledger.url_env", "NO_SUCH_LEDGER_URL is not set"),
        ('url = "postgresql://u:hunter2@h/d"', "ledger.url", "into url_env"),
        ('url_env = "postgresql://u:hunter2@h/d"', "ledger.url_env", "name of an environment"),
        ('url = "mysql:x"', "ledger", "begins with 'mysql'"),
        ('url = "sqlite:no/such/ledger.db"', "ledger", "no folder"),
        ('jsonl = "no/such/calls.jsonl"', "ledger.jsonl", "no folder"),
        ('jsonl = "x"\nretention_days = 3', "ledger.retention_days", "no effect without url"),
        ('url = "sqlite:x.db"\ncontent_days = 3', "ledger", "content_days has no effect"),
        ('url = "sqlite:x.db"\ncontent = "some"', "ledger.content", "'answers'"),
        ('url = "sqlite:x.db"\nredact = ["x:y"]', "ledger.redact[0]", "cannot be imported"),
        ('url = "sqlite:x.db"\nredact = ["json:y"]', "ledger.redact[0]", "no function 'y'"),
        ('url = "sqlite:x.db"\nredact = ["json"]', "ledger.redact[0]", "'module:function'"),
        ('url = "sqlite:x.db"\nredact = ["json:dumps"]', "ledger", "redact has no effect"),
        ('url = "sqlite:x.db"\nretention_days = 0', "ledger.retention_days", "greater than 0"),
    ],
)
def test_mistakes_are_told_with_their_place(
    tmp_path: Path, ledger: str, place: str, message: str
) -> None:
    file = written(tmp_path, ledger)
    with pytest.raises(ConfigFileError) as raised:
        load(file).cascade("one")
    found = {mistake.place: mistake.message for mistake in raised.value.mistakes}
    assert message in found[place]
    assert "hunter2" not in str(raised.value)


def test_an_address_with_a_password_comes_from_the_environment(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEDGER_URL", postgres.new_database())
    config = load(written(tmp_path, 'url_env = "LEDGER_URL"'))
    anyio.run(config.cascade("one").run, "Hello")
    (ledger,) = config.recorders(Mistakes(""))
    assert isinstance(ledger, Ledger)
    assert ledger.close()
    assert PASSWORD not in repr(ledger)
    with ledger.reader() as reader:
        assert reader.last_seq() == 1


class TestCommand:
    def test_what_a_ledger_holds(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        config = str(written(tmp_path, 'url = "sqlite:ledger.db"'))
        assert run_command(["ledger", "upgrade", "--config", config, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"version_before": None, "version": "0001"}
        assert run_command(["ledger", "--config", config]) == 0
        assert "no calls yet" in capsys.readouterr().out
        with Ledger(tmp_path / "ledger.db") as ledger:
            ledger.record(result(started_at=0))
            ledger.record(result("a-2", started_at=86_400))
        assert run_command(["ledger", "info", "--config", config]) == 0
        out = capsys.readouterr().out
        assert "2 calls, from 1970-01-01 00:00:00 to 1970-01-02 00:00:00 UTC" in out
        assert run_command(["ledger", "prune", "--days", "1", "--config", config]) == 0
        assert capsys.readouterr().out == "2 calls deleted\n"

    def test_what_came_of_answers_is_recorded_from_a_file(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        config = str(written(tmp_path, 'url = "sqlite:ledger.db"'))
        file = tmp_path / "outcomes.jsonl"
        with Ledger(tmp_path / "ledger.db") as ledger:
            ledger.record(result("a-1"))
            ledger.record(result("a-2"))
        rows = [
            {"call_id": "a-1", "correct": True},
            {"call_id": "a-2", "score": 0.25, "label": "re\u2028funded", "by": "grader"},
            {"call_id": "b-1", "correct": False},
        ]
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        file.write_text("\n\n".join(lines), encoding="utf-8")
        judge = ["ledger", "judge", "--config", config, "--outcomes", str(file)]
        assert run_command([*judge, "--teller", "crm"]) == 0
        said = "3 outcomes recorded, of 2 calls, and of 1 that the ledger does not have (yet)\n"
        assert capsys.readouterr().out == said
        with Ledger.open_for_reading(tmp_path / "ledger.db") as reader:
            told = [call.outcomes for call in reader.calls()]
        kept = {(one.by, one.correct, one.score, one.label) for many in told for one in many}
        assert kept == {("crm", True, None, None), ("grader", None, 0.25, "re\u2028funded")}
        assert run_command([*judge, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"outcomes": 3, "calls": 2, "unknown": 1}

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("{", "line 2 is not valid JSON"),
            ("[]", "line 2 is not a JSON object"),
            ('{"call": "a-1"}', "line 2: an outcome has no 'call'; did you mean 'call_id'?"),
            ('{"correct": true}', "line 2: an outcome is for the call ''"),
            ('{"call_id": "a-1"}', "line 2: an outcome says nothing"),
            ('{"call_id": "a-1", "score": 7}', "line 2: an outcome has score=7"),
        ],
    )
    def test_of_a_file_with_a_mistake_nothing_is_recorded(
        self, tmp_path: Path, line: str, message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "outcomes.jsonl"
        file.write_text(f'{{"call_id": "a-1", "correct": true}}\n{line}\n')
        with Ledger(tmp_path / "ledger.db") as ledger:
            ledger.record(result("a-1"))
        source = f"sqlite:{tmp_path / 'ledger.db'}"
        assert run_command(["ledger", "judge", "--ledger", source, "--outcomes", str(file)]) == 2
        assert message in capsys.readouterr().err
        with Ledger.open_for_reading(tmp_path / "ledger.db") as reader:
            assert [call.correct for call in reader.calls()] == [None]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--ledger", "no-such.db"], "there is no ledger"),
            (["judge"], "--outcomes goes with judge"),
            (["info", "--teller", "me"], "info takes none of judge's options"),
            (
                ["judge", "--ledger", "no-such.db", "--outcomes", "no-such.jsonl"],
                "--outcomes no-such.jsonl cannot be read",
            ),
            (["prune"], "--days goes with prune"),
            (["info", "--days", "3"], "--days goes with prune"),
            (["--config", "no-such.toml"], "there is no file"),
            (["--ledger", "postgresql://u:hunter2@127.0.0.1:1/d"], "cannot be used"),
            (["upgrade", "--ledger", "postgresql://u:hunter2@127.0.0.1:1/d"], "cannot be used"),
        ],
    )
    def test_mistakes(
        self, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run_command(["ledger", *arguments]) == 2
        said = capsys.readouterr()
        assert message in said.err
        assert "hunter2" not in said.err + said.out

    def test_a_file_without_a_ledger(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "cascade.toml"
        file.write_text(CASCADES, encoding="utf-8")
        assert run_command(["ledger", "--config", str(file)]) == 2
        assert "names no ledger" in capsys.readouterr().err
        file.write_text(f'{CASCADES}\n[ledger]\nurl_env = "NO_SUCH_LEDGER_URL"')
        assert run_command(["ledger", "--config", str(file)]) == 2
        assert "NO_SUCH_LEDGER_URL is not set" in capsys.readouterr().err
