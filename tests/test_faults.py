from __future__ import annotations

import logging

import pytest

from benchmarks.fault_table import FAULTS, KEY, PROMPT, Fault, expected_cost_usd, leaks

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_a_fault_becomes_what_the_table_says(
    fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen, tasks, sockets = await leaks(fault)
    assert (seen.outcome, seen.reason) == (fault.outcome, fault.reason)
    assert seen.sends == fault.sends
    assert seen.escalated is (fault.outcome != "accepted")
    assert (seen.raised == "-") is (fault.outcome == "accepted")
    assert seen.cost_usd == expected_cost_usd(fault)
    assert (tasks, sockets) == (0, 0)
    told = seen.told + caplog.text
    assert KEY not in told
    assert PROMPT not in told


def test_every_row_has_a_name_of_its_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
