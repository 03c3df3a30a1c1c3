from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.errors import BadResponseError
from cascade.providers._encoding import (
    MAX_ANSWER_BYTES,
    AnswerTooLargeError,
    BrokenEncodingError,
    Decoder,
)
from cascade.simulated import Reply
from tests.providers.support import completion, failure_of, scripted

BODY = Reply(body=completion().body)


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


ENCODED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP": gzip.compress,
    "deflate": zlib.compress,
    " deflate": raw_deflate,
    "deflate, gzip": lambda data: gzip.compress(zlib.compress(data)),
    "identity": bytes,
    "": bytes,
}


@given(st.sampled_from(sorted(ENCODED)), st.binary(), st.integers(2, 50))
def test_what_was_encoded_is_decoded_in_pieces_of_any_length(
    encoding: str, data: bytes, step: int
) -> None:
    encoded = ENCODED[encoding](data)
    decoder = Decoder(encoding or None)
    pieces = [decoder.feed(encoded[at : at + step]) for at in range(0, len(encoded), step)]
    assert b"".join(pieces) == data


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "gzip, gzip"])
def test_a_bomb_is_put_out(encoding: str) -> None:
    bomb = gzip.compress(bytes(MAX_ANSWER_BYTES + 1))
    assert len(bomb) < 100_000
    with pytest.raises(AnswerTooLargeError):
        Decoder(encoding).feed(gzip.compress(bomb) if "," in encoding else bomb)


def test_as_much_as_an_answer_may_be_is_decoded() -> None:
    decoder = Decoder("gzip")
    assert len(decoder.feed(gzip.compress(bytes(MAX_ANSWER_BYTES)))) == MAX_ANSWER_BYTES
    assert decoder.feed(b"what follows the end") == b""


def test_the_bound_is_one_for_all_pieces() -> None:
    decoder = Decoder(None)
    decoder.feed(bytes(MAX_ANSWER_BYTES))
    with pytest.raises(AnswerTooLargeError):
        decoder.feed(b"1")


@pytest.mark.parametrize("begun", [b"", gzip.compress(b"a" * 100, mtime=0)[:12]])
def test_what_is_not_in_its_encoding_is_broken(begun: bytes) -> None:
    decoder = Decoder("gzip")
    decoder.feed(begun)
    with pytest.raises(BrokenEncodingError):
        decoder.feed(b"not compressed" + b"\xff" * 100)


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
async def test_an_encoded_answer_is_read(encoding: str) -> None:
    body = ENCODED[encoding](json.dumps(BODY.body).encode())
    async with scripted(Reply(200, body, {"content-encoding": encoding})) as s:
        assert (await s.tier.chat("hi")).text == "hello"
        assert s.server.requests[0].headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.anyio
async def test_a_bomb_is_a_bad_response() -> None:
    bomb = gzip.compress(bytes(MAX_ANSWER_BYTES + 1))
    async with scripted(Reply(200, bomb, {"content-encoding": "gzip"})) as s:
        error = await failure_of(s.tier)
    assert type(error) is BadResponseError
    assert "bytes" in str(error)
