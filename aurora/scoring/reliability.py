"""Compare stated confidences with what they turned out to be worth."""

import numpy as np

#: Equal bins of the confidence.
BINS = 10


def reliability_bins(confidences: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean confidence, the mean score and the count of every bin that isn't empty.

    Args:
        confidences: (N,) in [0, 1]; a value between two bins belongs to the lower one.
        scores: (N,) in [0, 1], such as whether a class is right, or a DSC.
    """
    number = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidences)
    counts = np.bincount(number, minlength=BINS)
    used = counts > 0
    means, rights = (np.bincount(number, values, BINS)[used] / counts[used] for values in (confidences, scores))
    return means, rights, counts[used]


def calibration_error(confidences: np.ndarray, scores: np.ndarray) -> float:
    """Return the expected calibration error in [0, 1]: the bins' mean differences, weighted by their counts.

    Source: Guo et al., On calibration of modern neural networks, ICML 2017.

    Example:
        >>> round(calibration_error(np.array([0.9, 0.9, 0.9, 0.9]), np.array([1, 1, 1, 0])), 2)
        0.15
    """
    means, rights, counts = reliability_bins(confidences, scores)
    return float((np.abs(rights - means) * counts).sum() / counts.sum())
