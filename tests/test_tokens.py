from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import (
    Answer,
    Cap,
    Cascade,
    ConfigError,
    Deployment,
    Price,
    Request,
    Spend,
    Tier,
    Usage,
    tokens,
)
from cascade.testing import Scripted
from cascade.tokens import (
    correction,
    estimate_text,
    estimate_tokens,
    estimate_values,
    max_output_tokens,
    observe,
    tokenizer_file,
)
from tests.tokenizer_files import write_tokenizer

# What two public tokenizers (o200k_base, cl100k_base) count, which differ most outside of English.
COUNTED = {
    "english": (
        "The capital of France is Paris. It has been the capital since the tenth century, "
        "although kings lived elsewhere. " * 3,
        67,
        67,
    ),
    "german": (
        "Die Hauptstadt von Frankreich ist Paris; seit dem zehnten Jahrhundert ist sie Hauptstadt, "
        "obwohl die Könige häufig anderswo wohnten und regierten. " * 3,
        88,
        124,
    ),
    "numbers": (" ".join(str(i * 7919) for i in range(300)), 1071, 1071),
    "chinese": (
        "法国的首都是巴黎。自十世纪以来，它一直是首都，尽管国王们经常住在其他地方。" * 3,
        84,
        132,
    ),
    "japanese": (
        "フランスの首都はパリです。王たちはしばしば別の場所に住んでいましたが、十世紀以来ずっと首都です。"
        * 3,
        114,
        144,
    ),
}


@pytest.fixture(autouse=True)
def fresh_corrections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_corrections", tokens._Corrections())


@pytest.mark.parametrize("name", COUNTED)
def test_a_guess_is_near_what_tokenizers_count(name: str) -> None:
    text, few, many = COUNTED[name]
    assert 0.8 * few <= estimate_text(text) <= 1.3 * many


def test_no_text_is_no_token_and_any_text_at_least_one() -> None:
    assert estimate_text("") == 0
    assert estimate_text(" ") == estimate_text("a") == 1
    assert estimate_text("\ud800") == 1  # half a character, as broken JSON holds it


@given(st.text(), st.text())
def test_more_text_is_never_fewer_tokens(one: str, other: str) -> None:
    both = estimate_text(one + other)
    assert max(estimate_text(one), estimate_text(other)) <= both
    assert both <= estimate_text(one) + estimate_text(other)


def test_a_request_is_its_messages_and_what_it_declares() -> None:
    plain = estimate_tokens(Request("What is the capital of France?"))
    assert 10 <= plain <= 20
    schema = {"name": "answer", "parameters": {"type": "object", "properties": {"city": {}}}}
    for declared in (
        {"tools": [{"type": "function", "function": schema}]},
        {"response_format": {"type": "json_schema", "json_schema": schema}},
    ):
        with_it = estimate_tokens(Request("What is the capital of France?", **declared))
        assert plain + 20 <= with_it <= plain + 80
    assert estimate_tokens(Request("What is the capital of France?", temperature=0.5)) == plain


def test_tool_calls_and_parts_are_read_for_their_text() -> None:
    long = "word " * 400
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": long}}
    messages: list[list[dict[str, Any]]] = [
        [{"role": "assistant", "content": None, "tool_calls": [call]}],
        [{"role": "user", "content": [{"type": "text", "text": long}]}],
        [{"role": "user", "content": ({"type": "new", "deep": [[{"x": long}]]},)}],
    ]
    for one in messages:
        assert estimate_tokens(Request(one)) == pytest.approx(estimate_text(long), rel=0.1)


def test_media_count_as_what_they_are_not_as_their_encoding() -> None:
    def part(**fields: Any) -> int:
        return estimate_tokens(Request([{"role": "user", "content": [fields]}]))

    nothing = part(type="text", text="")
    data = "data:image/png;base64," + "A" * 100_000
    image = part(type="image_url", image_url={"url": data})
    assert image == part(type="image", source={"data": data}) == nothing + tokens.IMAGE_TOKENS
    small = part(type="image_url", image_url={"url": data, "detail": "low"})
    assert small == nothing + tokens.SMALL_IMAGE_TOKENS
    sound = part(type="input_audio", input_audio={"data": data})
    assert sound == nothing + tokens.MEDIA_TOKENS


def test_what_holds_itself_has_an_end() -> None:
    endless: dict[str, Any] = {"text": "word " * 100}
    endless["again"] = [endless]
    assert 100 <= estimate_values([endless]) <= 200
    assert estimate_values([endless, endless]) > estimate_values([endless]) + 90


def test_a_schema_that_cannot_be_sent_is_not_counted() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert estimate_tokens(Request("hi", tools=endless)) == estimate_tokens(Request("hi"))


@pytest.mark.parametrize(
    ("params", "most"),
    [
        ({}, 7),
        ({"max_tokens": 10}, 10),
        ({"max_tokens": 10, "max_completion_tokens": 30}, 30),
        ({"max_tokens": 10, "n": 3}, 30),
        ({"max_tokens": None}, 7),
        ({"max_tokens": "many"}, 7),
        ({"max_tokens": True}, 7),
        ({"max_tokens": -1}, 7),
    ],
)
def test_the_most_that_may_be_written(params: dict[str, Any], most: int) -> None:
    assert max_output_tokens(params, 7) == most


def test_what_providers_take_beside_messages_counts() -> None:
    told = "never say never " * 100
    said = estimate_tokens(
        Request([{"role": "system", "content": told}, {"role": "user", "content": "hi"}])
    )
    assert estimate_tokens(Request("hi", system=told)) == pytest.approx(said, abs=10)
    text = {"type": "document", "source": {"type": "text", "data": told}}
    document = estimate_tokens(Request([{"role": "user", "content": [text]}]))
    assert document == pytest.approx(said, abs=10)
    pdf = {"type": "document", "source": {"type": "base64", "data": told}}
    flat = estimate_tokens(Request([{"role": "user", "content": [pdf]}]))
    assert flat == pytest.approx(tokens.MEDIA_TOKENS, abs=20)


def test_a_part_that_stands_in_several_places_is_sent_each_time() -> None:
    part = {"type": "text", "text": "never say never " * 100}
    once, often = (
        estimate_tokens(Request([{"role": "user", "content": [part] * times}])) for times in (1, 20)
    )
    assert often == pytest.approx(20 * once, rel=0.05)


def test_guesses_follow_what_a_model_bills() -> None:
    request = Request("word " * 1000)
    guess = estimate_tokens(request)
    assert correction("m") == 1
    for _ in range(100):
        observe("m", guess, 2 * guess)
    assert correction("m") == pytest.approx(2, rel=0.02)
    assert estimate_tokens(request, "m") == pytest.approx(2 * guess, rel=0.02)
    assert estimate_tokens(request, "another") == estimate_tokens(request) == guess
    for _ in range(100):  # and unlearn
        observe("m", guess, guess)
    assert correction("m") == pytest.approx(1, rel=0.02)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9))))
def test_corrections_stay_within_their_bounds(calls: list[tuple[int, int]]) -> None:
    for estimated, actual in calls:
        observe("wild", estimated, actual)
    assert 0.25 <= correction("wild") <= 4


def test_calls_that_say_nothing_teach_nothing() -> None:
    observe("m", 0, 10)
    observe("m", 10, 0)
    assert correction("m") == 1


def test_only_so_many_models_are_remembered() -> None:
    for number in range(1100):
        observe(f"m{number}", 10, 20)
    assert correction("m0") == 1
    assert correction("m1099") > 1


def test_threads_lose_no_observation() -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: observe("m", 10, 20), range(2000)))
    assert tokens._corrections._seen["m"][1] == 2000


# Counters of one's own.


@pytest.fixture
def words() -> Iterator[None]:
    """Models named word-... count words."""
    tokens.register("word-", lambda text: len(text.split()))
    yield
    tokens.register("word-", None)


@pytest.mark.usefixtures("words")
def test_a_registered_counter_counts_the_text_of_its_models() -> None:
    request = Request("one two three fourhundredsomething")
    beside_text = tokens.REPLY_TOKENS + tokens.MESSAGE_TOKENS
    assert estimate_tokens(request, "word-1") == beside_text + 4
    assert estimate_values(["one two", {"content": "three"}], "word-1") == beside_text + 3
    assert estimate_text("", "word-1") == 0
    assert estimate_tokens(request, "other") == estimate_tokens(request) == beside_text + 8


@pytest.mark.usefixtures("words")
def test_the_longest_prefix_counts_until_it_is_taken_back() -> None:
    tokens.register("word-large", lambda text: 1000)
    assert estimate_text("one two", "word-large-2") == 1000
    assert estimate_text("one two", "word-small") == 2
    tokens.register("word-large", None)
    assert estimate_text("one two", "word-large-2") == 2


@pytest.mark.usefixtures("words")
def test_bills_go_on_correcting_what_is_counted() -> None:
    request = Request("one two three")
    observe("word-7", 10, 20)
    assert correction("word-7") == 1.5
    assert estimate_tokens(request, "word-7") == 1.5 * tokens.guess_tokens(request, "word-7")
    tokens.register("word-", lambda text: 1)  # what was learnt was of the other counter
    assert correction("word-7") == 1


@pytest.mark.parametrize("said", [ZeroDivisionError(), -1, "7", 7.5, None], ids=repr)
def test_a_counter_that_does_not_count_is_as_if_it_were_not_there(said: Any) -> None:
    def counter(text: str) -> Any:
        if isinstance(said, Exception):
            raise said
        return said

    tokens.register("bad-", counter)
    try:
        assert estimate_text("some text", "bad-1") == estimate_text("some text")
    finally:
        tokens.register("bad-", None)


def test_a_tokenizer_file_counts_all_of_a_text_and_nothing_else(tmp_path: Path) -> None:
    count = tokenizer_file(write_tokenizer(tmp_path))
    assert count("one two three, four") == 5  # though the file says to cut, and adds a token
    assert count("") == 0
    tokens.register("exact-", count)
    try:
        assert estimate_text("one two three", "exact-1") == 3
    finally:
        tokens.register("exact-", None)


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing.json"
    with pytest.raises(ConfigError, match=r"missing\.json.*No such file"):
        tokenizer_file(missing)
    missing.write_text('{"version": "1.0"}')
    with pytest.raises(ConfigError, match=r"it is no tokenizer\.json"):
        tokenizer_file(missing)


def test_tokenizer_files_need_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigError, match=r'pip install "cascade-engine\[tokenizers\]"'):
        tokenizer_file("tokenizer.json")


def test_what_cannot_be_a_counter_is_refused() -> None:
    with pytest.raises(ConfigError, match="the token counter for 'gpt-' is a str; give a function"):
        tokens.register("gpt-", "o200k_base")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a token counter is for ''; give the start"):
        tokens.register("", len)


@pytest.mark.anyio
@pytest.mark.usefixtures("words")
async def test_reservations_are_made_by_it() -> None:
    """A cap that the guess would pass, and the count does not."""
    text = "x" * 4_000_000  # one word, guessed at a million tokens
    said = Answer("fine", usage=Usage(8, 1))
    spend = Spend(caps=[Cap(0.01, per="call")], output_tokens=10)
    for model, reason in (("word-1", "accepted"), ("other-1", "spend")):
        tier = Tier("t", model=model, price=Price(input=1, output=1),
                    deployments=[Deployment(call=Scripted(said))])  # fmt: skip
        cascade = Cascade(tiers=[tier], spend=spend, on_exhausted="best")
        assert (await cascade.run(text)).reason == reason
