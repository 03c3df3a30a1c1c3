"""A router that learns from a function of the user's beside the text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from cascade import Cascade, ConfigError, Tier
from cascade.learn import LearnedRouter, to_json
from cascade.learn.assess import out_of_fold
from cascade.learn.curves import measures
from cascade.learn.training import Settings, matrix, read_all, train
from cascade.testing import Scripted
from tests.learn.support import TIERS, odd_is_hard, parity

EXAMPLES = odd_is_hard()
MODEL = replace(train(EXAMPLES, readings=read_all(EXAMPLES, embed=parity)), value_usd=0.05)
ROUTER = LearnedRouter(MODEL, embed=parity)


def test_it_ranks_by_what_only_the_embedding_tells() -> None:
    leads = [large - small for small, large in EXAMPLES.correct]
    blind = out_of_fold(EXAMPLES).chances
    seeing = out_of_fold(EXAMPLES, embed=parity).chances
    assert measures(blind[:, 1] - blind[:, 0], leads).apgr < 0.6
    assert measures(seeing[:, 1] - seeing[:, 0], leads).apgr > 0.74  # 0.75 is the best there is
    assert (
        ROUTER.choose({}, "please tell me about the house of number 3333?", TIERS).first == "large"
    )
    assert (
        ROUTER.choose({}, "please tell me about the house of number 3334?", TIERS).first == "small"
    )


def test_it_is_explained_as_one_feature_and_weighs_as_in_training() -> None:
    odd = dict(ROUTER.explain("please tell me about the house of number 3333?").weighed)
    even = dict(ROUTER.explain("please tell me about the house of number 3334?").weighed)
    assert odd["the embedding"] > 1
    assert even["the embedding"] < -1
    x = matrix(read_all(EXAMPLES, embed=parity), MODEL, Settings()).toarray()
    head, scales = MODEL.heads[0], Settings().of_shape(MODEL.embedding)
    weights = [row[1] for row in MODEL.vocabulary.values()]
    weights += [w / scale for w, scale in zip(head.shape, scales, strict=True)]
    for text, expected in zip(EXAMPLES.texts, x @ weights + head.intercept, strict=True):
        assert ROUTER.log_odds(text)[0] == pytest.approx(expected, abs=1e-9)


def test_it_is_asked_about_what_is_read_of_a_text() -> None:
    asked: list[int] = []

    def measured(text: str) -> list[float]:
        asked.append(len(text))
        return [0.0, 0.0]

    long = replace(EXAMPLES, texts=("word " * 4_000,) * len(EXAMPLES))
    read_all(long, embed=measured)
    LearnedRouter(MODEL, embed=measured).choose({}, "word " * 4_000, TIERS)
    assert set(asked) == {8_001}


def test_the_file_tells_that_it_needs_one(tmp_path: Path) -> None:
    path = tmp_path / "router.json"
    path.write_text(to_json(MODEL))
    assert LearnedRouter.load(path, embed=parity).model == MODEL
    with pytest.raises(ConfigError, match="trained with an embedding of 2 numbers; give the same"):
        LearnedRouter.load(path)
    path.write_text(to_json(train(EXAMPLES)))
    with pytest.raises(ConfigError, match="embed has no effect: this router was trained without"):
        LearnedRouter.load(path, embed=parity)


def test_one_that_fails_in_a_call_counts_as_refusing() -> None:
    for embed in (lambda text: [1.0], lambda text: [float("nan"), 1.0], lambda text: []):
        router = LearnedRouter(MODEL, embed=embed)
        with pytest.raises(ValueError, match="the embedding gave"):
            router.choose({}, EXAMPLES.texts[0], TIERS)
        tiers = [Tier(name, call=Scripted(name)) for name in TIERS]
        result = anyio.run(Cascade(tiers=tiers, router=router).run, EXAMPLES.texts[0])
        assert result.tier == "small"
        assert "it failed (ValueError)" in (result.rule_reason or "")


def test_what_cannot_be_an_embedding_is_refused() -> None:
    async def slow(text: str) -> list[float]:
        return [1.0, 2.0]

    with pytest.raises(ConfigError, match="embed is async"):
        LearnedRouter(MODEL, embed=slow)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="the embedding failed: ValueError"):
        read_all(EXAMPLES, embed=lambda text: [float("inf")])
    with pytest.raises(ConfigError, match="gives 1 numbers of one text, 2 of another"):
        read_all(EXAMPLES, embed=lambda text: [0.0] * (1 + int(parity(text)[0])))
