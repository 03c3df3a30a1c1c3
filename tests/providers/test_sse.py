from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cascade.providers._sse import Event, EventReader


def read(*pieces: bytes) -> list[Event]:
    reader = EventReader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    return events + reader.finish()


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [("", b"a")]),
        (b"data:a\r\rdata:  b\r\n\r\n", [("", b"a"), ("", b" b")]),
        (b"event: error\ndata: {}\n\n", [("error", b"{}")]),
        (b"data: a\nevent: x\ndata: b\n\n", [("x", b"a\nb")]),
        (b"data\ndata\n\n", [("", b"\n")]),
        (b": a comment\n\nid: 7\nretry: 5\ndata: a\n\n", [("", b"a")]),
        (b"event: x\n\ndata: a\n\n", [("", b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("", b"a")]),
        (b"\n\n\xef\xbb\xbfdata: a\n\n", []),
        (b"data: \xc2\x85 \xe2\x80\xa8\x0b\n\n", [("", b"\xc2\x85 \xe2\x80\xa8\x0b")]),
        (b"event: \xff\ndata: a\n\n", [("�", b"a")]),
        (b"data: a\n\ndata: [DONE]", [("", b"a"), ("", b"[DONE]")]),
        (b"data: a\n\nevent: x\n", [("", b"a")]),
        (b"unknown\nDATA: a\n data: a\n\n", []),
        (b"", []),
    ],
)
def test_events_are_read_as_the_specification_says(
    stream: bytes, events: list[tuple[str, bytes]]
) -> None:
    assert read(stream) == [Event(*event) for event in events]


LINES = st.sampled_from(
    [b"data: ", b"data:\xc3\xa9", b"event: e", b":", b"", b"", b"\xef\xbb\xbfdata: x"]
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])


@given(
    st.lists(st.tuples(LINES, ENDS)),
    st.lists(st.integers(0, 200), max_size=30),
)
@example([(b"data: ", b"\r\n"), (b"", b"\r\n")], [7, 9])
def test_pieces_of_any_length_are_the_same_events(
    lines: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(line + end for line, end in lines)
    at = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(at)]
    assert read(*pieces) == read(stream)
    assert read(*(bytes([byte]) for byte in stream)) == read(stream)


@given(st.lists(st.tuples(LINES, ENDS)))
def test_events_are_those_of_the_grammar(lines: list[tuple[bytes, bytes]]) -> None:
    stream = b"".join(line + end for line, end in lines)
    whole = re.split(rb"\r\n|\r|\n", stream.removeprefix(b"\xef\xbb\xbf"))
    expected: list[Event] = []
    data: list[bytes] = []
    name = ""
    for line in [*whole, b""]:
        if not line:
            expected += [Event(name, b"\n".join(data))] if data else []
            name, data = "", []
        elif line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"event:"):
            name = line[6:].strip().decode()
    assert read(stream) == expected


def test_a_long_line_in_small_pieces_is_joined_once() -> None:
    reader = EventReader()
    for _ in range(200_000):  # if each piece were joined to the ones before, these were 200 GB
        assert reader.feed(b"data: aaa") == []
    (event,) = reader.feed(b"\n\n")
    assert len(event.data) == 200_000 * 9 - 6
