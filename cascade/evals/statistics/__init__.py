"""The statistics behind certificates, gates and audits: see docs/statistics.md.

Every function takes one value a query, and the clusters and weights of the queries where they have
any. The level is called alpha where one test is meant, `confidence` where an interval is.
"""

from __future__ import annotations

from cascade.evals.statistics.betting import betting, mean_lower_bound
from cascade.evals.statistics.bootstrap import (
    bootstrap_interval,
    bootstrap_means,
    percentile_interval,
)
from cascade.evals.statistics.clusters import effective_size, robust_variance
from cascade.evals.statistics.mcnemar import mcnemar
from cascade.evals.statistics.means import bootstrap_non_inferiority, mean_non_inferiority
from cascade.evals.statistics.multiple import fixed_sequence, holm
from cascade.evals.statistics.paired import Pairs, pairs_of, tango, tango_interval, tango_z
from cascade.evals.statistics.proportions import (
    clopper_pearson,
    harm,
    proportion_lower,
    proportion_upper,
    wilson,
)
from cascade.evals.statistics.reliability import Bin, brier, calibration_error, reliability
from cascade.evals.statistics.results import NonInferiority
from cascade.evals.statistics.sequences import ConfidenceSequence, DriftAlarm
from cascade.evals.statistics.sizes import queries_needed

__all__ = [
    "Bin",
    "ConfidenceSequence",
    "DriftAlarm",
    "NonInferiority",
    "Pairs",
    "betting",
    "bootstrap_interval",
    "bootstrap_means",
    "bootstrap_non_inferiority",
    "brier",
    "calibration_error",
    "clopper_pearson",
    "effective_size",
    "fixed_sequence",
    "harm",
    "holm",
    "mcnemar",
    "mean_lower_bound",
    "mean_non_inferiority",
    "pairs_of",
    "percentile_interval",
    "proportion_lower",
    "proportion_upper",
    "queries_needed",
    "reliability",
    "robust_variance",
    "tango",
    "tango_interval",
    "tango_z",
    "wilson",
]
