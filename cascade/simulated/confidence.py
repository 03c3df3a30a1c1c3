"""Log-probabilities shaped like a real model's: mostly sure, unsure where the answer is decided."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from itertools import accumulate

from cascade.simulated.chat import Token, split_tokens

SURE_NATS = 0.004  # mean surprise of a token whose text is all but given
HESITANT_SHARE = 0.04  # share of tokens with a free choice of words
HESITANT_NATS = 0.25
CENTRE = 1.5  # log-odds of the deciding token when nothing is known about the answer
NEXT_SHARE = 0.35  # how much of the first deciding token's surprise the next ones show

# What stands next to a token in a list of alternatives.
WORDS = (" the", " a", " not", " yes", " to", " and", " USD", " on", " is", " at")
DIGITS = ("0", "1", "2", "3", "5", "7", "10", "15", "25", "50")


def certainty(rng: random.Random, looks_right: bool | None, separation: float) -> float:
    """The probability of the token that decides the answer.

    Drawn from a logit-normal. `separation` is the distance in log-odds of right and of wrong
    answers from the common centre; `looks_right` None stays at the centre.
    """
    side = {True: separation, False: -separation, None: 0.0}[looks_right]
    return 1 / (1 + math.exp(-(CENTRE + side + rng.gauss(0, 1))))


def tokens(
    rng: random.Random, text: str, focus: Iterable[str], sure: float, alternatives: int
) -> tuple[Token, ...]:
    """`text` as tokens with log-probabilities.

    The parts of the text named in `focus` carry the doubt of `sure`, the probability of the
    token that decides; `alternatives` is how many are listed for each token.
    """
    pieces = split_tokens(text)
    deciding = _covered(text, focus)
    ends = accumulate(len(piece) for piece in pieces)
    result: list[Token] = []
    inside = False
    for piece, end in zip(pieces, ends, strict=True):
        was_inside, inside = inside, end - 1 in deciding
        if inside:
            share = NEXT_SHARE if was_inside else 1.0
            logprob = math.log(sure) * share * rng.uniform(0.7, 1.3)
        else:
            hesitant = rng.random() < HESITANT_SHARE
            logprob = -rng.expovariate(1 / (HESITANT_NATS if hesitant else SURE_NATS))
        result.append(_token(rng, piece, logprob, alternatives))
    return tuple(result)


def _covered(text: str, focus: Iterable[str]) -> set[int]:
    """The positions of the characters which belong to a focus, at their first occurrence."""
    starts = ((text.find(part), len(part)) for part in focus)
    return {at + offset for at, length in starts if at >= 0 for offset in range(length)}


def _token(rng: random.Random, text: str, logprob: float, count: int) -> Token:
    if count == 0:
        return Token(text, logprob, ())
    ranked = [(text, logprob), *_others(rng, text, logprob, count - 1)]
    return Token(text, logprob, tuple(sorted(ranked, key=lambda pair: -pair[1])))


def _others(
    rng: random.Random, text: str, logprob: float, count: int
) -> Iterator[tuple[str, float]]:
    left = max(1 - math.exp(logprob), 1e-9)
    pool = DIGITS if text.strip().isdigit() else WORDS
    others = [word for word in pool if word != text]
    for word in rng.sample(others, min(count, len(others))):
        taken = left * 0.6
        left -= taken
        yield word, math.log(taken)
