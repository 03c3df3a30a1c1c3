"""`cascade estimate`: the worked example, every way of giving figures, and what it says of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest

from cascade.cli.estimate_traffic import KindTraffic, Traffic, gathered, traffic_of
from cascade.ledger import Ledger, MemoryLedger
from cascade.types import Attempt, Charge, Price, Result, Usage
from tests.cli.conftest import ROOT, Cli, Done

Json = dict[str, Any]

CONFIG = """
[tiers.cheap]
model = "simulated:sim-small"
price = { input = 0.05, output = 0.40 }
latency_s = 0.25

[tiers.dear]
model = "simulated:sim-large"
price = { input = 3.00, output = 15.00 }
latency_s = 1.5

[tiers.unpriced]
model = "simulated:sim-large"

[cascades.support]
tiers = ["cheap", "dear"]

[cascades.odd]
tiers = ["cheap", "unpriced"]
"""

SCENARIO = """
calls = 20_000
worth_usd = 50
measured = ["acceptance", "mix"]

[kinds.chat]
share = 1
input_tokens = 800.5
output_tokens = 300
acceptance = { small = 0.63 }

[tiers.small]
price = { input = 0.05, output = 0.40 }
validators_usd = 0.0002
latency_s = 0.4

[tiers.large]
price = { input = 3.00, output = 15.00 }
latency_s = 2.0
"""


@pytest.fixture(autouse=True)
def _as_wide_as_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def figures(cli: Cli, *options: str | Path) -> Json:
    done = cli("estimate", *options, "--json")
    assert (done.code, done.err) == (0, "")
    found: Json = json.loads(done.out)
    return found


def written(name: str, text: str) -> Path:
    file = Path(name)
    file.write_text(text, encoding="utf-8")
    return file


def assumption(found: Json, what: str) -> tuple[str, str, str]:
    one = next(one for one in found["assumptions"] if one["what"] == what)
    return one["value"], one["basis"], one["origin"]


def complaint(done: Done) -> str:
    assert (done.code, done.out) == (2, "")
    return done.err


def test_the_worked_example(cli: Cli) -> None:
    found = figures(cli)
    assert (found["calls"], found["cost_usd"], found["saving_usd"]) == (500_000, "532.5", "2092.5")
    assert found["alone_usd"] == {"small": "59.5", "medium": "308", "large": "2625"}
    assert {one["kind"]: one["cost_usd"] for one in found["kinds"]} == {
        "lookups": "68.95",
        "drafting": "203.75",
        "hard": "259.8",
    }
    assert [(one["tier"], one["asked"], one["cost_usd"]) for one in found["tiers"]] == [
        ("small", 500_000, "59.5"),
        ("medium", 155_000, "137"),
        ("large", 30_750, "336"),
    ]
    assert [round(one["break_even"] or 0, 4) for one in found["tiers"]] == [0.0689, 0.1163, 0]
    assert (found["escalation_rate"], found["worth_from_calls"]) == (0.31, 119_475)
    assert found["worth_it"] is True
    assert {one["basis"] for one in found["assumptions"]} == {"assumed"}


def test_what_people_read_is_what_the_page_shows(cli: Cli) -> None:
    page = (ROOT / "docs" / "estimate.md").read_text(encoding="utf-8")
    shown = re.search(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert cli("estimate").out == shown[1]


def test_every_option_is_on_the_page(cli: Cli) -> None:
    page = (ROOT / "docs" / "estimate.md").read_text(encoding="utf-8")
    options = set(re.findall(r"│.*?(--[a-z-]+)", cli("estimate", "--help").out))
    assert {"--mix", "--from"} <= options
    assert [one for one in sorted(options - {"--log-level"}) if one not in page] == []


def test_options_replace_the_example(cli: Cli) -> None:
    found = figures(
        cli,
        *("--calls", "1000", "--mix", "chat=75%,code=0.25", "--tokens", "chat=1000/0,code=2000/0"),
        *("--tiers", "s=1/0,l=10/0", "--acceptance", "s=0.5,code.s=20%", "--validators", "0.0005"),
        *("--latency", "s=0.5,l=2", "--worth", "1", "--measured", "acceptance,latency"),
    )
    # chat 750 x (1,000 x 1 + 500 + 0.5 x 10,000) millionths = 4.875; code 250 x (2,000 + 500 +
    # 0.8 x 20,000) = 4.625; on l alone 7.50 + 5.
    assert [one["cost_usd"] for one in found["kinds"]] == ["4.875", "4.625"]
    assert (found["cost_usd"], found["saving_usd"], found["worth_it"]) == ("9.5", "3", True)
    assert [(one["latency_s"], one["added_s"]) for one in found["latency"]] == [
        (0.5, -1.5),
        (2.5, 0.5),
    ]
    assert assumption(found, "chat, accepted") == ("s 50 %", "measured", "command line")
    assert assumption(found, "s, latency")[1:] == ("measured", "command line")
    assert assumption(found, "s, validators") == ("$0.0005 an answer", "assumed", "command line")
    assert assumption(found, "l, validators") == ("$0.00 an answer", "assumed", "the example")
    assert not any("acceptance is assumed" in line for line in found["advice"])


@pytest.mark.parametrize("form", ["toml", "json"])
def test_a_scenario_file(cli: Cli, form: str) -> None:
    import tomllib

    text = SCENARIO if form == "toml" else json.dumps(tomllib.loads(SCENARIO))
    found = figures(cli, "--scenario", written(f"month.{form}", text))
    # One call: small 800.5 x 0.05 + 300 x 0.4 + 200 = 360.025 millionths, large 6,901.5:
    # 20,000 x (360.025 + 0.37 x 6,901.5) = 58.2716
    assert (found["cost_usd"], found["alone_usd"]["large"]) == ("58.2716", "138.03")
    assert assumption(found, "chat, accepted") == ("small 63 %", "measured", f"month.{form}")
    assert assumption(found, "chat, tokens") == ("800.5 in, 300 out", "assumed", f"month.{form}")


def test_options_go_before_the_scenario_file(cli: Cli) -> None:
    found = figures(cli, "-s", written("month.toml", SCENARIO), "--acceptance", "small=1")
    assert found["cost_usd"] == "7.2005"
    assert assumption(found, "chat, accepted")[1:] == ("assumed", "command line")


def test_the_ladder_of_a_configuration(cli: Cli) -> None:
    file = written("cascade.toml", CONFIG)
    found = figures(cli, "--config", file, "--cascade", "support")
    assert list(found["alone_usd"]) == ["cheap", "dear"]
    assert assumption(found, "cheap, 1M tokens")[2] == "cascade.toml"
    assert assumption(found, "dear, latency")[0] == "1.5 s at the median"
    assert assumption(found, "hard, accepted") == ("cheap 10 %", "assumed", "the example")


def test_a_judge_is_not_forgotten(cli: Cli) -> None:
    judge = 'validators = [{ use = "judge", tier = "dear", rubric = "Is it right?", at = 0.5 }]'
    ladder = 'tiers = ["cheap", "dear"]'
    file = written("cascade.toml", CONFIG.replace(ladder, f"{ladder}\n{judge}"))
    options = ("estimate", "--config", file, "--cascade", "support")
    warning = "warning: what judge costs is not in here"
    assert warning in cli(*options).err
    assert cli(*options, "--validators", "0.0002").err == ""


def test_too_little_traffic_is_told_plainly(cli: Cli) -> None:
    found = figures(cli, "--calls", "1000")
    assert found["worth_it"] is False
    assert found["advice"][0] == (
        "not worth it: it saves $4.19 a month (79.7 %), less than its upkeep of $500.00; send "
        "everything to large. It would pay from 119,475 calls a month on"
    )


def test_amounts_below_a_dollar_are_rounded_for_people(cli: Cli) -> None:
    amounts = re.findall(r"\$0\.0*([1-9]\d*)", cli("estimate", "--calls", "777").out)
    assert amounts
    assert max(map(len, amounts)) <= 4


def test_a_cascade_that_costs_more_and_its_rung_that_does_not_pay(cli: Cli) -> None:
    found = figures(cli, "--tiers", "small=2/10,large=3/15", "--acceptance", "small=0.5")
    # All on small 1,750: two thirds of the price, for half of the answers.
    assert found["advice"] == [
        "do not use this cascade: it costs $437.50 a month more than large alone",
        (
            "small does not pay: 50.0 % of its answers are accepted, it breaks even at 66.7 %; it "
            "costs $1,750.00 a month and avoids $1,312.50"
        ),
        "drop small: large costs $2,625.00 a month instead of $3,062.50",
        (
            "acceptance is assumed: before you build on it, measure it on a sample of your own "
            "requests with `cascade run --file`"
        ),
    ]


def test_a_rule_for_a_kind_is_proposed(cli: Cli) -> None:
    found = figures(cli, "--acceptance", "hard.small=0")
    line = "rules by kind of call would save another $10.50 a month: hard on medium > large"
    assert line in found["advice"]


def test_a_bet_on_ten_points_is_named(cli: Cli) -> None:
    found = figures(cli, "--worth", "2000")
    assert (
        "with 10 points less acceptance it would save $1,862.20 a month and no longer be worth it"
        in found["advice"]
    )


def test_upkeep_that_costs_nothing_is_not_spoken_of(cli: Cli) -> None:
    line = "worth it: it saves $2,092.50 of $2,625.00 a month (79.7 %)"
    assert figures(cli, "--worth", "0")["advice"][0] == line


def test_one_tier_is_no_cascade(cli: Cli) -> None:
    out = cli("estimate", "--tiers", "large=3/15").out
    assert "there is nothing to decide: large is the only tier" in out
    assert "break" not in out


def test_without_latencies_the_wait_is_unknown(cli: Cli) -> None:
    done = cli("estimate", "--tiers", "a=1/2,b=3/4", "--acceptance", "a=0.5")
    assert "unknown: give every tier a latency" in done.out
    assert figures(cli, "--tiers", "a=1/2,b=3/4")["latency"] == []


def test_a_kind_that_does_not_occur_is_shown_as_such(cli: Cli) -> None:
    out = cli("estimate", "--mix", "lookups=1,hard=0").out
    assert re.search(r"^  hard +not asked +not asked$", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--mix", "lookups=0.7,hard=0.2"], "the shares add up to 0.9, not to 1"),
        (["--mix", "lookups"], "--mix: 'lookups' is no NAME=VALUE; write --mix lookups=0.7,"),
        (["--mix", "lookups=1,lookups=0"], "--mix: 'lookups' is there twice"),
        (["--mix", "lookups=x%"], "--mix: 'x' is no number of 0 or more"),
        (
            ["--mix", "chat=0.5,code=0.5", "--tokens", "chat=1/1", "--acceptance", "small=0.5"],
            (
                "there are no token sizes of code; give them, as in --tokens code=500/100; and "
                "there is no acceptance of chat.medium, code.medium; give the share of answers "
                "that pass, measured or assumed, as in --acceptance chat.medium=0.8,"
                "code.medium=0.8"
            ),
        ),
        (["--tokens", "lookups=5"], "lookups=5 is one number; write two, input/output"),
        (["--tokens", "lookup=5/5"], "did you mean 'lookups'?"),
        (["--acceptance", "smal=0.5"], "acceptance (command line): 'smal' is not part of this"),
        (["--acceptance", "large=0.5"], "that of the strongest tier, where it changes no cost"),
        (["--acceptance", "small=1.5"], "acceptance of 'small' is 1.5; give 0 to 1"),
        (["--latency", "tiny=1"], "latency (command line): 'tiny' is not part of this estimate"),
        (["--validators", "tiny=1"], "validators (command line): 'tiny' is not part"),
        (["--calls", "many"], "--calls: 'many' is no number of 0 or more"),
        (["--calls", "0"], "calls is 0; give a number above 0"),
        (["--worth", "inf"], "--worth: 'inf' is no number of 0 or more"),
        (["--measured", "tokenz"], "--measured: there is no 'tokenz'; did you mean 'tokens'?"),
        (["--cascade", "support"], "--by and --days go with --from, and --cascade with it or"),
        (["--days", "3"], "--by and --days go with --from"),
        (["--from", "none.db"], "--from needs the prices of the tiers: give --config, or --tiers"),
        (["--from", "none.db", "--tiers", "a=1/1,b=2/2"], "there is no ledger"),
        (["--from", "none.db", "--tiers", "a=1/1", "--by", "x"], "--by: there is no 'x'; known:"),
        (["--scenario", "none.toml"], "there is no scenario file 'none.toml'"),
        (["--config", "cascade.toml"], "several cascades; name one of support, odd"),
        (["--config", "cascade.toml", "--cascade", "odd"], "tier 'unpriced' in cascade.toml has"),
        (
            ["--config", "cascade.toml", "--cascade", "support", "--tiers", "a=1/1,b=2/2"],
            "the ladder is given twice: in --config cascade.toml, and as tiers elsewhere",
        ),
    ],
)
def test_a_mistake_is_named_with_its_mend(cli: Cli, options: list[str], words: str) -> None:
    written("cascade.toml", CONFIG)
    assert words in complaint(cli("estimate", *options))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("calls = ", "is not valid TOML"),
        ('calls = "many"', "calls: many will not do: it should be a number"),
        ("call = 1", "call: there is no such key; did you mean 'calls'?"),
        ("[kinds.a]\nshar = 1", "kinds.a.share: it is required; add it"),
        ("[kinds.a]\nshar = 1", "kinds.a.shar: there is no such key; did you mean 'share'?"),
        ("[kinds.a]\nshare = 2", "kinds.a.share: 2 will not do: it should be less than or equal"),
        ("[kinds.a]\nshare = 1\ninput_tokens = 1", "kinds.a: give input_tokens and output_tokens"),
        ("[tiers.a]\nprise = 1", "tiers.a.prise: there is no such key; did you mean 'price'?"),
        ("[tiers.a]\nprice = 1", "tiers.a.price: it should be a table"),
        ("[tiers.a.price]\ninptu = 1", "tiers.a.price.inptu: there is no such key"),
        ('[tiers.""]\nprice = {input = 1, output = 1}', "a name should not be empty"),
        ('measured = ["speed"]', "measured[0]: speed will not do: it should be 'calls', 'mix'"),
        ("[kinds.a]\nshare = 1\nacceptance = { smal = 1 }", "did you mean 'a.small'?"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(cli: Cli, text: str, words: str) -> None:
    if "smal" in text:
        text = text.replace("share = 1", "share = 1\ninput_tokens = 1\noutput_tokens = 1")
    assert words in complaint(cli("estimate", "-s", written("month.toml", text)))


def test_a_scenario_file_that_is_no_text(cli: Cli) -> None:
    Path("month.toml").write_bytes(b"\xff\xfe")
    assert "cannot be read as UTF-8 text" in complaint(cli("estimate", "-s", "month.toml"))
    assert "is not valid JSON" in complaint(cli("estimate", "-s", written("month.json", "{")))
    deep = written("month.json", "[" * 100_000)
    assert "is nested too deep" in complaint(cli("estimate", "-s", deep))


# Real traffic

WEEK_S = 7 * 86_400


def stored(count: int, every_s: float, **more: Any) -> str:
    """A ledger of calls: of five on path chat three are accepted on small, of code none."""
    price = Price(input="0.05", output="0.40")
    judge = Charge("judge", Price(input=1, output=1), Usage(100, 0), purpose="judge")
    with Ledger("sqlite:ledger.db") as ledger:
        for number in range(count):
            path = "code" if number % 6 == 5 else "chat"
            accepted = path == "chat" and number % 6 < 3
            answer = Charge("small", price, Usage(400 if path == "chat" else 1000, 100))
            attempts = [
                Attempt("small", 0, "accepted" if accepted else "rejected", "", charges=[answer]),
            ]
            attempts[0].charges.append(judge)
            attempts[0].latency_s = attempts[0].call_s = 0.25
            if not accepted:
                charges = [Charge("large", price, Usage(9999, 100))]
                last = Attempt("large", 0, "accepted", "", charges=charges)
                last.latency_s = last.call_s = 1.5
                attempts.append(last)
            ledger.record(
                Result(
                    None,
                    accepted=True,
                    tier=attempts[-1].tier,
                    reason="accepted",
                    attempts=tuple(attempts),
                    latency_s=1.0,
                    path=path,
                    cascade="support",
                    id=f"call-{number}",
                    started_at=1_700_000_000 + number * every_s,
                    **more,
                )
            )
    return "ledger.db"


LADDER = ("--tiers", "small=0.05/0.40,large=3/15")


def test_real_traffic_is_counted(cli: Cli) -> None:
    file = stored(61, WEEK_S / 60)
    found = figures(cli, "--from", file, *LADDER, "--worth", "0")
    # 61 calls in 7 days: 61 x 30 / 7 = 261.4 in 30; 51 of them on chat, of which 31 at once.
    assert assumption(found, "calls a month") == ("261 (61 in 7.0 days)", "measured", "ledger")
    assert assumption(found, "chat") == ("83.61 % of the calls", "measured", "ledger")
    assert assumption(found, "chat, tokens")[0] == "400 in, 100 out"
    assert assumption(found, "code, tokens")[0] == "1,000 in, 100 out"
    assert assumption(found, "chat, accepted") == (
        *("small 60.78 % (of 51, so 47 to 73 %)", "measured", "ledger"),
    )
    assert assumption(found, "code, accepted")[0] == "small 0 % (of 10, so 0 to 28 %)"
    assert assumption(found, "small, validators")[0] == "$0.0001 an answer"
    assert assumption(found, "small, latency")[0] == "0.25 s at the median"
    assert assumption(found, "large, 1M tokens")[1:] == ("assumed", "command line")
    assert sum(one["share"] for one in found["kinds"]) == pytest.approx(1)
    assert not any("acceptance is assumed" in line for line in found["advice"])
    assert any("code on large" in line for line in found["advice"])


def test_real_traffic_of_the_last_days_and_of_one_cascade(cli: Cli) -> None:
    file = stored(61, WEEK_S / 60)
    found = figures(cli, "--from", file, *LADDER, "--days", "2", "--cascade", "support")
    assert "in 2.0 days" in assumption(found, "calls a month")[0]
    done = cli("estimate", "--from", file, *LADDER, "--cascade", "other")
    assert "the ledger holds no calls of cascade 'other'" in complaint(done)


def test_the_configuration_names_the_cascade_whose_traffic_counts(cli: Cli) -> None:
    file = stored(61, WEEK_S / 60)
    config = written("cascade.toml", CONFIG.replace("cheap", "small").replace("dear", "large"))
    found = figures(cli, "--from", file, "--config", config, "--cascade", "support")
    assert assumption(found, "small, 1M tokens")[2] == "cascade.toml"
    # What was measured goes before the latency that the configuration expects.
    assert assumption(found, "large, latency") == ("1.5 s at the median", "measured", "ledger")


def test_kinds_by_label_and_the_rare_ones_together(cli: Cli) -> None:
    file = stored(61, WEEK_S / 60, metadata={"team": "search"}, signals={"task": "lookup"})
    for by, kind in (
        ("metadata.team", "search"),
        ("signals.task", "lookup"),
        ("metadata.nobody", "no nobody"),
        ("tenant", "no tenant"),
    ):
        found = figures(cli, "--from", file, *LADDER, "--by", by)
        assert [one["kind"] for one in found["kinds"]] == [kind]
    many = Traffic({f"k{n}": KindTraffic(calls=n + 1, asked=Counter(small=n)) for n in range(20)})
    kept = gathered(many.kinds)
    assert next(iter(kept)) == "k19"
    assert (kept["8 others"].calls, kept["8 others"].asked["small"]) == (36, 28)


def test_options_go_before_real_traffic(cli: Cli) -> None:
    found = figures(cli, "--from", stored(61, WEEK_S / 60), *LADDER, "--calls", "1000000")
    assert assumption(found, "calls a month") == ("1,000,000", "assumed", "command line")


def test_no_month_is_made_up_from_an_hour(cli: Cli) -> None:
    file = stored(12, 60)
    assert "the ledger covers less than a day" in complaint(
        cli("estimate", "--from", file, *LADDER)
    )
    assert figures(cli, "--from", file, *LADDER, "--calls", "1000")["calls"] == 1000


def test_a_day_of_a_longer_ledger_is_a_day(cli: Cli) -> None:
    file = stored(61, WEEK_S / 60)
    found = figures(cli, "--from", file, *LADDER, "--days", "1")
    assert assumption(found, "calls a month")[0] == "270 (9 in 1.0 days)"
    whole = figures(cli, "--from", file, *LADDER, "--days", "7")
    assert assumption(whole, "calls a month")[0] == "261 (61 in 7.0 days)"


def test_what_a_kind_was_never_asked_is_taken_from_all_kinds(cli: Cli) -> None:
    """Calls on path code go to the large tier at once; nobody ever asked the medium one."""
    ladder = ("--tiers", "small=0.05/0.40,medium=0.4/1.6,large=3/15")
    with Ledger("sqlite:ledger.db") as ledger:
        for number in range(40):
            direct = number % 4 == 3
            first = Attempt("large" if direct else "small", 0, "accepted", "")
            first.charges.append(Charge(first.tier, Price.free(), Usage(400, 100)))
            ledger.record(
                Result(
                    None,
                    accepted=True,
                    tier=first.tier,
                    reason="accepted",
                    attempts=(first,),
                    latency_s=1.0,
                    path="code" if direct else "chat",
                    id=f"call-{number}",
                    started_at=1_700_000_000 + number * 86_400,
                )
            )
    done = cli("estimate", "--from", "ledger.db", *ladder)
    assert "there is no acceptance of chat.medium, code.medium; give" in complaint(done)
    found = figures(cli, "--from", "ledger.db", *ladder, "--acceptance", "medium=0.5")
    assert assumption(found, "code, accepted")[0] == (
        "small 100 % (over all kinds, of 23, so 86 to 100 %), medium 50 %"
    )
    assert (
        assumption(found, "chat, accepted")[0] == "small 100 % (of 23, so 86 to 100 %), medium 50 %"
    )


def test_a_ladder_that_the_ledger_does_not_know(cli: Cli) -> None:
    done = cli("estimate", "--from", stored(12, 86_400), "--tiers", "a=1/1,b=2/2")
    assert "no call in the ledger asked a tier of this ladder (a, b); they asked large, small" in (
        complaint(done)
    )


def test_what_was_broken_off_says_nothing_of_acceptance() -> None:
    attempt = Attempt("small", 0, "timed_out", "cancelled")
    cut = Result(None, False, None, "cancelled", (attempt,), 1.0, path="chat", started_at=1.0)
    skipped = Attempt("small", 0, "skipped", "budget")
    full = Result(None, False, None, "budget", (skipped,), 1.0, path="chat", started_at=2.0)
    ledger = MemoryLedger()
    for result in (cut, full):
        ledger.record(result)
    traffic = traffic_of(cast("Any", ledger.results), lambda call: str(call.path))
    assert traffic.kinds == {"chat": KindTraffic(calls=2)}
