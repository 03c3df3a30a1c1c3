"""The official JSON Schema Test Suite, through both engines: see tests/data/README.md.

Where the expectation is not met, it says here why. The two engines never differ.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from cascade.errors import ConfigError
from cascade.validators.schemas import Schema, compile_schema

SUITE = Path(__file__).parent.parent / "data" / "json_schema_test_suite.json.gz"
DRAFTS = {
    "draft4": "http://json-schema.org/draft-04/schema",
    "draft6": "http://json-schema.org/draft-06/schema",
    "draft7": "http://json-schema.org/draft-07/schema",
    "draft2019-09": "https://json-schema.org/draft/2019-09/schema",
    "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
}

# Schemas that are refused: what the error says, and in which files and how often.
REFUSED = {
    # Nothing is ever fetched.
    "leads out of the schema": {
        "refRemote.json": 60,
        "dynamicRef.json": 5,
        "optional/cross-draft.json": 4,
    },
    # A dialect of somebody's own, behind a URL.
    "$schema is": {"vocabulary.json": 4, "optional/format-assertion.json": 2},
    # ECMA-262 spells it \cC and \p{Letter}; Python's re knows neither.
    "no regular expression of Python": {"optional/ecmascript-regex.json": 30},
    # A format that would go unchecked: formats=False, or a list, says that this is meant.
    "none of JSON Schema's": {"optional/format/unknown.json": 5},
}

# Optional cases that are judged otherwise than the suite would like: how many, in which files.
OTHERWISE = {
    # Python's \d, \w and \s are Unicode's, and its $ matches before a last line break.
    "optional/ecmascript-regex.json": 70,
    "optional/format/ecmascript-regex.json": 1,
    # A leap second is no time in Python.
    "optional/format/date-time.json": 10,
    "optional/format/time.json": 18,
    # "email" asks for an @ and no more.
    "optional/format/email.json": 17,
    # contentMediaType and contentEncoding are annotations, as from 2019-09 on.
    "optional/content.json": 4,
    # "dependencies" is gone from 2019-09 on.
    "optional/dependencies-compatibility.json": 28,
}

Group: TypeAlias = dict[str, Any]


def suite() -> list[Group]:
    groups: list[Group] = json.loads(gzip.decompress(SUITE.read_bytes()))
    return groups


def compiled(group: Group, engine: Any) -> Schema:
    schema = group["schema"]
    if isinstance(schema, dict):
        schema = {"$schema": DRAFTS[group["draft"]], **schema}
    asserted = group["file"].startswith("optional/format")
    return compile_schema(schema, formats=asserted, engine=engine)


def accepted() -> Iterator[tuple[Group, Schema, Schema]]:
    for group in GROUPS:
        try:
            yield group, compiled(group, "jsonschema"), compiled(group, "jsonschema-rs")
        except ConfigError:
            continue


GROUPS = suite()


def test_the_suite_is_whole() -> None:
    assert {group["draft"] for group in GROUPS} == set(DRAFTS)
    assert sum(len(group["tests"]) for group in GROUPS) > 7_000


def test_only_the_listed_schemas_are_refused() -> None:
    refused: dict[str, dict[str, int]] = {why: {} for why in REFUSED}
    for group in GROUPS:
        try:
            compiled(group, "auto")
        except ConfigError as error:
            (why,) = (why for why in REFUSED if why in str(error))
            refused[why][group["file"]] = refused[why].get(group["file"], 0) + 1
    assert refused == REFUSED


def test_verdicts_are_as_expected_and_the_engines_never_differ() -> None:
    otherwise: dict[str, int] = {}
    for group, reference, fast in accepted():
        for description, data, valid in group["tests"]:
            complaints = reference.complaints(data)
            assert fast.complaints(data) == complaints, (group["file"], description)
            if (not complaints) != valid:
                otherwise[group["file"]] = otherwise.get(group["file"], 0) + 1
    assert otherwise == OTHERWISE


def test_every_required_case_is_as_expected() -> None:
    assert all(file.startswith("optional/") for file in OTHERWISE)


def test_most_schemas_are_answered_by_the_fast_engine() -> None:
    fast = [schema.fast for _, _, schema in accepted()]
    assert sum(fast) / len(fast) > 0.8
