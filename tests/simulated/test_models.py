from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.simulated import (
    Case,
    ChatRequest,
    Completion,
    SimulatedModel,
    grade,
    simulated_models,
    workload,
)
from cascade.simulated.chat import Tool, cut, split_tokens
from cascade.simulated.generic import instance

CASES = workload(600, 11)
MODEL = SimulatedModel("sim-test", malformed=0, refusal=0)
SCHEMA = {
    "type": "object",
    "properties": {
        "order": {"$ref": "#/$defs/Order"},
        "tags": {"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 2},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "paid": {"type": "boolean"},
        "kind": {"const": "order"},
        "gone": {"type": ["null", "string"]},
    },
    "required": ["order", "tags", "note", "paid", "kind", "gone"],
    "$defs": {"Order": {"properties": {"id": {"type": "string"}, "count": {"type": "integer"}}}},
}


def request_for(case: Case, **options: object) -> ChatRequest:
    messages = tuple((message["role"], message["content"]) for message in case.messages)
    return replace(ChatRequest("sim-test", messages), **options)  # type: ignore[arg-type]


def ask(text: str, **options: object) -> ChatRequest:
    return replace(ChatRequest("sim-test", (("user", text),)), **options)  # type: ignore[arg-type]


def answers(model: SimulatedModel, cases: Sequence[Case]) -> list[Completion]:
    return [model.complete(request_for(case, top_logprobs=0))[0] for case in cases]


def mean_logprob(completion: Completion) -> float:
    return statistics.fmean(token.logprob for token in completion.tokens)


def separation(model: SimulatedModel, cases: Sequence[Case]) -> float:
    """The chance that a right answer has a higher mean log-probability than a wrong one (AUC)."""
    done = answers(model, cases)
    right = [mean_logprob(c) for c, case in zip(done, cases, strict=True) if grade(case, c.text)]
    wrong = [
        mean_logprob(c) for c, case in zip(done, cases, strict=True) if not grade(case, c.text)
    ]
    return statistics.fmean(r > w for r in right for w in wrong)


def test_the_same_request_gets_the_same_completion() -> None:
    request = request_for(CASES[0], top_logprobs=3)
    assert MODEL.complete(request) == MODEL.complete(request, visit=5)
    again = SimulatedModel("sim-test", malformed=0, refusal=0)
    assert again.complete(request) == MODEL.complete(request)


def test_seeds_and_models_err_on_different_prompts() -> None:
    def right(model: SimulatedModel) -> list[bool]:
        done = answers(model, CASES)
        return [grade(case, item.text) for case, item in zip(CASES, done, strict=True)]

    weak = replace(MODEL, skill=dict.fromkeys(MODEL.skill, 0.5))
    assert right(weak) != right(replace(weak, seed=1))
    assert right(weak) != right(replace(weak, name="sim-other"))


def test_sampling_varies_with_the_visit_and_the_choice() -> None:
    weak = replace(MODEL, skill={"lookup": 0.5, "drafting": 0.5, "hard": 0.5})
    texts = {
        item.text
        for case in CASES[:20]
        for visit in range(3)
        for item in weak.complete(request_for(case, temperature=1.0, n=3), visit)
    }
    assert len(texts) > 30
    request = request_for(CASES[0], temperature=1.0, n=2, top_logprobs=0)
    assert weak.complete(request, 1) == weak.complete(request, 1)
    assert weak.complete(request, 1) != weak.complete(request, 2)
    assert weak.complete(request)[0] != weak.complete(request)[1]


def test_a_seed_in_the_request_fixes_the_samples() -> None:
    request = request_for(CASES[0], temperature=1.0, seed=4, top_logprobs=0)
    assert MODEL.complete(request, 0) == MODEL.complete(request, 1)
    assert MODEL.complete(request) != MODEL.complete(replace(request, seed=5))


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_skill_is_the_share_of_right_answers(temperature: float) -> None:
    cases = workload(1500, 2, (1, 1, 1))
    model = replace(MODEL, skill={"lookup": 0.9, "drafting": 0.7, "hard": 0.4})
    for kind, skill in model.skill.items():
        chosen = [case for case in cases if case.kind == kind]
        requests = [request_for(case, temperature=temperature) for case in chosen]
        right = [
            grade(case, model.complete(request)[0].text)
            for case, request in zip(chosen, requests, strict=True)
        ]
        assert statistics.fmean(right) == pytest.approx(skill, abs=0.06)


def test_without_skill_for_a_kind_every_answer_is_wrong() -> None:
    model = replace(MODEL, skill={})
    assert not any(
        grade(case, item.text)
        for case, item in zip(CASES[:50], answers(model, CASES[:50]), strict=True)
    )


@pytest.mark.parametrize("tier", simulated_models()[:2], ids=lambda model: model.name)
def test_log_probabilities_tell_right_from_wrong_imperfectly(tier: SimulatedModel) -> None:
    assert 0.65 < separation(tier, workload(1500, 4, (1, 1, 1))) < 0.97


def test_separation_and_overconfidence_set_how_much_they_tell() -> None:
    weak = replace(MODEL, skill={"lookup": 0.5, "drafting": 0.5, "hard": 0.5}, overconfidence=0)
    telling = separation(replace(weak, separation=2.0), CASES)
    mute = separation(replace(weak, separation=0.0), CASES)
    boastful = separation(replace(weak, separation=2.0, overconfidence=1.0), CASES)
    assert telling > 0.95
    assert mute == pytest.approx(0.5, abs=0.1)
    assert boastful == pytest.approx(0.5, abs=0.1)


def test_doubt_stands_in_the_answer() -> None:
    cases = workload(100, 1, (1, 0, 1))
    inside: list[float] = []
    outside: list[float] = []
    for case, item in zip(cases, answers(MODEL, cases), strict=True):
        start = item.text.index('"answer": "') + len('"answer": "')
        end = item.text.index('", "reply"')
        position = 0
        for token in item.tokens:
            part = inside if start <= position < end else outside
            part.append(token.logprob)
            position += len(token.text)
        assert case.kind != "drafting"
    assert statistics.fmean(inside) < 3 * statistics.fmean(outside)


def test_alternatives_are_a_distribution() -> None:
    (item,) = MODEL.complete(request_for(CASES[0], top_logprobs=5))
    for token in item.tokens:
        texts = [text for text, _ in token.alternatives]
        logprobs = [logprob for _, logprob in token.alternatives]
        assert len(texts) == len(set(texts)) == 5
        assert (token.text, token.logprob) in token.alternatives
        assert logprobs == sorted(logprobs, reverse=True)
        assert math.fsum(math.exp(logprob) for logprob in logprobs) <= 1 + 1e-6


def test_malformed_replies_are_no_json() -> None:
    model = replace(MODEL, malformed=1)
    texts = [item.text for item in answers(model, CASES[:100])]
    for text in texts:
        with pytest.raises(ValueError, match=r"."):
            json.loads(text)
    assert any("```" in text for text in texts)
    assert any(text.startswith("{'") for text in texts)
    assert any(text.startswith('{"') and not text.endswith("}") for text in texts)


def test_asking_for_json_gets_json() -> None:
    model = replace(MODEL, malformed=1)
    for case in CASES[:50]:
        assert json.loads(model.complete(request_for(case, json_mode=True))[0].text)


def test_refusals_come_in_a_field_or_as_text() -> None:
    done = answers(replace(MODEL, refusal=1), CASES[:50])
    assert {item.refused for item in done} == {True, False}
    assert all(item.refused == (item.finish == "refusal") for item in done)
    assert not any(grade(case, item.text) for case, item in zip(CASES[:50], done, strict=True))


def test_shares_are_about_right() -> None:
    model = replace(MODEL, malformed=0.2, refusal=0.1, error_rate=0.3)
    done = answers(model, CASES)
    broken = [not item.text.startswith("{") or not item.text.endswith("}") for item in done]
    assert statistics.fmean(broken) > 0.2
    statuses = [model.error_status(request_for(case)) for case in CASES]
    assert statistics.fmean(status is not None for status in statuses) == pytest.approx(
        0.3, abs=0.07
    )
    assert set(statuses) == {None, 429, 500, 503}


def test_a_failed_visit_can_succeed_when_retried() -> None:
    model = replace(MODEL, error_rate=0.5)
    request = request_for(CASES[0])
    assert len({model.error_status(request, visit) is None for visit in range(20)}) == 2


def test_time_to_the_first_token_is_log_normal() -> None:
    model = replace(MODEL, latency_ms=(300.0, 0.5))
    logs = [math.log(model.first_token_s(request_for(case)) * 1000) for case in CASES]
    assert math.exp(statistics.median(logs)) == pytest.approx(300, rel=0.1)
    assert statistics.stdev(logs) == pytest.approx(0.5, rel=0.15)
    assert replace(MODEL, latency_ms=(0.0, 0.5)).first_token_s(request_for(CASES[0])) == 0


def test_stronger_tiers_are_slower_dearer_and_more_often_right() -> None:
    cases = workload(600, 9, (1, 1, 1))
    figures: list[tuple[float, float, float, float]] = []
    for tier in simulated_models():
        done = answers(tier, cases)
        took_s = [
            tier.first_token_s(request_for(case)) + item.output_tokens / tier.tokens_per_s
            for case, item in zip(cases, done, strict=True)
        ]
        right = statistics.fmean(
            grade(case, item.text) for case, item in zip(cases, done, strict=True)
        )
        figures.append((statistics.median(took_s), tier.input_usd, tier.output_usd, right))
    for column in zip(*figures, strict=True):
        assert list(column) == sorted(set(column))
    assert [figure[0] for figure in figures] == pytest.approx([0.25, 0.6, 1.5], rel=0.25)


@pytest.mark.parametrize(
    ("option", "value"),
    [("skill", {"hard": 1.1}), ("malformed", -0.1), ("refusal", 2), ("error_rate", math.nan)],
)
def test_shares_outside_0_to_1_are_refused(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"must be 0\.\.1"):
        replace(MODEL, **{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"latency_ms": (-1.0, 0.1)}, {"tokens_per_s": 0.0}])
def test_impossible_paces_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        replace(MODEL, **options)  # type: ignore[arg-type]


def test_any_prompt_gets_a_labelled_reply() -> None:
    done = [MODEL.complete(ask(f"Why is {number} odd?"))[0] for number in range(50)]
    assert all(item.text.startswith("[simulated reply of sim-test]") for item in done)
    assert -0.3 < statistics.median(mean_logprob(item) for item in done) < -0.03


def test_any_prompt_gets_json_when_it_asks_for_it() -> None:
    (item,) = MODEL.complete(ask("Why?", json_mode=True))
    assert json.loads(item.text)["simulated"] is True
    (item,) = MODEL.complete(ask("Order A-77, 3 pieces", json_mode=True, schema=SCHEMA))
    value = json.loads(item.text)
    jsonschema.validate(value, SCHEMA)
    assert value["order"] == {"id": "A-77", "count": 77}


def test_an_endless_schema_ends() -> None:
    schema = {"$defs": {"Node": {"properties": {"next": {"$ref": "#/$defs/Node"}}}}}
    assert json.dumps(instance(schema | {"$ref": "#/$defs/Node"}, "")).count("next") == 3


TOOLS = (
    Tool("get_weather", {"properties": {"city": {"type": "string"}}}),
    Tool("findOrderStatus", {"properties": {"order_id": {"type": "string"}}}),
)


def test_a_tool_is_called_when_the_prompt_names_its_task() -> None:
    (item,) = MODEL.complete(ask("What is the status of order 4711?", tools=TOOLS))
    assert (item.finish, item.text) == ("tool_calls", "")
    (call,) = item.tool_calls
    assert (call.name, json.loads(call.arguments)) == ("findOrderStatus", {"order_id": "4711"})
    assert item.output_tokens > 0


@pytest.mark.parametrize(
    ("choice", "called"),
    [("auto", None), ("none", None), ("required", "get_weather"), ("findOrderStatus",) * 2],
)
def test_tool_choice_is_honoured(choice: str, called: str | None) -> None:
    (item,) = MODEL.complete(ask("Hello", tools=TOOLS, tool_choice=choice))
    assert [call.name for call in item.tool_calls] == ([called] if called else [])


def test_a_tool_result_is_answered_in_words() -> None:
    messages = (("user", "order status of 4711?"), ("assistant", ""), ("tool", "in transit"))
    (item,) = MODEL.complete(ChatRequest("sim-test", messages, tools=TOOLS))
    assert not item.tool_calls
    assert item.text


@given(st.text())
def test_tokens_join_to_the_text(text: str) -> None:
    assert "".join(split_tokens(text)) == text


@given(
    max_tokens=st.none() | st.integers(1, 80),
    stop=st.lists(st.sampled_from(['"reply"', "answer", "zzz", ":"]), max_size=2),
)
def test_completions_are_cut_where_asked(max_tokens: int | None, stop: list[str]) -> None:
    (whole,) = MODEL.complete(request_for(CASES[0]))
    request = request_for(CASES[0], max_tokens=max_tokens, stop=tuple(stop))
    done = cut(whole, request)
    assert whole.text.startswith(done.text)
    assert not any(text in done.text for text in stop)
    assert max_tokens is None or len(done.tokens) <= max_tokens
    if done.finish == "length":
        assert len(done.tokens) == max_tokens
    elif done.finish == "stop_sequence":
        assert done.stop_sequence is not None
        assert whole.text.startswith(done.text + done.stop_sequence)
    else:
        assert done == whole
