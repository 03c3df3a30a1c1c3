"""The signals of one call, each computed when it is first looked at and never twice."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from cascade.errors import ConfigError
from cascade.logs import warn
from cascade.signals.catalogue import BUILT_IN, DECLARABLE
from cascade.signals.said import Said, request_in
from cascade.types import Fact, Request

__all__ = ["Reader", "RequestFrom", "SignalFunction", "Signals"]

SignalFunction: TypeAlias = "Callable[[Request | None, Signals], Fact]"
"""A signal of one's own: the request (None: the call has none) and the other signals -> a value.

None is "unknown". It runs in the event loop before any model is asked: it has to be quick. Its
value is kept with the record of the call, so it must hold no content.
"""

RequestFrom: TypeAlias = Callable[..., Any]
"""The wrapped function's arguments -> a request: text, messages, a body or a `Request`."""

LONGEST_TEXT: Final = 200
"""A signal is a word or a name. What is longer might be content and is not taken."""


class Reader:
    """Reads signals for the calls of one cascade.

    Args:
        cascade: its name.
        functions: signals of the user's own, by name.
        by_path: what paths declare of their calls.
        request_from: finds the request among a wrapped function's arguments. None: the first that
            looks like one, else all text.

    Raises:
        ConfigError: a function cannot be used, or has a built-in signal's name.
    """

    __slots__ = ("_told", "by_path", "cascade", "functions", "request_from")

    def __init__(
        self,
        cascade: str | None = None,
        functions: Mapping[str, SignalFunction] | None = None,
        by_path: Mapping[str, Mapping[str, Fact]] | None = None,
        request_from: RequestFrom | None = None,
    ) -> None:
        self.cascade = cascade
        self.functions = _checked_functions(functions)
        self.by_path = dict(by_path or {})
        self.request_from = _checked_callable("request_from", request_from)
        self._told: set[str] = set()

    def read(
        self,
        path: str | None,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        declared: Mapping[str, Fact],
    ) -> Signals:
        """The signals of one call. Nothing is computed yet.

        Raises:
            ConfigError: `declared` names a signal that is computed.
        """
        given = dict(self.by_path.get(path or "", {}))
        for name, value in declared.items():
            if name in BUILT_IN and name not in DECLARABLE:
                raise ConfigError(
                    f"the signal {name!r} is computed and cannot be declared; give yours another "
                    "name"
                )
            known = None if isinstance(value, float) and not math.isfinite(value) else value
            # Who does not know the stakes does not take back what the path says they are.
            if known is not None or name not in DECLARABLE:
                given[name] = known
        return Signals(self, path, args, kwargs, given)

    def said(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Said:
        """What a call says; nothing, where it cannot be found out."""
        if self.request_from is None:
            return Said(request_in(args, kwargs))
        try:
            found = self.request_from(*args, **kwargs)
            return Said(None if found is None else Request.of(found))
        except Exception as error:
            self.tell("request_from", error)
            return Said(None)

    def tell(self, name: str, error: Exception) -> None:
        """Log once that a signal could not be computed."""
        if name not in self._told:
            self._told.add(name)
            warn("signal_failed", cascade=self.cascade, signal=name, error=type(error).__name__)


class Signals(Mapping[str, Fact]):
    """The signals of one call, by name. A name that nobody knows is unknown: None.

    Attributes:
        path: the path that was asked for. None: none.
        args, kwargs: what the call was made with.
    """

    __slots__ = ("_known", "_reader", "_said", "args", "kwargs", "path")

    def __init__(
        self,
        reader: Reader,
        path: str | None,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        declared: dict[str, Fact],
    ) -> None:
        self._reader = reader
        self._known = declared
        self._said: Said | None = None
        self.path: str | None = path
        self.args = args
        self.kwargs = kwargs

    @classmethod
    def of(cls, request: Any, **declared: Fact) -> Signals:
        """The signals of a request by itself, outside of every cascade."""
        return Reader().read(None, (Request.of(request),), {}, declared)

    @property
    def cascade(self) -> str | None:
        """The cascade's name. None: it has none."""
        return self._reader.cascade

    @property
    def said(self) -> Said:
        """What the call says."""
        if self._said is None:
            self._said = self._reader.said(self.args, self.kwargs)
        return self._said

    def __getitem__(self, name: str) -> Fact:
        known = self._known
        if name in known:
            return known[name]
        known[name] = None  # for signals that ask for each other
        value = known[name] = self._computed(name)
        return value

    def _computed(self, name: str) -> Fact:
        try:
            built_in = BUILT_IN.get(name)
            if built_in is not None:
                return built_in.read(self)
            function = self._reader.functions.get(name)
            return None if function is None else _sound(function(self.said.request, self))
        except Exception as error:
            self._reader.tell(name, error)
            return None

    def mark(self, stakes: str) -> None:
        """Set the stakes, as a rule does."""
        self._known["stakes"] = stakes

    def known(self) -> dict[str, Fact]:
        """Those that were declared or looked at so far and are known."""
        return {name: value for name, value in self._known.items() if value is not None}

    def __contains__(self, name: object) -> bool:
        return name in BUILT_IN or name in self._reader.functions or name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*BUILT_IN, *self._reader.functions, *self._known)))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Signals({', '.join(sorted(self.known()))})"


def _sound(value: Any) -> Fact:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not finite")
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise ValueError("too long")
    if value is not None and not isinstance(value, str | int | float):
        raise TypeError("no value of a signal")
    return value


def _checked_functions(
    functions: Mapping[str, SignalFunction] | None,
) -> dict[str, SignalFunction]:
    if functions is not None and not isinstance(functions, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            f"signals is a {type(functions).__name__}; give functions by name, as in "
            '{"vip": is_vip}'
        )
    for name, function in (functions or {}).items():
        if name in BUILT_IN:
            raise ConfigError(f"the signal {name!r} is built in; give yours another name")
        _checked_callable(f"the signal {name!r}", function)
    return dict(functions or {})


def _checked_callable(what: str, function: Any) -> Any:
    if function is None and what == "request_from":
        return None
    if not callable(function):
        raise ConfigError(f"{what} is a {type(function).__name__}; give a function")
    if inspect.iscoroutinefunction(function):
        raise ConfigError(
            f"{what} is async; a signal is computed at once, so give a plain function"
        )
    return function
