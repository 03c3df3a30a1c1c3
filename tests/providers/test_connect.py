from __future__ import annotations

import pytest

from cascade.errors import ConfigError
from cascade.providers import PROVIDERS, connect, split_model


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("openai:gpt-5-nano", ("openai", "gpt-5-nano")),
        ("ollama:qwen3:4b", ("ollama", "qwen3:4b")),
        ("openrouter:org/model:free", ("openrouter", "org/model:free")),
        ("recorded:runs/a b.jsonl#org/m", ("recorded", "runs/a b.jsonl#org/m")),
        ("just-a-name", None),
        ("", None),
    ],
)
def test_the_provider_stands_before_the_first_colon(
    model: str, named: tuple[str, str] | None
) -> None:
    assert split_model(model) == named


def test_an_unknown_provider_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'openai'"):
        connect("opnai:gpt")


def test_a_model_without_a_name_or_a_provider() -> None:
    with pytest.raises(ConfigError, match="no model after the colon"):
        connect("openai:")
    with pytest.raises(ConfigError, match="openai:gpt"):
        connect("gpt")


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_every_provider_connects(name: str) -> None:
    assert callable(connect(f"{name}:m").complete)


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_only_servers_of_others_are_reached_over_https(name: str) -> None:
    url = PROVIDERS[name].base_url or "http://127.0.0.1"
    assert url.startswith("https://" if PROVIDERS[name].key_env else "http://127.0.0.1")
