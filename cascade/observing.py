"""Observers: who is told of each call, and the identity a call is told by."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

from cascade.errors import ConfigError
from cascade.logs import log_call, warn
from cascade.types import Attempt, Fact, Result

__all__ = [
    "NO_LABELS",
    "CallSpan",
    "Labels",
    "Observer",
    "Observers",
    "Recorder",
    "Tracer",
    "as_observers",
    "call_id",
]


@dataclass(frozen=True, slots=True)
class Labels:
    """What the caller says of a call.

    Attributes:
        signals: facts that rules may go by, such as `{"stakes": "high"}`.
        metadata: labels of the caller's own, kept with the record of the call.
    """

    signals: Mapping[str, Fact] = field(default_factory=dict[str, Fact])
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        for option, given in (("signals", self.signals), ("metadata", self.metadata)):
            if not isinstance(given, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConfigError(f"{option} is a {type(given).__name__}; give a mapping of names")
        for name, value in self.signals.items():
            if not isinstance(value, str | int | float | None):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConfigError(
                    f"the signal {name!r} is a {type(value).__name__}; give text, a number, True, "
                    "False or None"
                )

    def more(
        self,
        *,
        signals: Mapping[str, Fact] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Labels:
        """These and more; what is said later goes before what was said earlier."""
        return Labels({**self.signals, **(signals or {})}, {**self.metadata, **(metadata or {})})


NO_LABELS = Labels()


@runtime_checkable
class Recorder(Protocol):
    """Takes note of finished calls: a ledger, metrics, a list."""

    def record(self, result: Result[Any]) -> None:
        """Take note of a call that has ended, in whatever way: accepted or not, cancelled, broken.

        It runs in the event loop, so it has to be quick and must not wait. The result is not
        changed afterwards: keep it and work it up elsewhere. What it raises is logged and is never
        the call's problem.
        """
        ...


class CallSpan(Protocol):
    """What is told of a traced call when it has ended."""

    def __call__(self, result: Result[Any], /) -> None:
        """The call has come to this."""
        ...


@runtime_checkable
class Tracer(Protocol):
    """Stands around calls and attempts while they run, as tracing does."""

    def call_span(self, cascade: str | None, path: str | None) -> AbstractContextManager[CallSpan]:
        """Entered when a call starts. What it gives is told the result before it is left."""
        ...

    def attempt_span(self, attempt: Attempt) -> AbstractContextManager[None]:
        """Entered when a tier is asked, in the task that asks it.

        `attempt` has its tier and model then, and all the rest when it is left.
        """
        ...


Observer: TypeAlias = Recorder | Tracer


class Observers:
    """All observers of one cascade. One that breaks is logged and harms nothing else.

    Attributes:
        is_tracing: whether any of them stands around calls.
    """

    __slots__ = ("_recorders", "_tracers", "is_tracing")

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        observers = tuple(observers)
        self._recorders = tuple(one for one in observers if isinstance(one, Recorder))
        self._tracers = tuple(one for one in observers if isinstance(one, Tracer))
        self.is_tracing = bool(self._tracers)

    def record(self, result: Result[Any]) -> None:
        """Tell all that a call has ended."""
        log_call(result)
        for recorder in self._recorders:
            try:
                recorder.record(result)
            except Exception as error:
                _broke(recorder, error)

    @contextmanager
    def call_span(self, cascade: str | None, path: str | None) -> Generator[CallSpan]:
        """The spans of one call, around it."""
        ends: list[tuple[Tracer, CallSpan]] = []

        def end(result: Result[Any], /) -> None:
            for tracer, told in ends:
                try:
                    told(result)
                except Exception as error:
                    _broke(tracer, error)

        with ExitStack() as stack:
            for tracer in self._tracers:
                span = _entered(stack, tracer, lambda t: t.call_span(cascade, path))
                if span is not None:
                    ends.append((tracer, cast("CallSpan", span)))
            yield end

    @contextmanager
    def attempt_span(self, attempt: Attempt) -> Generator[None]:
        """The spans of one attempt, around it."""
        with ExitStack() as stack:
            for tracer in self._tracers:
                _entered(stack, tracer, lambda t: t.attempt_span(attempt))
            yield


class _Guarded:
    """A span whose own mistakes stay its own, and which swallows nothing."""

    def __init__(self, tracer: Tracer, span: AbstractContextManager[Any]) -> None:
        self._tracer = tracer
        self._span = span

    def __enter__(self) -> Any:
        return self._span.__enter__()

    def __exit__(self, *error: Any) -> None:
        try:
            self._span.__exit__(*error)
        except Exception as broken:
            if broken is not error[1]:
                _broke(self._tracer, broken)


def _entered(
    stack: ExitStack, tracer: Tracer, make: Callable[[Tracer], AbstractContextManager[Any]]
) -> Any:
    try:
        return stack.enter_context(_Guarded(tracer, make(tracer)))
    except Exception as error:
        _broke(tracer, error)
        return None


def _broke(observer: Observer, error: Exception) -> None:
    warn("observer_failed", observer=type(observer).__name__, error=type(error).__name__)


def as_observers(given: Iterable[Observer]) -> tuple[Observer, ...]:
    """The observers in a list. Raises ConfigError when one of them cannot be told anything."""
    if isinstance(given, Recorder | Tracer):
        raise ConfigError("observers is one observer; put it in a list, as in observers=[ledger]")
    observers = tuple(given)
    for one in cast("tuple[Any, ...]", observers):
        # A class has the methods too, but is nobody to tell.
        if isinstance(one, type) or not isinstance(one, Recorder | Tracer):
            what = getattr(one, "__name__", type(one).__name__)
            raise ConfigError(
                f"an observer is {what}, which has no method record(result); give an object that "
                "has one, such as a Ledger"
            )
    return observers


_process = os.urandom(8).hex()
_numbers = itertools.count(1)


def _renew_process() -> None:
    global _process
    _process = os.urandom(8).hex()


# A forked process would otherwise go on with the ids of its parent.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_process)


def call_id() -> str:
    """An id that no other call has, in whatever process."""
    return f"{_process}-{next(_numbers):x}"
