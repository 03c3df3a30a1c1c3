from __future__ import annotations

import logging
import sys
import warnings

import pytest

from cascade.context import Context
from cascade.errors import ConfigError
from cascade.types import UNSET, Answer, Verdict
from cascade.validation import Validator
from cascade.validators import python_parses, sql_parses


def judged(validator: Validator, text: str | None) -> Verdict:
    return validator.judge_inline(Answer(None, text=text), Context())


def outcome(validator: Validator, text: str | None) -> tuple[str, str]:
    verdict = judged(validator, text)
    return verdict.status, verdict.reason


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x = 1\n", "x = 1\n"),
        ("Here:\n```python\nx = 1\n```\nDone.", "x = 1\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("~~~~ Py title=a\nx = '''\n~~~\n'''\n~~~~", "x = '''\n~~~\n'''\n"),
        ("```python\nx = 1\n```\n```bash\nls -l\n```\n```py\ny = 2\n```", "x = 1\n\n\ny = 2\n"),
        ("1. Do\n   ```python\n   if x:\n       y()\n   ```", "if x:\n    y()\n"),
        ("```python\nx = 1", "x = 1"),
        ("Use ```x``` so:\n```python\nx\n```", "x\n"),
    ],
)
def test_python_is_found_and_handed_on(text: str, code: str) -> None:
    verdict = judged(python_parses(), text)
    assert verdict.status == "passed"
    assert verdict.value == code


@pytest.mark.parametrize(
    ("text", "line"),
    [("```python\nx = 1\nif:\n```", "line 2"), ("Sure, here it is!", "line 1"), ("a\0b", "null")],
)
def test_what_does_not_parse_fails_with_its_line(text: str, line: str) -> None:
    verdict = judged(python_parses(), text)
    assert (verdict.status, verdict.reason) == ("failed", "not_python")
    assert line in (verdict.feedback or "")
    assert verdict.value is UNSET


def test_python_that_cannot_be_judged() -> None:
    assert outcome(python_parses(), "```bash\nls\n```") == ("failed", "no_code")
    assert outcome(python_parses(), "```python\n\n```") == ("failed", "no_code")
    assert outcome(python_parses(), "x = '\ud800'") == ("failed", "not_python")
    assert outcome(python_parses(), "1+" * 40_000 + "1") == ("abstained", "too_deep")
    assert outcome(python_parses(max_chars=4), "x = 1") == ("abstained", "too_long")
    assert outcome(python_parses(), None) == ("abstained", "no_text")


def test_parsing_warns_nobody_and_leaves_other_warnings_alone() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert outcome(python_parses(), "x = '\\d'; y = 1or 2")[0] == "passed"
        assert caught == []
        compile("x = '\\d'", "other.py", "exec")
        assert len(caught) == 1


def test_nothing_is_executed(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("run") / "made"
    assert outcome(python_parses(), f"open({str(file)!r}, 'w')")[0] == "passed"
    assert not file.exists()


@pytest.mark.parametrize(
    "text",
    [
        "SELECT a FROM t WHERE b = 'x;y'",
        "select 1; -- done",
        "```sql\nSELECT 1 UNION SELECT 2;\n```",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "(SELECT 1)",
        "/* why */ SELECT 1",
    ],
)
def test_selects_pass_and_are_handed_on(text: str) -> None:
    verdict = judged(sql_parses(), text)
    assert verdict.status == "passed"
    assert "SELECT" in verdict.value.upper()


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM t",
        "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
        "WITH x AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM x",
        "SELECT * INTO a FROM t",
        "CREATE TABLE t AS SELECT 1",
        "DROP TABLE t",
        "EXPLAIN SELECT 1",
        "CALL purge()",
        "SET x = 1",
        "COPY t TO '/tmp/x'",
        "VACUUM",
        "hello",
    ],
)
def test_other_statements_are_not_allowed(text: str) -> None:
    assert outcome(sql_parses("postgres"), text) == ("failed", "not_allowed")


def test_other_kinds_can_be_allowed() -> None:
    writing = sql_parses(roots=["insert", "delete"])
    assert outcome(writing, "INSERT INTO t SELECT * FROM u")[0] == "passed"
    assert outcome(writing, "DELETE FROM t WHERE a = 1")[0] == "passed"
    assert outcome(writing, "SELECT 1") == ("failed", "not_allowed")
    assert outcome(writing, "UPDATE t SET a = 1") == ("failed", "not_allowed")
    both = sql_parses("postgres", roots=["select", "delete"])
    assert outcome(both, "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x")[0] == "passed"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("SELECT 1; DROP TABLE t", "several_statements"),
        ("```sql\nSELECT 1\n```\n```sql\n; SELECT 2\n```", "several_statements"),
        ("SELECT 1 /*! INTO OUTFILE '/tmp/x' */", "executed_comment"),
        ("SELECT a FROM", "not_sql"),
        ("SELECT 'a", "not_sql"),
        ("-- nothing", "not_sql"),
        ("I cannot do that", "not_sql"),
        ("```python\nx\n```", "no_code"),
    ],
)
def test_what_is_no_single_statement_fails(text: str, reason: str) -> None:
    verdict = judged(sql_parses(), text)
    assert (verdict.status, verdict.reason) == ("failed", reason)
    assert verdict.feedback
    assert "\x1b" not in verdict.feedback


def test_feedback_tells_the_place() -> None:
    assert "line 2, column" in (judged(sql_parses(), "SELECT a\nFROM t WHERE )").feedback or "")


def test_the_dialect_matters() -> None:
    text = "```mysql\nSELECT `a` FROM `t`\n```"
    assert outcome(sql_parses("mysql"), text)[0] == "passed"
    assert outcome(sql_parses("postgres"), text) == ("failed", "no_code")


def test_sql_that_cannot_be_judged_abstains() -> None:
    assert outcome(sql_parses(), "SELECT " + "(" * 3000) == ("abstained", "too_deep")
    assert outcome(sql_parses(max_chars=5), "SELECT 1") == ("abstained", "too_long")
    assert outcome(sql_parses(), " ") == ("abstained", "no_text")


def test_the_statement_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    import sqlglot

    caplog.set_level(logging.DEBUG)
    judged(sql_parses(), "EXPLAIN SELECT private FROM t")
    assert caplog.text == ""
    sqlglot.parse("EXPLAIN SELECT public FROM t")  # other users of the parser keep their log
    assert "public" in caplog.text


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="did you mean 'postgres'"):
        sql_parses("postgress")
    with pytest.raises(ConfigError, match="did you mean 'select'"):
        sql_parses(roots=["selects"])
    with pytest.raises(ConfigError, match="empty"):
        sql_parses(roots=[])
    with pytest.raises(ConfigError, match="max_chars"):
        sql_parses(max_chars=0)
    with pytest.raises(ConfigError, match="max_chars"):
        python_parses(max_chars=True)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlglot", None)
    with pytest.raises(ConfigError, match=r"cascade-engine\[sql\]"):
        sql_parses()
