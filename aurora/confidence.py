"""How sure the model is of an answer, from its raw output: not calibrated, but it finds a task's doubtful cases."""

import numpy as np

from aurora.decode import decode_classes, heatmap_weights, mean_points, objectness
from aurora.tasks import TaskType

# How near to a landmark its heatmap's mass has to lie, as a share of the image's sides.
NEAR = 0.05


def confidence(kind: TaskType, raw: np.ndarray) -> float:
    """A number in [0, 1] for the model's raw output of one row, (channels, ...), finite.

    - segmentation: the mean probability of the best class over the cells where that isn't background, or over all
      cells where it is everywhere
    - classification: the probability of the best class
    - detection: the objectness of the best cell
    - Regression: the share of a heatmap's mass within `NEAR` of its point, the mean over the points
    """
    if kind is TaskType.CLASSIFICATION:
        return float(decode_classes(raw).max())
    if kind is TaskType.DETECTION:
        return float(objectness(raw[0].max()))
    return _of_mask(raw) if kind is TaskType.SEGMENTATION else _of_points(raw)


def _of_mask(logits: np.ndarray) -> float:
    best = logits.max(axis=0)
    probability = 1.0 / np.exp(logits.astype(np.float64) - best).sum(axis=0)
    foreground = best > logits[0]
    return float(probability[foreground].mean() if foreground.any() else probability.mean())


def _of_points(heatmaps: np.ndarray) -> float:
    weights = heatmap_weights(heatmaps)
    height, width = weights.shape[1:]
    x, y = mean_points(weights).T[..., None]
    columns = np.abs((np.arange(width) + 0.5) / width - x) <= NEAR
    rows = np.abs((np.arange(height) + 0.5) / height - y) <= NEAR
    return float(np.einsum("khw,kh,kw->k", weights, rows, columns).mean())
