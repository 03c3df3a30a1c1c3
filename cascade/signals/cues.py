"""The words by which the task of a request is guessed. English, and chosen by hand.

They were written from general knowledge of how people ask, before they were measured on anything.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ADDRESSES", "OPENINGS", "PHRASES", "WORDS"]

ADDRESSES: Final = frozenset(
    "and also please kindly then now just can could would will you i want need to like us me let "
    "help your task is job the following should must have".split()
)
"""What may stand between the beginning of a sentence and the verb that says what to do."""

OPENINGS: Final[dict[str, tuple[str, float]]] = {
    word: (task, weight)
    for task, weight, words in (
        ("classification", 4, "classify categorize categorise label triage"),
        ("classification", 3, "tag rate score detect decide identify"),
        ("extraction", 4, "extract parse pull"),
        ("extraction", 2, "list collect gather copy"),
        ("lookup", 3, "find look search retrieve check"),
        ("lookup", 2, "what where when who whom whose which tell give show name is are does did"),
        ("conversion", 4, "translate convert transform reformat transcribe transliterate"),
        ("conversion", 3, "rewrite rephrase paraphrase format correct proofread change turn"),
        ("summarising", 5, "summarize summarise condense shorten tldr recap"),
        ("drafting", 3, "write draft compose create generate"),
        ("reasoning", 4, "calculate compute solve prove derive evaluate simplify"),
        ("reasoning", 3, "determine compare analyze analyse explain justify assess why how apply"),
        ("coding", 4, "implement debug refactor code program"),
        ("coding", 3, "fix optimize optimise"),
        ("planning", 4, "plan schedule organize organise prioritize prioritise"),
        ("planning", 3, "outline design propose"),
        ("chat", 2, "hi hello hey thanks thank goodbye"),
    )
    for word in words.split()
}
"""Verbs and question words that open a sentence, with the task they speak for and how strongly."""

_PHRASES: Final = (
    ("classification", 3, "spam or not; true or false; yes or no; sentiment; which category"),
    ("classification", 3, "one of the following; positive or negative; as either; urgent or not"),
    ("extraction", 3, "named entities; all the names; all dates; key value; following fields"),
    ("extraction", 2, "from the text; from the following; as json; into json; fields"),
    ("lookup", 3, "records; according to the; phone number; opening hours; status of; price of"),
    ("lookup", 2, "capital of; where is; when is; who is; how much is; date of; according to"),
    ("conversion", 4, "to english; into english; to french; into french; to german; into german"),
    ("conversion", 4, "to spanish; into spanish; to japanese; to chinese; to italian"),
    ("conversion", 3, "to markdown; to csv; to json; to xml; to yaml; to html; in celsius"),
    ("conversion", 3, "uppercase; lowercase; fix the grammar; spelling; more formal; more polite"),
    ("summarising", 5, "summary; sum up; tl dr; in a nutshell; key points; main points; takeaways"),
    ("summarising", 3, "bullet points; in one sentence; abstract of"),
    ("drafting", 4, "write the reply; write a reply; reply to; an email; a letter"),
    ("drafting", 4, "cover letter; blog post; an essay; a poem; a story; press release; a product"),
    ("drafting", 3, "a message; a tweet; a post; a speech; announcement; slogan; to the customer"),
    ("reasoning", 3, "step by step; how many; what percentage; percent of; the probability"),
    ("reasoning", 3, "how long; in total; altogether; at this rate; prorated; policy; pro rata"),
    ("reasoning", 3, "work out; pros and cons; trade off; root cause; what would happen"),
    ("reasoning", 2, "how much; if and only if; suppose; assume; therefore; rounded"),
    ("coding", 4, "write a function; a python; in python; python script; in javascript; unit test"),
    ("coding", 4, "in java; in rust; in go; in typescript; sql query; stack trace; regex; regular"),
    ("coding", 4, "write a program; this function; this code; the code; compile; traceback"),
    ("coding", 3, "a script; a class; api endpoint; exception; pull request; git; algorithm"),
    ("planning", 4, "a plan; an itinerary; a roadmap; a schedule; project plan"),
    ("planning", 3, "milestones; action items; meal plan; training plan; agenda; to do list"),
    ("chat", 3, "how are you; tell me a joke; good morning; nice to meet; who are you"),
)  # fmt: skip

WORDS: Final[dict[str, tuple[str, float]]] = {}
"""Single words, with the task they speak for and how strongly."""

PHRASES: Final[dict[str, dict[str, list[tuple[tuple[str, ...], str, float]]]]] = {}
"""Several words: by the first and the second one, those after them, the task, how strongly."""

for _task, _weight, _phrases in _PHRASES:
    for _phrase in _phrases.split("; "):
        _first, *_rest = _phrase.split()
        if not _rest:
            WORDS[_first] = (_task, float(_weight))
            continue
        _after = PHRASES.setdefault(_first, {}).setdefault(_rest[0], [])
        _after.append((tuple(_rest[1:]), _task, float(_weight)))
