"""What audits say so far: quality and regret of accepted cheap answers, and whether they drift."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cascade.evals.statistics.sequences import ConfidenceSequence, DriftAlarm

__all__ = ["AuditBook", "AuditEstimate", "interval_told"]


@dataclass(frozen=True, slots=True)
class AuditEstimate:
    """What the audits of one tier's accepted answers on one path say.

    Attributes:
        path: None: calls without a path.
        tier: whose answers were accepted.
        count: how many were audited.
        quality: the mean score of all accepted answers, from 0 to 1, estimated.
        quality_low, quality_high: where it lies at every time, with the book's confidence.
        regret: by how much the strongest tier's answers would have scored more, estimated.
        regret_low, regret_high: as for quality.
        has_drifted: whether the regret has risen above what was allowed.
    """

    path: str | None
    tier: str
    count: int
    quality: float
    quality_low: float
    quality_high: float
    regret: float
    regret_low: float
    regret_high: float
    has_drifted: bool

    @property
    def has_moved(self) -> bool:
        """Whether quality or regret changed so much that no one value fits all audits.

        The ends of its interval have crossed then, and its mean is that of two times.
        """
        return self.quality_low > self.quality_high or self.regret_low > self.regret_high

    def __str__(self) -> str:
        """One line for people."""
        where = f"tier {self.tier!r}" + (f" on path {self.path!r}" if self.path else "")
        quality = interval_told(self.quality_low, self.quality_high)
        regret = interval_told(self.regret_low, self.regret_high)
        return (
            f"{where}: {self.count:,} audits, quality {self.quality:.1%} ({quality}), "
            f"regret {self.regret:.1%} ({regret}){'; it drifted' if self.has_drifted else ''}"
        )


def interval_told(low: float, high: float) -> str:
    """An interval of shares for people; that it moved, where no one value fits."""
    return "it moved" if low > high else f"{low:.1%} to {high:.1%}"


class _Page:
    """The running estimates of one path and tier."""

    def __init__(self, within: float, alpha: float, least_share: float) -> None:
        self.quality = ConfidenceSequence(alpha, least_probability=least_share)
        self.regret = ConfidenceSequence(alpha, low=-1.0, least_probability=least_share)
        self.alarm = DriftAlarm(within, alpha, low=-1.0, least_probability=least_share)

    def add(self, score: float, best: float, share: float) -> bool:
        rang = self.alarm.rang
        self.quality.add(score, share)
        self.regret.add(best - score, share)
        return self.alarm.add(best - score, share) and not rang


class AuditBook:
    """The running estimates of all paths and tiers.

    An answer that was audited with probability q stands for 1/q answers, so that what is estimated
    is the quality of all of them. The intervals hold at all times at once: they may be looked at
    after every audit. See `cascade.evals.statistics.sequences`.

    Args:
        within: how much regret is allowed, in score.
        confidence: the chance that an interval is never wrong, and that no alarm is ever false.
        least_share: the smallest share that the answers of a tier on a path are ever audited with.
            A bet has to stay affordable at it, so one path's small share would slow the alarms of
            all others; each goes by its own.
    """

    def __init__(
        self,
        *,
        within: float = 0.05,
        confidence: float = 0.95,
        least_share: Callable[[str | None, str], float] = lambda path, tier: 1.0,
    ) -> None:
        self.within = within
        self.confidence = confidence
        self._least_share = least_share
        self._pages: dict[tuple[str | None, str], _Page] = {}

    def add(self, path: str | None, tier: str, score: float, best: float, share: float) -> bool:
        """One audit. Returns whether the alarm of its path and tier rang with it.

        Args:
            score: of the accepted answer, from 0 to 1.
            best: of the strongest tier's.
            share: the probability with which it was audited; at least the page's `least_share`.

        Raises:
            ValueError: it is lower.
        """
        page = self._pages.get((path, tier))
        if page is None:
            least_share = self._least_share(path, tier)
            page = self._pages[path, tier] = _Page(self.within, 1 - self.confidence, least_share)
        return page.add(score, best, share)

    def __iter__(self) -> Iterator[AuditEstimate]:
        for (path, tier), page in list(self._pages.items()):  # others may add to it meanwhile
            yield AuditEstimate(
                path,
                tier,
                page.quality.count,
                page.quality.estimate or 0.0,
                *page.quality.interval,
                page.regret.estimate or 0.0,
                *page.regret.interval,
                page.alarm.rang,
            )
