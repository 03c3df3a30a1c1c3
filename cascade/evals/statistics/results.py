"""What a test of non-inferiority says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """One test of H0: the candidate is at least `eps` worse than the baseline."""

    method: str
    n: float  # queries; with clusters or weights the number of independent ones they are worth
    difference: float  # the candidate's mean less the baseline's, as measured
    lower: float  # one-sided lower confidence bound of the true difference, at 1 - alpha
    statistic: float  # z, t, or for betting the highest capital reached from a stake of 1
    p_value: float
    eps: float
    alpha: float  # the level: the chance of passing a candidate that is worse by `eps` or more

    @property
    def passed(self) -> bool:
        """True if the candidate is shown to be less than `eps` worse."""
        return self.p_value <= self.alpha
