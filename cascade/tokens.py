"""How many tokens a request will take, guessed offline before it is sent.

No tokenizer is loaded: the guess counts the characters of each kind, in one pass at the speed of
`bytes.translate`, and leans high where tokenizers differ. Who has the tokenizer of a model gives it
to `register`, from its file with `tokenizer_file`. What providers then bill corrects either for
each model (`observe`).
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from cascade.errors import ConfigError
from cascade.logs import warn
from cascade.types import Request

__all__ = [
    "TokenCounter",
    "correction",
    "estimate_text",
    "estimate_tokens",
    "estimate_values",
    "guess_tokens",
    "max_output_tokens",
    "observe",
    "register",
    "tokenizer_file",
]

TokenCounter: TypeAlias = Callable[[str], int]
"""How many tokens a text is. Called in the event loop, so it must be quick and ask no network."""

IMAGE_TOKENS: Final = 1600
"""An image of any size. Large ones are scaled down to about this many by the providers."""
SMALL_IMAGE_TOKENS: Final = 85
"""An image sent with `detail: low`."""
MEDIA_TOKENS: Final = 2000
"""A recording or a file: unknown without reading it."""
MESSAGE_TOKENS: Final = 4
"""What marks where a message begins and ends, and whose it is."""
REPLY_TOKENS: Final = 3
"""What opens the answer."""

# Hundredths of a token for a character of each kind, by its UTF-8 bytes. Two-byte characters are
# Greek, Cyrillic, Hebrew, Arabic and accented Latin ones; three-byte ones Chinese, Japanese,
# Korean, Thai and Indic ones; four-byte ones are emoji. A space belongs to the word
# after it, or to a run of them.
_KINDS: Final = tuple(
    (weight, bytes(sorted(set(range(256)) - set(kind))))
    for weight, kind in (
        (2, b" "),
        (25, b"abcdefghijklmnopqrstuvwxyz\t"),
        (50, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ\n"),
        (55, b"0123456789"),
        (65, b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
        (60, bytes(range(0xC0, 0xE0))),
        (100, bytes(range(0xE0, 0xF0))),
        (200, bytes(range(0xF0, 0xF8))),
    )
)

# Told to the model in a token or so, which MESSAGE_TOKENS covers, or not at all.
_LABELS: Final = frozenset({"id", "role", "tool_call_id", "type"})

_OUTPUT_LIMITS: Final = ("max_completion_tokens", "max_tokens")


def estimate_text(text: str, model: str | None = None) -> int:
    """About how many tokens a text is, in time that grows with its length. 0 for no text.

    Args:
        model: counted by the counter registered for it. None, or one without: guessed.
    """
    if not text:
        return 0
    counted = _counted(text, model) if model is not None and _counters else None
    if counted is not None:
        return counted
    data = text.encode("utf-8", "surrogatepass")
    hundredths = sum(weight * len(data.translate(None, others)) for weight, others in _KINDS)
    return max(1, -(-hundredths // 100))


def estimate_tokens(request: Request, model: str | None = None) -> int:
    """About how many tokens a request's messages, tools and schema are.

    Args:
        request: what will be sent.
        model: corrects the guess by what this model billed before. None: the plain guess.
    """
    tokens = guess_tokens(request, model)
    return tokens if model is None else round(tokens * correction(model))


def guess_tokens(request: Request, model: str | None = None) -> int:
    """The same before it is corrected by what was billed, which is what `observe` is told."""
    texts: list[str] = []
    tokens = REPLY_TOKENS + MESSAGE_TOKENS * len(request.messages)
    tokens += sum(_walk(part, texts) for part in _parts(request))
    for name in ("tools", "functions", "response_format"):
        declared = request.params.get(name)
        if declared:
            texts.append(_as_json(declared))
    return tokens + estimate_text("\n".join(texts), model)


def estimate_values(values: Iterable[Any], model: str | None = None) -> int:
    """About how many tokens the text in a function's arguments is, messages among them."""
    texts: list[str] = []
    tokens = REPLY_TOKENS + MESSAGE_TOKENS + sum(_walk(value, texts) for value in values)
    return tokens + estimate_text("\n".join(texts), model)


def max_output_tokens(params: Mapping[str, Any], default: int) -> int:
    """The most tokens that may be written in answer, all its choices together.

    Args:
        params: of the request as it is sent; `max_completion_tokens` or `max_tokens` say so.
        default: where neither does.
    """
    limits = [limit for name in _OUTPUT_LIMITS if (limit := _count(params.get(name))) is not None]
    return max(limits, default=default) * (_count(params.get("n")) or 1)


def _parts(request: Request) -> Iterator[object]:
    """What of a request is told to the model, tools and schema apart.

    Each part of a message by itself: one object that stands in several places is sent each time.
    """
    for message in request.messages:
        content = message.get("content")
        if isinstance(content, list | tuple):
            yield {name: value for name, value in message.items() if name != "content"}
            yield from cast("Iterable[object]", content)
        else:
            yield message
    yield request.params.get("system")


def _walk(whole: Any, texts: list[str]) -> int:
    """Put every text within on `texts`. Returns the tokens of all that is not text."""
    tokens = 0
    left: list[object] = [whole]
    seen: set[int] = set()
    while left:  # no recursion: the depth is the caller's
        value = left.pop()
        if isinstance(value, str):
            texts.append(value)
            continue
        if id(value) in seen:  # what holds itself has no end
            continue
        seen.add(id(value))
        if isinstance(value, Mapping):
            part = cast("Mapping[object, object]", value)
            media = _media_tokens(part)
            if media is None:
                left.extend(inner for name, inner in part.items() if name not in _LABELS)
            else:
                tokens += media
        elif isinstance(value, list | tuple):
            left.extend(cast("Iterable[object]", value))
    return tokens


def _media_tokens(part: Mapping[object, object]) -> int | None:
    """What a content part that is no text costs. None: it is text, or holds some."""
    kind = part.get("type")
    if kind in ("image_url", "image", "input_image"):
        image = part.get("image_url")
        small = isinstance(image, Mapping) and cast("Any", image).get("detail") == "low"
        return SMALL_IMAGE_TOKENS if small else IMAGE_TOKENS
    source = part.get("source")
    if isinstance(source, Mapping) and cast("Any", source).get("type") in ("text", "content"):
        return None  # a document that is text
    return MEDIA_TOKENS if kind in ("input_audio", "file", "document", "video_url") else None


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    except (TypeError, ValueError, RecursionError):
        return ""  # it cannot be sent either


def _count(value: Any) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return value if is_count else None


_counters: tuple[tuple[str, TokenCounter], ...] = ()  # the longest prefix first
_registering = threading.Lock()


def register(prefix: str, counter: TokenCounter | None) -> None:
    """Count the tokens of models by their own tokenizer, for the whole process.

    register("gpt-5", lambda text: len(encoding.encode_ordinary(text)))

    What a message costs beside its text stays a guess, and bills go on correcting the whole.

    Args:
        prefix: how the models' names begin, without a provider. The longest that fits counts.
        counter: see `TokenCounter`. One that raises, or gives no number, is as if it were not
            there. None: guess again.

    Raises:
        ConfigError: the prefix is empty, or the counter is not callable.
    """
    global _counters
    if not isinstance(prefix, str) or not prefix:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"a token counter is for {prefix!r}; give the start of a model's name")
    if counter is not None and not callable(counter):
        raise ConfigError(
            f"the token counter for {prefix!r} is a {type(counter).__name__}; give a function of "
            "a text that returns its tokens"
        )
    with _registering:
        kept = [(known, other) for known, other in _counters if known != prefix]
        if counter is not None:
            kept.append((prefix, counter))
        _counters = tuple(sorted(kept, key=lambda one: -len(one[0])))
    _corrections.forget(prefix)


def tokenizer_file(path: str | PathLike[str]) -> TokenCounter:
    """A counter for `register` from a `tokenizer.json`, as open models come with.

    Needs the extra `tokenizers`. The file is read here, once; no network is asked.

    Raises:
        ConfigError: the extra is not installed, or the file cannot be read as a tokenizer.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ConfigError(
            'tokenizer files need the extra "tokenizers": pip install "cascade-engine[tokenizers]"'
        ) from None
    why = ""
    try:
        tokenizer = Tokenizer.from_buffer(Path(path).read_bytes())
    except OSError as error:
        why = error.strerror or type(error).__name__
    except Exception as error:  # the package raises nothing more telling
        why = f"it is no tokenizer.json: {error}"
    else:
        # A file may say how its texts are cut or filled up; what is to be counted is all of them.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return lambda text: len(tokenizer.encode(text, add_special_tokens=False))
    raise ConfigError(f"the tokenizer file {str(path)!r} cannot be read: {why}")


def _counted(text: str, model: str) -> int | None:
    """By the model's counter. None: there is none, or it does not do its work."""
    counter = next((counter for prefix, counter in _counters if model.startswith(prefix)), None)
    if counter is None:
        return None
    try:
        counted = counter(text)
    except Exception as error:
        warn("token_counter_failed", model=model, error=type(error).__name__)
        return None
    if not isinstance(counted, int) or counted < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        warn("token_counter_failed", model=model, error=type(counted).__name__)
        return None
    return counted


class _Corrections:
    """By model: an exponentially weighted mean of billed over guessed tokens."""

    _LEAST, _MOST = 0.25, 4.0
    _NEWEST = 0.05  # the least weight of the latest call
    _MODELS = 1024

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def get(self, model: str) -> float:
        return self._seen.get(model, (1.0, 0))[0]

    def add(self, model: str, ratio: float) -> None:
        ratio = min(max(ratio, self._LEAST), self._MOST)
        with self._lock:
            mean, calls = self._seen.get(model, (1.0, 0))
            # At first a plain mean, in which the uncorrected guess counts as one call.
            weight = max(self._NEWEST, 1 / (calls + 2))
            self._seen[model] = (mean + (ratio - mean) * weight, calls + 1)
            self._seen.move_to_end(model)
            if len(self._seen) > self._MODELS:
                self._seen.popitem(last=False)

    def forget(self, prefix: str) -> None:
        """What was learnt of models of this name, as they are counted in another way now."""
        with self._lock:
            for model in [name for name in self._seen if name.startswith(prefix)]:
                del self._seen[model]


_corrections = _Corrections()


def observe(model: str, estimated: int, actual: int) -> None:
    """Learn from one call, for the whole process and from any thread.

    Args:
        model: the name that `estimate_tokens` will be asked with.
        estimated: what `guess_tokens(request, model)` said, without the model's correction.
        actual: the input tokens that the provider billed.
    """
    if estimated > 0 and actual > 0:
        _corrections.add(model, actual / estimated)


def correction(model: str) -> float:
    """What guesses for `model` are multiplied with: 0.25 to 4, and 1 before the first call."""
    return _corrections.get(model)
