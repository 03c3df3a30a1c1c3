"""What an estimate comes to, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cascade.cli.estimate_layers import Assumption
from cascade.cli.estimate_words import money, percent, whole
from cascade.estimate import Estimate

__all__ = ["advice"]


def advice(found: Estimate, assumptions: Sequence[Assumption]) -> list[str]:
    """Whether to use the cascade, which rungs to drop, which rules to add, what to measure."""
    lines = [_verdict(found)]
    if len(found.tiers) > 1:
        lines.extend(_rungs(found))
        lines.extend(_rules(found))
        lines.extend(_doubts(found, assumptions))
    return lines


def _verdict(found: Estimate) -> str:
    saving, worth = found.saving_usd, money(found.scenario.worth_usd)
    strongest = found.strongest
    if len(found.tiers) == 1:
        return f"there is nothing to decide: {strongest} is the only tier"
    if saving <= 0:
        more = "as much as" if saving == 0 else f"{money(-saving)} a month more than"
        return f"do not use this cascade: it costs {more} {strongest} alone"
    share = percent(found.saving_share)
    if not found.worth_it:
        return (
            f"not worth it: it saves {money(saving)} a month ({share}), less than its upkeep of "
            f"{worth}; send everything to {strongest}. It would pay from "
            f"{found.worth_from_calls:,} calls a month on"
        )
    saves = f"worth it: it saves {money(saving)} of {money(found.now_usd)} a month ({share})"
    if not found.scenario.worth_usd:
        return saves
    return (
        f"{saves}, and pays for its upkeep of {worth} from {found.worth_from_calls:,} calls a "
        "month on"
    )


def _rungs(found: Estimate) -> Iterator[str]:
    """Rungs that do not pay, and the ladder that would be cheapest."""
    for tier in found.tiers[:-1]:
        if tier.total.asked and not tier.total.pays:
            yield (
                f"{tier.total.tier} does not pay: {percent(tier.acceptance)} of its answers are "
                f"accepted, it breaks even at {percent(tier.break_even, 'none at all')}; it costs "
                f"{money(tier.total.cost_usd)} a month and avoids {money(tier.total.avoided_usd)}"
            )
    ladder = [tier.total.tier for tier in found.tiers]
    dropped = [name for name in ladder if name not in found.best_ladder]
    if dropped:
        yield (
            f"drop {' and '.join(dropped)}: {' > '.join(found.best_ladder)} costs "
            f"{money(found.best_usd)} a month instead of {money(found.cost_usd)}"
        )


def _rules(found: Estimate) -> Iterator[str]:
    """Kinds of call for which other rungs are cheaper than for the rest."""
    ladders = found.best_by_kind.items()
    apart = [f"{kind} on {' > '.join(own)}" for kind, own in ladders if own != found.best_ladder]
    gain = found.best_usd - found.best_by_kind_usd
    if gain > 0:
        yield f"rules by kind of call would save another {money(gain)} a month: {'; '.join(apart)}"


def _doubts(found: Estimate, assumptions: Sequence[Assumption]) -> Iterator[str]:
    """What the estimate hangs on."""
    worst = found.sensitivity[0]
    if found.worth_it and worst.saving_usd < found.scenario.worth_usd:
        yield (
            f"with {whole(-worst.points * 100)} points less acceptance it would save "
            f"{money(worst.saving_usd)} a month and no longer be worth it"
        )
    if found.worth_it and found.waits and found.waits[-1].share:
        last = found.waits[-1]
        yield (
            f"{percent(last.share)} of the calls go all the way up and wait {last.added_s:.2f} s "
            f"more than with {last.tier} alone; give paths that cannot wait a direct tier"
        )
    if any("accepted" in one.what and one.basis != "measured" for one in assumptions):
        yield (
            "acceptance is assumed: before you build on it, measure it on a sample of your own "
            "requests with `cascade run --file`"
        )
