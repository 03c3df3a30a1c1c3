"""Requests and answers on their way into a ledger."""

from __future__ import annotations

from typing import Any

from cascade import Answer, Attempt, Request, ToolCall, Verdict
from cascade.ledger import Ledger
from tests.ledger.support import SECRET, attempt, result


class TestRequests:
    MESSAGES = (
        {"role": "system", "content": "Be kind to Ada"},
        {"role": "user", "content": [{"type": "text", "text": "I am Ada", "id": "Ada-1"}]},
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "c-1", "type": "function", "function": {"name": "f", "arguments": '"Ada"'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c-1", "content": "Ada is 36"},
    )

    def request(self) -> Request:
        tool = {"type": "function", "function": {"name": "f", "description": "finds Ada"}}
        return Request(self.MESSAGES, tools=[tool], seed=1, temperature=0.5, stop=["Ada", None])

    def kept(self, source: str, *tried: Attempt, **options: Any) -> tuple[Any, int]:
        """The call as it was read, and how much of its content was dropped."""
        with Ledger(source, **options) as ledger:
            ledger.record(result("c-1", tried))
            assert ledger.flush()
            with ledger.reader() as reader:
                (bare,) = reader.calls()
                assert bare.request is None
                return reader.call("c-1"), ledger.dropped_contents

    def test_the_first_request_is_stored_as_it_was_sent(self, source: str) -> None:
        later = self.request().followed_by({"role": "user", "content": "wrong, try again"})
        tried = [
            attempt(outcome="skipped", answer=None),
            attempt(outcome="rejected", request=self.request()),
            attempt("large", request=later),
        ]
        call, _ = self.kept(source, *tried, content="all")
        assert Request(call.request["messages"], **call.request["params"]) == self.request()

    def test_it_is_not_stored_with_the_answers_alone(self, source: str) -> None:
        call, _ = self.kept(source, attempt(request=self.request()), content="answers")
        assert call.request is None
        assert call.attempts[0].answer == SECRET

    def test_a_call_without_a_request_has_none(self, source: str) -> None:
        call, dropped = self.kept(source, attempt(), content="all")
        assert (call.request, dropped) == (None, 0)

    def test_every_text_in_it_is_redacted(self, source: str) -> None:
        def masked(text: str) -> str:
            return text.replace("Ada", "[name]") if "Ada" in text else "#"

        call, _ = self.kept(source, attempt(request=self.request()), content="all", redact=masked)
        system, user, assistant, tool = call.request["messages"]
        assert system == {"role": "system", "content": "Be kind to [name]"}
        assert user["content"] == [{"type": "text", "text": "I am [name]", "id": "Ada-1"}]
        assert assistant["tool_calls"][0]["function"] == {"name": "#", "arguments": '"[name]"'}
        assert tool == {"role": "tool", "tool_call_id": "c-1", "content": "[name] is 36"}
        assert call.request["params"] == {
            "tools": [
                {"type": "function", "function": {"name": "#", "description": "finds [name]"}}
            ],
            "seed": 1,
            "temperature": 0.5,
            "stop": ["[name]", None],
        }

    def test_a_redaction_that_breaks_drops_the_whole_request_once(self, source: str) -> None:
        def broken(text: str) -> str:
            if text.endswith("36"):
                raise ValueError(text)
            return text

        call, dropped = self.kept(
            source, attempt(request=self.request()), content="all", redact=broken
        )
        assert (call.request, dropped) == (None, 1)
        assert call.attempts[0].answer == SECRET

    def test_what_is_not_json_is_redacted_as_text(self, source: str) -> None:
        class Odd:
            def __repr__(self) -> str:
                return "Ada's"

        class Worse:
            def __repr__(self) -> str:
                raise RuntimeError

        odd = Request("Hi", schema=Odd(), data=b"Ada", number=float("nan"))
        call, _ = self.kept(
            source,
            attempt(request=odd),
            content="all",
            redact=lambda text: text.replace("Ada", "[name]"),
        )
        assert call.request["params"] == {"schema": "[name]'s", "data": "b'[name]'", "number": None}
        with Ledger(source, content="all") as ledger:
            ledger.record(result("c-2", [attempt(request=Request("Hi", schema=Worse()))]))
            assert ledger.flush()
            assert (ledger.dropped_contents, ledger.lost) == (1, 0)

    def test_what_a_validator_made_of_an_answer_is_kept_where_it_differs(self, source: str) -> None:
        parsed = Verdict.passed(value={"b": 1, "a": "Ada"})
        called = Answer(None, tool_calls=[ToolCall("1", "file", "{}")])
        tried = [
            attempt(),
            attempt(verdicts=[parsed]),
            attempt(answer=called),
            attempt(verdicts=[Verdict.passed(value=SECRET.upper())]),
        ]
        call, _ = self.kept(
            source, *tried, content="answers", redact=lambda text: text.replace("Ada", "[name]")
        )
        assert [one.value for one in call.attempts] == [None, '{"a": "[name]", "b": 1}', "", None]

    def test_characters_that_databases_refuse_cost_no_call(self, source: str) -> None:
        odd = "a\0b\ud800c 日本"
        sent = Request(odd)
        call, dropped = self.kept(source, attempt(answer=Answer(odd), request=sent), content="all")
        assert (call.attempts[0].answer, dropped) == ("a\ufffdb?c 日本", 0)
        assert call.request["messages"][0]["content"] == "a\0b?c 日本"
