"""The confusion matrix and the calibration of a classification task."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aurora.kinds import CaseMetrics
from aurora.kinds.base import stacked
from aurora.scoring.reliability import calibration_error, reliability_bins


@dataclass(frozen=True, slots=True)
class Reliability:
    """How often the predicted class is right, by the probability that the model states for it.

    Every bin of probabilities that isn't empty has the mean `stated` probability of its cases, the fraction that is
    `right`, and their `count`. `error` is the expected calibration error: the mean of the differences, weighted by the
    counts (Guo et al., On calibration of modern neural networks, 2017).
    """

    stated: list[float]
    right: list[float]
    count: list[int]
    error: float


def confusion(cases: Sequence[CaseMetrics]) -> list[list[int]]:
    """Count the cases of each true class (rows) that were predicted as each class (columns), by scikit-learn."""
    from sklearn.metrics import confusion_matrix

    columns = stacked(cases)
    matrix = confusion_matrix(columns["label"], columns["predicted"], labels=range(columns["probs"].shape[1]))
    return matrix.tolist()


def reliability(cases: Sequence[CaseMetrics]) -> Reliability | None:
    """Return the reliability over `BINS` equal bins of the predicted class's probability.

    Cases without a usable probability of the predicted class are left out; the result is None if no case is left.
    """
    columns = stacked(cases)
    usable = (columns["predicted"] >= 0) & (columns["predicted"] < columns["probs"].shape[1])
    usable &= ~np.isnan(columns["probs"]).any(axis=1)
    if not usable.any():
        return None
    predicted, probs = columns["predicted"][usable], columns["probs"][usable]
    right = predicted == columns["label"][usable]
    stated = np.take_along_axis(probs, predicted[:, None], axis=1)[:, 0].clip(0, 1)
    means, rights, count = reliability_bins(stated, right)
    return Reliability(means.tolist(), rights.tolist(), count.tolist(), calibration_error(stated, right))
