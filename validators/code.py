"""Code that parses: Python and SQL. Nothing is ever executed."""

from __future__ import annotations

import ast
import logging
import warnings
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from types import ModuleType
from typing import Any, Final

from cascade.errors import ConfigError, did_you_mean
from cascade.options import check_count
from cascade.types import Answer, Verdict
from cascade.validation import Check, Validator
from cascade.validators._text import check_words, code_in, shortened, text_of

__all__ = ["python_parses", "sql_parses"]

_PYTHON: Final = frozenset({"python", "python3", "py", "py3"})
_SQL: Final = frozenset({"sql", "postgresql", "psql", "pgsql", "plsql"})
_FILE: Final = "<answer>"

# The classes of sqlglot's tree that make each kind of statement.
_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "select": ("Select", "SetOperation", "Subquery", "Values"),
    "insert": ("Insert",),
    "update": ("Update",),
    "delete": ("Delete",),
    "merge": ("Merge",),
    "create": ("Create", "Into"),  # SELECT ... INTO makes a table
    "alter": ("Alter",),
    "drop": ("Drop",),
    "truncate": ("TruncateTable",),
}
# MySQL and MariaDB execute what stands in these comments; the parser skips it.
_EXECUTED_COMMENTS: Final = ("/*!", "/*M!")


def python_parses(*, max_chars: int = 100_000) -> Validator:
    """Passes when the answer is Python that parses; the accepted value is its code.

    The code is that of the blocks marked as Python, else of the unmarked ones, else the whole
    text; several blocks are one program. The grammar is the running interpreter's. Parsing says
    nothing of whether the code works, and one bare word parses.

    Args:
        max_chars: the longest code that is parsed; parsing 100,000 characters takes about 0.1 s.

    Reasons: "not_python", "no_code" (only blocks in other languages); abstains with "no_text",
    "too_long", or "too_deep" for nesting that the parser gives up on.

    Raises:
        ConfigError: `max_chars` is no count.
    """
    check_count("python_parses: max_chars", max_chars, least=1)
    return Check(
        "python_parses", lambda a, _: _judge(a, _PYTHON, max_chars, _judge_python), scored=False
    )


def _judge(
    answer: Answer[Any],
    languages: Collection[str],
    max_chars: int,
    judge: Callable[[str], Verdict],
) -> Verdict:
    text = text_of(answer)
    if text is None:
        return Verdict.abstained("no_text")
    code = code_in(text, languages)
    if code is None or not code.strip():
        return Verdict.failed("no_code", feedback="The answer holds no code in that language.")
    if len(code) > max_chars:
        return Verdict.abstained("too_long")
    try:
        return judge(code)
    except (RecursionError, MemoryError):
        return Verdict.abstained("too_deep")


def _judge_python(code: str) -> Verdict:
    # Not catch_warnings: it swaps the filters of the whole process, which threads may leave
    # swapped. This one touches what is said of this file name only.
    warnings.filterwarnings("ignore", module=_FILE)
    try:
        compile(code, _FILE, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    except SyntaxError as error:
        line = "" if error.lineno is None else f"line {error.lineno}: "
        near = f", near: {shortened(error.text)}" if error.text and error.text.strip() else ""
        feedback = f"Not valid Python: {line}{error.msg}{near}"
        return Verdict.failed("not_python", feedback=feedback)
    except ValueError:  # a null byte, or half of a surrogate pair
        feedback = "Not valid Python: it holds characters that no source code may hold."
        return Verdict.failed("not_python", feedback=feedback)
    return Verdict.passed(value=code)


def sql_parses(
    dialect: str | None = None,
    *,
    roots: Sequence[str] = ("select",),
    max_chars: int = 20_000,
) -> Validator:
    """Passes when the answer is one SQL statement of an allowed kind; the value is its text.

    The kinds are select (with its set operations, WITH and VALUES), insert, update, delete, merge,
    create, alter, drop and truncate. Statements inside the statement count too, such as a DELETE
    in a WITH. Whatever the parser does not model (CALL, EXPLAIN, SET, COPY ...) is never allowed,
    nor are MySQL's executed comments. This is no sandbox: a function that a select calls may still
    write, so give the query a user who may only read.

    The code is found as in `python_parses`, in blocks marked as SQL or with the dialect's name.

    Args:
        dialect: one of sqlglot's, such as "postgres", "mysql", "bigquery". None: a tolerant mix.
        roots: the kinds allowed.
        max_chars: the longest statement that is parsed.

    Reasons: "not_sql", "no_code", "several_statements", "not_allowed" (a kind not among `roots`),
    "executed_comment"; abstains with "no_text", "too_long" or "too_deep".

    Raises:
        ConfigError: the dialect or a kind is unknown, or the extra `sql` is not installed.
    """
    check_count("sql_parses: max_chars", max_chars, least=1)
    sqlglot = _sqlglot()
    dialects: list[str] = sorted(filter(None, sqlglot.Dialect.classes))
    if dialect is not None and dialect not in dialects:
        raise ConfigError(
            f"sql_parses: dialect {dialect!r} is unknown; {did_you_mean(str(dialect), dialects)}"
        )
    kinds = check_words("sql_parses", "roots", roots)
    for kind in kinds:
        if kind not in _KINDS:
            raise ConfigError(f"sql_parses: roots has {kind!r}; {did_you_mean(kind, _KINDS)}")
    if not kinds:
        raise ConfigError('sql_parses: roots is empty, so nothing could pass; write ["select"]')
    statements = _Statements(sqlglot, dialect, frozenset(kinds))
    languages = _SQL if dialect is None else _SQL | {dialect}
    return Check(
        "sql_parses", lambda a, _: _judge(a, languages, max_chars, statements.judge), scored=False
    )


class _Statements:
    """Which statements are allowed, in terms of sqlglot's classes."""

    __slots__ = ("_allowed", "_dialect", "_forbidden", "_kinds", "_sqlglot")

    def __init__(self, sqlglot: ModuleType, dialect: str | None, kinds: frozenset[str]) -> None:
        def classes(of: Collection[str]) -> tuple[type, ...]:
            names = (name for kind in of for name in _KINDS[kind])
            return tuple(getattr(sqlglot.exp, name) for name in names)

        self._sqlglot = sqlglot
        self._dialect = dialect
        self._kinds = kinds
        self._allowed = classes(kinds)
        # A query inside another statement (INSERT ... SELECT) is a part of it.
        written = classes(_KINDS.keys() - kinds - {"select"})
        self._forbidden = (*written, sqlglot.exp.Command, sqlglot.exp.Copy)

    def judge(self, sql: str) -> Verdict:
        if any(mark in sql for mark in _EXECUTED_COMMENTS):
            feedback = "Leave out comments that begin with /*!; some databases execute them."
            return Verdict.failed("executed_comment", feedback=feedback)
        try:
            with _silent():
                parsed: list[Any] = self._sqlglot.parse(sql, dialect=self._dialect)
        except self._sqlglot.errors.SqlglotError as error:
            return Verdict.failed("not_sql", feedback=f"Not valid SQL: {_place_of(error)}")
        found = [s for s in parsed if s is not None and not isinstance(s, self._semicolon)]
        if not found:
            return Verdict.failed("not_sql", feedback="Not valid SQL: there is no statement.")
        if len(found) > 1:
            feedback = f"Give one SQL statement, not {len(found)}."
            return Verdict.failed("several_statements", feedback=feedback)
        root = found[0]
        nodes = root.walk()
        if not isinstance(root, self._allowed) or any(
            isinstance(n, self._forbidden) for n in nodes
        ):
            feedback = (
                f"Only these kinds of statement are allowed: {', '.join(sorted(self._kinds))}."
            )
            return Verdict.failed("not_allowed", feedback=feedback)
        return Verdict.passed(value=sql)

    @property
    def _semicolon(self) -> Any:
        return self._sqlglot.exp.Semicolon  # what a comment after the last ";" becomes


def _place_of(error: Any) -> str:
    """Where the parser stopped and why, without its markup for terminals."""
    details = getattr(error, "errors", None)
    if not details:
        return "it does not divide into words; look for a quote that is not closed."
    first: Mapping[str, Any] = details[0]
    why = str(first.get("description")).split(" for <class")[0]
    near = shortened(str(first.get("highlight") or ""))
    return f"line {first.get('line')}, column {first.get('col')}: {why}, near: {near}"


_parsing: ContextVar[bool] = ContextVar("cascade_sql_parsing", default=False)


def _keep(record: logging.LogRecord) -> bool:
    return not _parsing.get()


@contextmanager
def _silent() -> Generator[None, None, None]:
    """Keeps what the parser logs here, which quotes the statement, out of every log."""
    token = _parsing.set(True)
    try:
        yield
    finally:
        _parsing.reset(token)


def _sqlglot() -> ModuleType:
    try:
        sqlglot = import_module("sqlglot")
    except ImportError:
        raise ConfigError(
            "sql_parses needs a parser that is not installed; "
            'run: pip install "cascade-engine[sql]"'
        ) from None
    logging.getLogger("sqlglot").addFilter(_keep)
    return sqlglot
