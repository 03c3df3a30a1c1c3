"""How sure the model was while it wrote: judged by the log-probabilities of its tokens.

They come with an answer when the request asks for them: `logprobs=True`, and `top_logprobs=5` for
`margin` and `entropy`, in the request or in the tier's `params`. Without them all of these abstain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from cascade.context import Context
from cascade.types import Answer, TokenLogprob, Verdict
from cascade.validation import Check, Validator
from cascade.validators._tokens import (
    LEAST_LOGPROB,
    ROUNDING,
    mass,
    read_tokens,
    statistic_named,
)

__all__ = ["entropy", "logprob", "margin"]


def logprob(statistic: str = "mean") -> Validator:
    """Judges by the log-probabilities of the answer's own tokens. Free.

    The score is the exponential of a statistic over the natural logprobs; which statistic shows
    errors best is for `cascade tune` to say (token quantiles: Gupta et al., Language Model
    Cascades: Token-level uncertainty and beyond, ICLR 2024):

    - "mean": the geometric mean of the tokens' probabilities, whatever the length.
    - "perplexity": one over the perplexity, which is the very score of "mean", for those who
      think in perplexities: at most 1.25 is `.at(1 / 1.25)`.
    - "min": the probability of the least likely token.
    - "sum": the probability of the whole answer; falls with its length.
    - "p01" to "p99": a quantile; "p10" is the probability that 90 % of the tokens exceed.

    A token beyond those that the provider keeps (-9999.0, minus infinity) counts as exp(-20).

    Named "logprob_" and the statistic: "logprob_p10".

    Reasons: no_logprobs, bad_logprobs (NaN, above 0, or no numbers at all).

    Raises:
        ConfigError: there is no such statistic.
    """
    known = ("mean", "min", "sum", "perplexity")
    of = statistic_named("logprob", statistic, known)

    def judges(answer: Answer[Any], context: Context) -> Verdict:
        read = read_tokens(answer, context)
        if isinstance(read, str):
            return Verdict.abstained(read)
        return Verdict.scored(math.exp(of(read.logprobs)))

    return Check(f"logprob_{statistic}", judges, scored=True)


def margin(statistic: str = "mean") -> Validator:
    """Judges by how far each token leads over the likeliest other one. Free.

    A token's margin is its probability less that of the likeliest alternative, and 0 where an
    alternative was likelier than the token that was drawn (best versus second best: Scheffer et
    al., Active Hidden Markov Models for Information Extraction, 2001). Where only the token itself
    is listed, all that is left of the probability counts as one alternative.

    The score is the statistic over the margins: "mean", "min", or a quantile "p01" to "p99".
    Named "margin_" and the statistic.

    Reasons: no_logprobs, bad_logprobs, no_top_logprobs (fewer than two listed for every token, or
    none for one of them: ask for `top_logprobs=2` or more).

    Raises:
        ConfigError: there is no such statistic.
    """
    of = statistic_named("margin", statistic, ("mean", "min"))

    def score(tokens: Sequence[TokenLogprob]) -> float:
        return of([_lead(token) for token in tokens])

    return Check(f"margin_{statistic}", _judge_by_top(score), scored=True)


def _lead(token: TokenLogprob) -> float:
    own, best, listed = mass(token.logprob), None, False
    for text, logprob in token.top:
        if not logprob <= ROUNDING:
            raise ValueError("not a logprob")
        if text == token.token and not listed:
            listed = True
        elif best is None or logprob > best:
            best = logprob
    return max(0.0, own - (1 - own if best is None else mass(best)))


def entropy(statistic: str = "mean") -> Validator:
    """Judges by how spread out the model's choice was at each token. Free.

    A token's entropy is taken over its `top_logprobs`, with the probability that is left over as
    one more outcome, and divided by its greatest value, log(listed + 1). Lumping outcomes together
    never raises an entropy (Shannon, A Mathematical Theory of Communication, 1948, section 6), so
    this is a lower bound: a low score is surely a spread choice, a high one is sure only as far as
    the list goes. Compare thresholds at one and the same `top_logprobs`.

    The score is 1 less the statistic over the entropies: "mean", "max" (the most undecided token)
    or a quantile, of which the upper ones tell: "p90". Named "entropy_" and the statistic.

    Reasons: no_logprobs, bad_logprobs, no_top_logprobs, as for `margin`.

    Raises:
        ConfigError: there is no such statistic.
    """
    of = statistic_named("entropy", statistic, ("mean", "max"))

    def score(tokens: Sequence[TokenLogprob]) -> float:
        greatest = math.log(1 + max(len(token.top) for token in tokens))
        return 1 - of([min(1.0, _entropy(token) / greatest) for token in tokens])

    return Check(f"entropy_{statistic}", _judge_by_top(score), scored=True)


def _entropy(token: TokenLogprob) -> float:
    """In nats."""
    total, left = 0.0, 1.0
    for _, logprob in token.top:
        p = mass(logprob)
        left -= p
        # Held within bounds, for nothing is to be left of 0 times minus infinity.
        total -= p * min(0.0, max(logprob, LEAST_LOGPROB))
    return total - left * math.log(left) if left > 0 else total


def _judge_by_top(
    score: Callable[[Sequence[TokenLogprob]], float],
) -> Callable[[Answer[Any], Context], Verdict]:
    """Judges by the likeliest tokens at each place, where the provider lists them."""

    def judges(answer: Answer[Any], context: Context) -> Verdict:
        read = read_tokens(answer, context)
        if isinstance(read, str):
            return Verdict.abstained(read)
        try:
            listed = [len(token.top) for token in read.tokens]
            if min(listed) < 1 or max(listed) < 2:
                return Verdict.abstained("no_top_logprobs")
            return Verdict.scored(score(read.tokens))
        except (AttributeError, TypeError, ValueError):
            return Verdict.abstained("bad_logprobs")

    return judges
