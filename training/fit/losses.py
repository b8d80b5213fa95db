"""The loss of each task type, and the combination of the tasks' losses.

Every loss takes the channels of one task in its head's output, (n, channels, ...), and the stacked targets of
`training.data.cases.Sample`, and returns a scalar. Coordinates are fractions of the image.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aurora.tasks import TYPES, Task, TaskType

BACKGROUND_WEIGHT = 0.5
LABEL_SMOOTHING = 0.05
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
# The central fraction of a box, in each direction, whose cells must detect it.
POSITIVE_SHARE = 0.5
# The smallest reach of a box from its centre, in cells: half a cell, and a margin for rounding, because the centre of a
# box aligned with pixels may be exactly between two cells.
MIN_REACH_CELLS = 0.5 + 1e-4
HEATMAP_SIGMA_CELLS = 1.5
COORDINATE_WEIGHT = 10.0


def segmentation_loss(logits: Tensor, shares: Tensor) -> Tensor:
    """Return cross-entropy against the class shares of each cell, background down-weighted, plus a soft Dice loss."""
    weights = torch.ones(logits.shape[1], device=logits.device)
    weights[0] = BACKGROUND_WEIGHT
    cross_entropy = -(shares * F.log_softmax(logits, dim=1) * weights[:, None, None]).sum(1).mean()
    predicted, expected = logits.softmax(1)[:, 1:], shares[:, 1:]
    overlap = 2 * (predicted * expected).sum((2, 3)) + 1.0
    dice = overlap / (predicted.sum((2, 3)) + expected.sum((2, 3)) + 1.0)
    return cross_entropy + 1.0 - dice.mean()


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy with slightly smoothed labels."""
    return F.cross_entropy(logits, labels, label_smoothing=LABEL_SMOOTHING)


def cell_centres(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return x (width,) and y (height,) of the cells' centres, as fractions of the image."""
    return (
        (torch.arange(width, device=device) + 0.5) / width,
        (torch.arange(height, device=device) + 0.5) / height,
    )


def detection_loss(maps: Tensor, boxes: Tensor) -> Tensor:
    """Return the focal loss of all cells' objectness, plus L1 and generalised-IoU losses of the positive cells' boxes.

    Focal loss: Lin et al., 2017; generalised IoU: Rezatofighi et al., 2019.
    """
    x, y = cell_centres(maps.shape[2], maps.shape[3], maps.device)
    x, y = x[None, None, :], y[None, :, None]
    positive = positive_cells(boxes, maps.shape[2], maps.shape[3])
    objectness = maps[:, 0]
    cross_entropy = F.binary_cross_entropy_with_logits(objectness, positive.float(), reduction="none")
    surprise = torch.where(positive, 1 - objectness.sigmoid(), objectness.sigmoid())
    alpha = torch.where(positive, FOCAL_ALPHA, 1 - FOCAL_ALPHA)
    positives = positive.sum().clamp(min=1)
    focal = (alpha * surprise**FOCAL_GAMMA * cross_entropy).sum() / positives
    left, top, right, bottom = maps[:, 1:].unbind(1)
    predicted = torch.stack([x - left, y - top, x + right, y + bottom], dim=-1)[positive]
    expected = boxes[:, None, None, :].expand(*positive.shape, 4)[positive]
    l1 = (predicted - expected).abs().sum(-1)
    return focal + (5.0 * l1 + giou_loss(predicted, expected)).sum() / positives


def positive_cells(boxes: Tensor, height: int, width: int) -> Tensor:
    """Return the cells of a grid that must detect each box (n, 4): (n, height, width) bool.

    The cell nearest to a box's centre is always included, even if the box is smaller than a cell.
    """
    x, y = cell_centres(height, width, boxes.device)
    x1, y1, x2, y2 = (side[:, None, None] for side in boxes.unbind(1))
    reach_x = torch.clamp(POSITIVE_SHARE * (x2 - x1) / 2, min=MIN_REACH_CELLS / width)
    reach_y = torch.clamp(POSITIVE_SHARE * (y2 - y1) / 2, min=MIN_REACH_CELLS / height)
    return ((x[None, None, :] - (x1 + x2) / 2).abs() <= reach_x) & ((y[None, :, None] - (y1 + y2) / 2).abs() <= reach_y)


def loss_weight(task_type: TaskType, output: Tensor, targets: Tensor) -> Tensor:
    """Return the number of items that a loss averages over, (): the samples or, for detection, the positive cells.

    The loss of two combined batches is the mean of their losses, weighted by these numbers.
    """
    if task_type == TaskType.DETECTION:
        return positive_cells(targets, output.shape[2], output.shape[3]).sum(dtype=torch.float32).clamp(min=1.0)
    return torch.tensor(float(len(targets)), device=output.device)


def giou_loss(a: Tensor, b: Tensor) -> Tensor:
    """Return 1 - generalised IoU of each pair of boxes (n, 4): (n,) in 0..2."""
    overlap = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1).clamp(min=1e-9)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - overlap
    return 1 - overlap / union.clamp(min=1e-9) + (hull - union) / hull


def regression_loss(heatmaps: Tensor, points: Tensor) -> Tensor:
    """Return the KL divergence of each heatmap from a Gaussian at its point, plus the L1 error of the soft-argmax."""
    height, width = heatmaps.shape[2:]
    x, y = cell_centres(height, width, heatmaps.device)
    dx = (x[None, None, :] - points[:, :, :1]) * width / HEATMAP_SIGMA_CELLS
    dy = (y[None, None, :] - points[:, :, 1:]) * height / HEATMAP_SIGMA_CELLS
    target = torch.softmax(-0.5 * (dx**2), dim=2)[:, :, None, :] * torch.softmax(-0.5 * (dy**2), dim=2)[..., None]
    return heatmap_loss(heatmaps, target, points)


def heatmap_loss(heatmaps: Tensor, target: Tensor, points: Tensor) -> Tensor:
    """Return the KL divergence of heatmaps (n, P, h, w), as logits, from `target`, plus the L1 error of the points.

    Args:
        heatmaps: logits of where each of P landmarks is.
        target: the probabilities that they should have, (n, P, h, w).
        points: where the soft-argmax should be, (n, P, 2), as fractions of the image.
    """
    log_probability = heatmaps.flatten(2).log_softmax(2).view_as(heatmaps)
    divergence = F.kl_div(log_probability, target, reduction="none").sum((2, 3)).mean()
    return divergence + COORDINATE_WEIGHT * (soft_argmax(log_probability.exp()) - points).abs().sum(2).mean()


def soft_argmax(probability: Tensor) -> Tensor:
    """Return the mean place of each heatmap (n, P, h, w) that sums to 1: (n, P, 2), x and y as fractions."""
    x, y = cell_centres(probability.shape[2], probability.shape[3], probability.device)
    return torch.stack([(probability.sum(2) * x).sum(2), (probability.sum(3) * y).sum(2)], dim=2)


LOSSES: Mapping[TaskType, Callable[[Tensor, Tensor], Tensor]] = {
    TaskType.SEGMENTATION: segmentation_loss,
    TaskType.CLASSIFICATION: classification_loss,
    TaskType.DETECTION: detection_loss,
    TaskType.REGRESSION: regression_loss,
}

#: The types that a setting of `balance` rescales; "all" rescales every type.
BALANCED: Mapping[str, tuple[TaskType, ...]] = {
    "selective": (TaskType.CLASSIFICATION, TaskType.DETECTION),
    "none": (),
}
EXPONENT = 0.5
CLAMP = (0.25, 4.0)


class LossBalance(nn.Module):
    """The sum of the tasks' losses, with those of some types rescaled.

    The loss of a task of such a type is multiplied by (its moving average / the mean of all tasks' averages)^0.5,
    limited to [0.25, 4], and weighted by the type's learned uncertainty s as exp(-s) * loss + s (Kendall et al.,
    Multi-task learning using uncertainty, CVPR 2018).

    Args:
        balance: which types are rescaled, as in the configuration.
    """

    def __init__(self, balance: str = "selective") -> None:
        super().__init__()
        self.log_variance = nn.ParameterDict(
            {task_type: nn.Parameter(torch.zeros(())) for task_type in BALANCED.get(balance, TYPES)}
        )

    def scale(self, name: str, averages: Mapping[str, float]) -> float:
        """Return the factor of one task, given the moving averages of all tasks' losses."""
        mean = sum(averages.values()) / len(averages)
        return min(max((averages[name] / max(mean, 1e-8)) ** EXPONENT, CLAMP[0]), CLAMP[1])

    def forward(self, losses: Mapping[Task, tuple[Tensor, Tensor, Tensor]], averages: Mapping[str, float]) -> Tensor:
        """Return one scalar from each task's loss, its share of the batch's loss, and its share of the samples.

        The shares are those of `training.fit.trainer.global_shares`: the scalars of several processes add up to that
        of the whole batch.
        """
        terms = []
        for task, (loss, loss_share, sample_share) in losses.items():
            if task.type in self.log_variance:
                s = self.log_variance[task.type]
                terms.append(torch.exp(-s) * self.scale(task.id, averages) * loss * loss_share + s * sample_share)
            else:
                terms.append(loss * loss_share)
        return torch.stack(terms).sum()
