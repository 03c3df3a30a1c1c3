from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.simulated import TICKET_SCHEMA, Case, grade, workload
from cascade.simulated.tickets import KINDS, Kind, usd
from cascade.simulated.workload import TASKS, chat, solve

seeds = st.integers(0, 2**32)
kinds = st.sampled_from(KINDS)


def only(kind: Kind) -> tuple[float, float, float]:
    return (float(kind == "lookup"), float(kind == "drafting"), float(kind == "hard"))


def case_of(prompt: str) -> Case:
    solution = solve(prompt)
    assert solution is not None
    kind: Kind = next(kind for kind in KINDS if kind == solution.ticket["kind"])
    return Case("x", kind, prompt, solution.ticket, chat(prompt))


@given(seed=seeds, kind=kinds)
def test_the_expected_answer_grades_true(seed: int, kind: Kind) -> None:
    for case in workload(5, seed, only(kind)):
        assert case.kind == kind == case.expected["kind"]
        assert grade(case, case.expected)
        assert grade(case, json.dumps(case.expected))
        jsonschema.validate(case.expected, TICKET_SCHEMA)


@given(seed=seeds, kind=kinds)
def test_every_mistake_is_plausible_and_wrong(seed: int, kind: Kind) -> None:
    for case in workload(5, seed, only(kind)):
        solution = solve(case.prompt)
        assert solution is not None
        assert solution.mistakes
        for mistake in solution.mistakes:
            jsonschema.validate(mistake, TICKET_SCHEMA)
            assert not grade(case, mistake)


@given(seed=seeds, kind=kinds)
def test_the_truth_is_a_function_of_the_prompt(seed: int, kind: Kind) -> None:
    (case,) = workload(1, seed, only(kind))
    solution = solve(case.prompt)
    assert solution is not None
    assert solution.ticket == case.expected
    assert case.messages[-1] == {"role": "user", "content": case.prompt}


@given(seed=seeds, kind=kinds)
def test_a_ticket_is_of_one_kind_only(seed: int, kind: Kind) -> None:
    (case,) = workload(1, seed, only(kind))
    assert [task.kind for task in TASKS if task.solve(case.prompt)] == [kind]


@given(st.text())
def test_other_texts_are_no_tickets(text: str) -> None:
    assert solve(text) is None


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_grading_takes_any_value(value: object) -> None:
    (case,) = workload(1)
    assert not grade(case, value)
    assert not grade(case, {"kind": value, "answer": value, "reply": value})


def test_the_same_arguments_give_the_same_cases() -> None:
    assert workload(50, 7) == workload(50, 7)
    assert workload(50, 7) != workload(50, 8)
    assert workload(20, 7) == workload(50, 7)[:20]


def test_no_two_prompts_are_the_same_and_the_mix_holds() -> None:
    cases = workload(2000, 3)
    assert len({case.prompt for case in cases}) == len({case.id for case in cases}) == 2000
    counts = Counter(case.kind for case in cases)
    assert counts["lookup"] / 2000 == pytest.approx(0.70, abs=0.03)
    assert counts["drafting"] / 2000 == pytest.approx(0.25, abs=0.03)
    assert counts["hard"] / 2000 == pytest.approx(0.05, abs=0.02)


def test_an_impossible_workload_is_refused() -> None:
    assert workload(0) == []
    with pytest.raises(ValueError, match="n is -1"):
        workload(-1)
    for mix in ((0.0, 0.0, 0.0), (1.0, -0.5, 0.5)):
        with pytest.raises(ValueError, match="mix is"):
            workload(1, mix=mix)


@pytest.mark.parametrize(
    "written", ["USD 12.50", "12.5000", "$12.50", "12.50 USD", " usd 12.50. ", 12.5, "USD 12.500"]
)
def test_an_amount_is_graded_as_a_number(written: object) -> None:
    case = case_of(PRORATED.format(old="10.00", new="25.00", day=6, percent=0))
    assert case.expected["answer"] == "USD 12.50"
    assert grade(case, case.expected | {"answer": written})


@pytest.mark.parametrize("written", ["USD 12.51", "12", "EUR 12.50", "", True, None, [12.5]])
def test_another_amount_is_wrong(written: object) -> None:
    case = case_of(PRORATED.format(old="10.00", new="25.00", day=6, percent=0))
    assert not grade(case, case.expected | {"answer": written})


def test_broken_json_is_wrong() -> None:
    case = workload(1)[0]
    text = json.dumps(case.expected)
    for broken in (text[:-1], f"{text} bye", f"```json\n{text}\n```", "[" * 100_000, "[]"):
        assert not grade(case, broken)


def test_a_draft_may_be_worded_freely() -> None:
    (case,) = workload(1, 5, only("drafting"))
    solution = solve(case.prompt)
    assert solution is not None
    reply = f"We are so sorry! {' and '.join(solution.must_say).upper()}, best regards."
    assert grade(case, case.expected | {"reply": reply})
    assert not grade(case, {**case.expected, "reply": [reply]})
    assert not grade(case, case.expected | {"reply": f"{reply} Also take USD 999."})
    assert not grade(case, case.expected | {"reply": f"{reply} {solution.must_not_say[0]}"})


PRORATED = (
    "I moved from a plan of USD {old} to one of USD {new} on day {day} of my 30-day cycle, and I "
    "hold a coupon of {percent} % on the charge.\n"
    "Policy: an upgrade is charged at once with the difference of the two prices, for the days "
    "left in the cycle, the day of the change included, over 30. Coupons come off last.\n"
    "What is the charge for the upgrade?"
)
REFUND = (
    "My order came on 2026-03-01 and on {asked} I asked to send it all back: 2 x wall clock at "
    "USD 10.00 each, unopened, and one air pump at USD 50.00, opened. Shipping was USD 5.00.\n"
    "Policy: returns are taken up to 30 days after delivery, later ones get USD 0.00. Opened "
    "items lose a restocking fee of 20 %. Shipping is not refunded.\n"
    "What is the refund?"
)
CREDIT = (
    "I pay USD 200.00 a month. Last month had 30 days and your service was down for {down} "
    "minutes, 30 of them announced as planned work.\n"
    "Policy: planned work does not count. Downtime over 0.1 % of the month earns a credit of "
    "10 % of the fee, over 1 % earns 25 %, over 5 % earns 50 %. Only the highest applies.\n"
    "What is the credit?"
)
NOTICE = (
    "My contract renews on 2026-05-01. I gave notice on {given}.\n"
    "Policy: notice given at least 30 days before the renewal date ends the contract on the day "
    "before that date. With later notice the contract renews once for 90 days and ends on the "
    "day before the next renewal date.\n"
    "What is the last day of the contract?"
)
SEATS = (
    "We want {seats} seats for a year.\n"
    "Policy: each month the first 10 seats cost USD 10.00 each, the next 30 USD 8.00 each, any "
    "more USD 5.00 each. Paying 12 months at once takes 10 % off. Your credit of USD 30.00 comes "
    "off last.\n"
    "What do we pay for the year?"
)


# Worked by hand from the policies' own words.
@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        (PRORATED.format(old="10.00", new="40.00", day=30, percent=10), "USD 0.90"),
        (PRORATED.format(old="10.00", new="40.00", day=3, percent=10), "USD 25.20"),
        (REFUND.format(asked="2026-03-31"), "USD 60.00"),
        (REFUND.format(asked="2026-04-01"), "USD 0.00"),
        (CREDIT.format(down=73), "USD 0.00"),  # 43 counted, 43.2 is 0.1 %
        (CREDIT.format(down=74), "USD 20.00"),
        (CREDIT.format(down=462), "USD 20.00"),  # 432 counted is 1 % and not over
        (CREDIT.format(down=463), "USD 50.00"),
        (CREDIT.format(down=2191), "USD 100.00"),
        (NOTICE.format(given="2026-04-01"), "2026-04-30"),
        (NOTICE.format(given="2026-04-02"), "2026-07-29"),
        (SEATS.format(seats=10), "USD 1050.00"),
        (SEATS.format(seats=40), "USD 3642.00"),
        (SEATS.format(seats=42), "USD 3750.00"),
    ],
)
def test_policies_are_worked_as_they_read(prompt: str, answer: str) -> None:
    assert case_of(prompt).expected["answer"] == answer


def test_nothing_to_pay_leaves_something_to_get_wrong() -> None:
    case = case_of(PRORATED.format(old="0.00", new="0.00", day=6, percent=0))
    solution = solve(case.prompt)
    assert solution is not None
    assert [grade(case, mistake) for mistake in solution.mistakes] == [False]


def test_cents_round_half_up() -> None:
    assert usd(Decimal("0.125")) == "USD 0.13"
    assert usd(Decimal("1.005")) == "USD 1.01"
