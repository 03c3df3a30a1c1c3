"""What the gate found, as text, markdown for a pull request, JUnit XML and JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final
from xml.etree import ElementTree

from cascade.evals.arms import case_name
from cascade.evals.gate import Comparison, Report
from cascade.evals.gate_noise import Noise

__all__ = ["as_dict", "contents", "junit", "markdown", "noise_dict", "noise_text", "text"]

_SHOWN: Final = 20
_HEADER: Final = ("", "cases", "baseline", "candidate", "change", "interval", "better", "worse", "")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def text(report: Report) -> str:
    """For a terminal. Cases appear by their ids; no content."""
    rows = [_HEADER, *_rows(report)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = [f"{report.verdict}: {_title(report)}", *(f"  {why}" for why in report.reasons), ""]
    lines += [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines += ["", *(f"{name}: {told}" for name, told in _deltas(report))]
    lines += [f"{count} cases {what}" for what, count in report.pairs.unpaired.items()]
    lines += [_ids("answered worse", report.losses), _ids("answered better", report.gains)]
    return "\n".join(lines)


def _title(report: Report) -> str:
    baseline, candidate = report.pairs.names
    settings, test = report.settings, report.overall.test
    method = f" ({test.method})" if test is not None else ""
    return (
        f"{candidate} against {baseline}, within {settings.within:.2%} at "
        f"{settings.confidence:.0%} confidence{method}"
    )


def _rows(report: Report) -> Iterator[tuple[str, ...]]:
    """The cells of the whole, of every slice, and of every slice of which nothing is left."""
    compared = (report.overall, *report.slices)
    yield from (_cells(one) for one in compared)
    there = {one.name for one in compared}
    for name, count in sorted(report.pairs.ungraded.items()):
        if name not in there:
            cells = (f"slice {name}", "0", "-", "-", "-", "-", "0", "0")
            yield *cells, f"open: {count:,} without a graded answer"


def _cells(one: Comparison) -> tuple[str, ...]:
    interval = "-"
    if one.test is not None and one.upper is not None:
        interval = f"{one.test.lower:+.2%} to {one.upper:+.2%}"
    return (
        f"slice {one.name}" if one.name else "overall",
        f"{one.n:,}",
        f"{one.baseline:.2%}",
        f"{one.candidate:.2%}",
        f"{one.difference:+.2%}",
        interval,
        str(one.gains),
        str(one.losses),
        _found(one),
    )


def _found(one: Comparison) -> str:
    if one.cases_needed is None:
        return one.finding
    return f"{one.finding}: about {one.cases_needed:,} more"


def _deltas(report: Report) -> Iterator[tuple[str, str]]:
    cost = report.cost
    change = ""
    if cost.ratio is not None and cost.interval is not None:
        low, high = cost.interval
        change = f" ({cost.ratio - 1:+.1%}, {low - 1:+.1%} to {high - 1:+.1%})"
    yield (
        "cost",
        f"${1000 * cost.baseline_usd:.4f} to ${1000 * cost.candidate_usd:.4f} per 1,000{change}",
    )
    before, after = report.latency_s
    if before is not None and after is not None:
        for name, old, new in zip(("p50", "p95"), before, after, strict=True):
            yield f"latency {name}", f"{old:.2f} s to {new:.2f} s"
    shares = ["-" if share is None else f"{share:.1%}" for share in report.escalation]
    if shares != ["-", "-"]:
        yield "escalated", " to ".join(shares)


def _ids(what: str, ids: Sequence[str]) -> str:
    if not ids:
        return f"{what}: none"
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return f"{what} ({len(ids)}): {', '.join(ids[:_SHOWN])}{more}"


def contents(report: Report) -> Iterator[str]:
    """The answers of the cases that were answered differently well. Content: only when asked."""
    wanted = {*report.losses, *report.gains}
    for key, ours, theirs in zip(
        report.pairs.keys, report.pairs.baseline, report.pairs.candidate, strict=True
    ):
        if case_name(key) in wanted:
            what = "worse" if theirs.correct < ours.correct else "better"
            yield f"{case_name(key)} ({what}): {ours.answer!r} became {theirs.answer!r}"


# --- markdown


def markdown(report: Report) -> str:
    """For a pull request."""
    lines = [f"### {_MARKS[report.verdict]} cascade gate: {report.verdict}", "", _title(report), ""]
    lines += [f"- {_plain(str(why))}" for why in report.reasons]
    lines += ["", "| | cases | baseline | candidate | change | interval | better | worse | |"]
    lines += ["|---|--:|--:|--:|--:|--:|--:|--:|---|"]
    lines += ["| " + " | ".join(_plain(cell) for cell in cells) + " |" for cells in _rows(report)]
    lines += ["", *(f"- {name}: {told}" for name, told in _deltas(report))]
    lines += [f"- {count} cases {_plain(what)}" for what, count in report.pairs.unpaired.items()]
    for what, ids in (("worse", report.losses), ("better", report.gains)):
        if ids:
            listed = ", ".join(f"`{_plain(one)}`" for one in ids)
            lines += ["", f"<details><summary>{len(ids)} answered {what}</summary>", "", listed]
            lines += ["", "</details>"]
    return "\n".join(lines) + "\n"


_MARKS: Final = {"PASS": "✅", "FAIL": "❌", "INCONCLUSIVE": "⚠️"}


def _plain(value: str) -> str:
    """A name that cannot become markup or end a table's cell."""
    return re.sub(r"([|`<>\\\[\]])", r"\\\1", _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", value))


# --- JUnit


def junit(report: Report) -> str:
    """As JUnit XML: a test case for the whole and for each slice, and what else decided.

    What is inconclusive is a failure of the type "inconclusive"; a slice with too few cases to be
    tested is skipped.
    """
    compared = (report.overall, *report.slices)
    suite = ElementTree.Element("testsuite", name="cascade gate")
    for one in compared:
        case = ElementTree.SubElement(
            suite, "testcase", classname="cascade.gate", name=_clean(_cells(one)[0])
        )
        _note(case, one)
    told = {_cells(one)[0] for one in compared}
    for reason in report.reasons:
        if reason.where not in told:
            case = ElementTree.SubElement(
                suite, "testcase", classname="cascade.gate", name=reason.where
            )
            _fail(case, reason.finding, reason.words)
    cases = list(suite)
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("errors", "0")
    suite.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    declaration = '<?xml version="1.0" encoding="utf-8"?>\n'
    return declaration + ElementTree.tostring(root, encoding="unicode") + "\n"


def _note(case: ElementTree.Element, one: Comparison) -> None:
    told = " ".join(cell for cell in _cells(one)[1:] if cell)
    if one.finding in ("worse", "open"):
        _fail(case, one.finding, told)
    elif one.finding == "too few cases":
        ElementTree.SubElement(case, "skipped", message=told)


def _fail(case: ElementTree.Element, finding: str, told: str) -> None:
    kind = "worse" if finding == "worse" else "inconclusive"
    ElementTree.SubElement(case, "failure", type=kind, message=_clean(told))


def _clean(value: str) -> str:
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", value)


# --- JSON


def as_dict(report: Report) -> dict[str, Any]:
    """Everything, for machines. Cases appear by their ids; no content."""
    settings = report.settings
    return {
        "verdict": report.verdict,
        "reasons": [str(reason) for reason in report.reasons],
        "baseline": report.pairs.names[0],
        "candidate": report.pairs.names[1],
        "within": settings.within,
        "confidence": settings.confidence,
        "overall": _comparison(report.overall),
        "slices": {one.name: _comparison(one) for one in report.slices},
        "cost": {
            "baseline_usd": report.cost.baseline_usd,
            "candidate_usd": report.cost.candidate_usd,
            "ratio": report.cost.ratio,
            "interval": report.cost.interval,
        },
        "latency_s": dict(
            zip(("baseline", "candidate"), map(_latency, report.latency_s), strict=True)
        ),
        "escalation": dict(zip(("baseline", "candidate"), report.escalation, strict=True)),
        "unpaired": dict(report.pairs.unpaired),
        "ungraded_by_slice": dict(report.pairs.ungraded),
        "answered_worse": report.losses,
        "answered_better": report.gains,
    }


def _latency(pair: tuple[float, float] | None) -> dict[str, float] | None:
    return None if pair is None else {"p50": pair[0], "p95": pair[1]}


def _comparison(one: Comparison) -> dict[str, Any]:
    test = one.test
    return {
        "finding": one.finding,
        "required": one.required,
        "n": one.n,
        "clusters": one.clusters,
        "effective_n": None if test is None else test.n,
        "better": one.gains,
        "worse": one.losses,
        "baseline": one.baseline,
        "candidate": one.candidate,
        "difference": one.difference,
        "interval": None if test is None else [test.lower, one.upper],
        "method": None if test is None else test.method,
        "p_value": None if test is None else test.p_value,
        "worse_p_value": one.worse_p,
        "cases_needed": one.cases_needed,
    }


# --- the A/A check


def noise_text(found: Noise) -> str:
    """For a terminal."""
    shares = ", ".join(f"{verdict} {share:.1%}" for verdict, share in found.shares.items())
    return (
        f"{found.n:,} cases asked twice: {found.discordant:.1%} are graded differently, "
        f"{found.difference:+.2%} on the whole ({found.verdict})\n"
        f"with no change at all the gate would say: {shares} (of {found.repeats} exchanges)"
    )


def noise_dict(found: Noise) -> dict[str, Any]:
    """For machines."""
    return {
        "n": found.n,
        "discordant": found.discordant,
        "difference": found.difference,
        "verdict": found.verdict,
        "shares": dict(found.shares),
        "repeats": found.repeats,
    }
