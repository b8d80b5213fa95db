"""The confusion matrix and the calibration of a classification task."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aurora.kinds import CaseMetrics
from aurora.kinds.base import stacked

BINS = 10


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
    """Return the reliability over `BINS` equal bins of the predicted class's probability, by scikit-learn.

    Cases without a usable probability of the predicted class are left out; the result is None if no case is left.
    """
    from sklearn.calibration import calibration_curve

    columns = stacked(cases)
    usable = (columns["predicted"] >= 0) & (columns["predicted"] < columns["probs"].shape[1])
    usable &= ~np.isnan(columns["probs"]).any(axis=1)
    if not usable.any():
        return None
    predicted, probs = columns["predicted"][usable], columns["probs"][usable]
    right = predicted == columns["label"][usable]
    stated = np.take_along_axis(probs, predicted[:, None], axis=1)[:, 0].clip(0, 1)
    rights, means = calibration_curve(right, stated, n_bins=BINS, pos_label=True)
    # The same bins as in calibration_curve, which are open on the left.
    bins = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], stated)
    count = np.bincount(bins, minlength=BINS)
    count = count[count > 0]
    error = float((np.abs(rights - means) * count).sum() / count.sum())
    return Reliability(means.tolist(), rights.tolist(), count.tolist(), error)
