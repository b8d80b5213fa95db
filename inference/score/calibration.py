"""What a classification task's cases say of its classes and probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aurora.scoring.metrics import CaseMetrics, stacked

BINS = 10


@dataclass(frozen=True, slots=True)
class Reliability:
    """How often the answered class is right, by how probable it is said to be.

    Of each bin of probabilities that has cases: their mean `said` probability, how many are `right`, and their
    `count`. `error` is the expected calibration error: the mean of the differences, weighted by the counts (Guo et al.,
    On calibration of modern neural networks, 2017).
    """

    said: list[float]
    right: list[float]
    count: list[int]
    error: float


def confusion(cases: Sequence[CaseMetrics]) -> list[list[int]]:
    """How many cases of each true class (rows) were answered as each class (columns), by scikit-learn."""
    from sklearn.metrics import confusion_matrix

    found = stacked(cases)
    matrix = confusion_matrix(found["label"], found["predicted"], labels=range(found["probs"].shape[1]))
    return matrix.tolist()


def reliability(cases: Sequence[CaseMetrics]) -> Reliability:
    """Over `BINS` equal bins of the answered class's probability, by scikit-learn."""
    from sklearn.calibration import calibration_curve

    found = stacked(cases)
    right = found["predicted"] == found["label"]
    said = np.take_along_axis(found["probs"], found["predicted"][:, None], axis=1)[:, 0].clip(0, 1)
    rights, means = calibration_curve(right, said, n_bins=BINS, pos_label=True)
    # The edges that calibration_curve has, whose bins are open on the left.
    places = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], said)
    count = np.bincount(places, minlength=BINS)
    count = count[count > 0]
    error = float((np.abs(rights - means) * count).sum() / count.sum())
    return Reliability(means.tolist(), rights.tolist(), count.tolist(), error)
