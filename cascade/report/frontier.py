"""What everything would have cost on the strongest tier: an estimate, from two sides.

The ledger does not say what a request would have cost elsewhere. Two estimates bracket it: the
tokens of each answer at the strongest tier's own price (as if it wrote as much), and one of its
answers at the mean of those it gave on the same path (as if all requests were like the ones that
came to it).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from sqlalchemy import Double, Numeric, cast, func, select

from cascade.ledger.read import Reader
from cascade.ledger.tables import attempts, calls, charges
from cascade.report.figures import Frontier, Saving, Share
from cascade.report.selection import Query, Selection

__all__ = ["MIN_ANSWERS", "PerRequest", "frontier_of"]

MIN_ANSWERS: Final = 20
"""Fewer answers of a tier than this are no basis for what its answers cost."""

PerRequest: TypeAlias = tuple[float, float]
"""The least and the greatest estimate for one request, in USD."""

_ANSWERED: Final = ("accepted", "rejected")
_SINGULAR: Final = 1e-9

_AMOUNT: Final = Numeric(asdecimal=False).with_variant(Double(), "sqlite")
"""What is summed. PostgreSQL adds rows in whatever order its workers bring them, and a sum of
doubles differs with it in the last digits: of exact numbers, a report read twice is the same."""


@dataclass(slots=True)
class _Answers:
    """Sums over the answers of one tier on one path, for the price of its tokens."""

    n: int = 0
    usd: float = 0.0
    read_read: float = 0.0
    read_written: float = 0.0
    written_written: float = 0.0
    read_usd: float = 0.0
    written_usd: float = 0.0

    def add(self, sums: Iterable[Any]) -> None:
        for name, value in zip(self.__slots__, sums, strict=True):
            setattr(self, name, getattr(self, name) + value)

    @property
    def mean_usd(self) -> float:
        return self.usd / self.n

    def price(self) -> tuple[float, float] | None:
        """USD per token read and per token written, by least squares. None: it cannot be told."""
        a, b, d = self.read_read, self.read_written, self.written_written
        determinant = a * d - b * b
        if determinant <= _SINGULAR * a * d:
            return None
        read = (self.read_usd * d - self.written_usd * b) / determinant
        written = (self.written_usd * a - self.read_usd * b) / determinant
        return (read, written) if read >= 0 and written >= 0 else None


@dataclass(slots=True)
class _Sums:
    """Requests that can be compared."""

    requests: int = 0
    actual_usd: float = 0.0
    repriced_usd: float | None = 0.0
    mean_usd: float | None = 0.0

    def add(self, n: int, actual: float, repriced: float | None, mean: float | None) -> None:
        self.requests += n
        self.actual_usd += actual
        self.repriced_usd = _plus(self.repriced_usd, repriced)
        self.mean_usd = _plus(self.mean_usd, mean)

    @property
    def ends(self) -> PerRequest | None:
        """The least and the greatest estimate. None: there is none."""
        known = [usd for usd in (self.repriced_usd, self.mean_usd) if usd is not None]
        return (min(known), max(known)) if known and self.requests else None


@dataclass(slots=True)
class _Ladder:
    """The tiers of one cascade: their answers on each path, and together."""

    tiers: dict[str, _Answers] = field(default_factory=lambda: defaultdict(_Answers))
    by_path: dict[tuple[str | None, str], _Answers] = field(
        default_factory=lambda: defaultdict(_Answers)
    )

    def strongest(self, named: str | None) -> str | None:
        """The tier of that name, or else the one whose answers are dearest. None: it has none.

        A cascade that was answered by one tier alone does not show what the others cost.
        """
        known = {tier: one for tier, one in self.tiers.items() if one.n >= MIN_ANSWERS}
        if named is not None:
            return named if named in known else None
        if len(self.tiers) < 2 or not known:
            return None
        return max(known, key=lambda tier: known[tier].mean_usd)

    def mean_usd(self, path: str | None, tier: str) -> float:
        """What an answer of the tier costs on that path; on all, where too few are on it."""
        here = self.by_path.get((path, tier))
        return here.mean_usd if here and here.n >= MIN_ANSWERS else self.tiers[tier].mean_usd


def frontier_of(
    reader: Reader, selection: Selection, named: str | None
) -> tuple[Saving, dict[int, PerRequest]]:
    """What was saved, and for each bucket what a request would have cost.

    Args:
        named: the tier to compare with. None: in each cascade the one whose answers are dearest.
    """
    ladders = _ladders(reader, selection)
    cascades: dict[str | None, _Sums] = defaultdict(_Sums)
    buckets: dict[int, _Sums] = defaultdict(_Sums)
    for cascade, path, bucket, n, actual, read, written in reader.rows(_comparable(selection)):
        ladder = ladders.get(cascade, _Ladder())
        tier = ladder.strongest(named)
        if tier is None:
            continue
        price = ladder.tiers[tier].price()
        repriced = None if price is None else price[0] * read + price[1] * written
        for sums in (cascades[cascade], buckets[bucket]):
            sums.add(n, actual, repriced, n * ladder.mean_usd(path, tier))
    found = tuple(_frontiers(reader, selection, ladders, cascades, named))
    requests = sum(one.of for one in found)
    return _saving(found, requests), {
        bucket: (ends[0] / sums.requests, ends[1] / sums.requests)
        for bucket, sums in buckets.items()
        if (ends := sums.ends) is not None
    }


def _ladders(reader: Reader, selection: Selection) -> dict[str | None, _Ladder]:
    """The answers of all tiers whose cost and tokens are known, nested calls included."""
    each = _answers(selection).subquery()
    read, written, usd = each.c.read, each.c.written, each.c.usd
    products = (read * read, read * written, written * written, read * usd, written * usd)
    keys = (each.c.cascade, each.c.path, each.c.tier)
    sums = select(*keys, func.count(), func.sum(usd), *map(func.sum, products))
    ladders: dict[str | None, _Ladder] = defaultdict(_Ladder)
    for cascade, path, tier, *row in reader.rows(sums.group_by(*keys).order_by(*keys)):
        ladders[cascade].tiers[tier].add(row)
        ladders[cascade].by_path[path, tier].add(row)
    return ladders


def _answers(selection: Selection) -> Query:
    """One row an answer: what its attempt was charged for it, judges apart."""
    query = selection.of(
        calls.c.seq,
        calls.c.cascade,
        calls.c.path,
        attempts.c.number,
        attempts.c.tier,
        func.sum(cast(charges.c.cost_usd, _AMOUNT)).label("usd"),
        func.sum(cast(charges.c.input_tokens, _AMOUNT)).label("read"),
        func.sum(cast(charges.c.output_tokens, _AMOUNT)).label("written"),
    )
    query = query.join_from(attempts, calls, calls.c.seq == attempts.c.call_seq)
    query = query.join(
        charges,
        (charges.c.call_seq == attempts.c.call_seq) & (charges.c.attempt == attempts.c.number),
    )
    query = query.where(charges.c.purpose == "answer", attempts.c.outcome.in_(_ANSWERED))
    query = query.group_by(
        calls.c.seq, calls.c.cascade, calls.c.path, attempts.c.number, attempts.c.tier
    )
    # count(column) leaves NULLs out: one charge of unknown cost or tokens makes all unknown
    known = [func.count() == func.count(charges.c[name]) for name in ("cost_usd", "output_tokens")]
    # where calls of other tiers were made for it, the tokens are not the tier's
    own = func.count() == func.count().filter(charges.c.tier == attempts.c.tier)
    return query.having(*known, own)


def _comparable(selection: Selection) -> Query:
    """For each cascade, path and bucket: requests with an answer, all they cost, its tokens."""
    each = _answers(selection).add_columns(
        selection.bucket,
        cast(calls.c.cost_usd, _AMOUNT).label("actual"),
        func.row_number()
        .over(partition_by=calls.c.seq, order_by=attempts.c.number.desc())
        .label("place"),
    )
    each = each.where(selection.top, calls.c.cost_usd.is_not(None), attempts.c.tier == calls.c.tier)
    rows = each.group_by("bucket", calls.c.cost_usd).subquery()
    keys = (rows.c.cascade, rows.c.path, rows.c.bucket)
    sums = map(func.sum, (rows.c.actual, rows.c.read, rows.c.written))
    query = select(*keys, func.count(), *sums).where(rows.c.place == 1)
    return query.group_by(*keys).order_by(*keys)


def _frontiers(
    reader: Reader,
    selection: Selection,
    ladders: dict[str | None, _Ladder],
    cascades: dict[str | None, _Sums],
    named: str | None,
) -> Iterator[Frontier]:
    counted = selection.of(calls.c.cascade, func.count()).where(selection.top)
    order = (func.count().desc(), calls.c.cascade)
    for cascade, of in reader.rows(counted.group_by(calls.c.cascade).order_by(*order)):
        ladder, sums = ladders.get(cascade, _Ladder()), cascades.get(cascade, _Sums())
        tier = ladder.strongest(named)
        yield Frontier(
            cascade=cascade,
            tier=tier,
            answers=0 if tier is None else ladder.tiers[tier].n,
            requests=sums.requests,
            of=of,
            actual_usd=sums.actual_usd,
            repriced_usd=sums.repriced_usd if sums.requests else None,
            mean_usd=sums.mean_usd if sums.requests else None,
        )


def _saving(cascades: tuple[Frontier, ...], requests: int) -> Saving:
    sums = _Sums()
    for one in cascades:
        if one.requests:
            sums.add(one.requests, one.actual_usd, one.repriced_usd, one.mean_usd)
    ends = sums.ends
    low, high = (None, None) if ends is None else ends
    return Saving(
        compared=Share.made(sums.requests, requests),
        actual_usd=sums.actual_usd,
        frontier_low_usd=low,
        frontier_high_usd=high,
        saved_low=1 - sums.actual_usd / low if low else None,
        saved_high=1 - sums.actual_usd / high if high else None,
        cascades=cascades,
    )


def _plus(total: float | None, more: float | None) -> float | None:
    """None as soon as one part is unknown."""
    return None if total is None or more is None else total + more
