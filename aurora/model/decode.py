"""From the model's raw output for one row to the answer in the image's own frame; numpy only.

Both engines and training's validation decode here, so that equal logits are equal answers everywhere.
"""

import cv2
import numpy as np

from aurora.tasks import TaskType

# Above this many pixels the classes are chosen on a smaller grid and enlarged, which bounds memory.
MAX_ARGMAX_PIXELS = 16_000_000
# Cells whose objectness comes this near to the best cell's vote on the box.
BOX_VOTE_SHARE = 0.9
BOX_VOTE_IOU = 0.5


def decode_mask(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Class logits (C, h, w) to class ids (height, width) uint8 at the image's own size.

    Logits are enlarged bilinearly before the best class is taken, so that borders are finer than a cell.
    """
    height, width = size
    shrink = max(1.0, (height * width / MAX_ARGMAX_PIXELS) ** 0.5)
    grid = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    best = cv2.resize(logits[0], grid, interpolation=cv2.INTER_LINEAR)
    mask = np.zeros(best.shape, dtype=np.uint8)
    for index in range(1, len(logits)):
        value = cv2.resize(logits[index], grid, interpolation=cv2.INTER_LINEAR)
        mask[value > best] = index
        np.maximum(best, value, out=best)
    return mask if shrink == 1.0 else cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Class logits (C,) to probabilities (C,) float64 that sum to 1."""
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return powers / powers.sum()


def decode_box(maps: np.ndarray) -> np.ndarray:
    """Objectness and distances (5, h, w) to one box (x1, y1, x2, y2) in fractions of the image.

    The cell with the highest objectness decides; cells nearly as sure whose boxes overlap its box vote
    with their objectness as weight.
    """
    height, width = maps.shape[1:]
    scores = objectness(maps[0].ravel())
    rows, columns = np.divmod(np.flatnonzero(scores >= BOX_VOTE_SHARE * scores.max()), width)
    x, y = (columns + 0.5) / width, (rows + 0.5) / height
    left, top, right, bottom = maps[1:, rows, columns].astype(np.float64)
    boxes = np.clip(np.stack([x - left, y - top, x + right, y + bottom], axis=1), 0.0, 1.0)
    votes = scores[rows * width + columns]
    agreeing = _iou_with(boxes, boxes[votes.argmax()]) >= BOX_VOTE_IOU
    agreeing[votes.argmax()] = True
    return np.average(boxes[agreeing], axis=0, weights=votes[agreeing])


def objectness(logits: np.ndarray) -> np.ndarray:
    """How sure cells are that their box is there, float64 in (0, 1), from any array of logits."""
    # Clipped, since scores that are all 0 could not weigh a mean.
    return 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -500.0, 500.0)))


def decode_points(heatmaps: np.ndarray) -> np.ndarray:
    """Heatmap logits (K, h, w) to K points (x, y) in fractions of the image, by soft-argmax."""
    return mean_points(heatmap_weights(heatmaps))


def heatmap_weights(heatmaps: np.ndarray) -> np.ndarray:
    """Heatmap logits (K, h, w) to float64 weights of that shape, each map's sum being 1."""
    count, height, width = heatmaps.shape
    flat = heatmaps.reshape(count, -1).astype(np.float64)
    weights = np.exp(flat - flat.max(axis=1, keepdims=True)).reshape(count, height, width)
    weights /= weights.sum(axis=(1, 2), keepdims=True)
    return weights


def mean_points(weights: np.ndarray) -> np.ndarray:
    """The mean places (K, 2), x and y in fractions of the image, of weights (K, h, w)."""
    height, width = weights.shape[1:]
    x = weights.sum(axis=1) @ ((np.arange(width) + 0.5) / width)
    y = weights.sum(axis=2) @ ((np.arange(height) + 0.5) / height)
    return np.stack([x, y], axis=1)


def _iou_with(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    corners = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    overlap = np.clip(corners, 0.0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return overlap / np.maximum(areas - overlap, 1e-12)


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
        return float(softmax(raw).max())
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
