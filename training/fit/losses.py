"""The loss of each task type, on the channels of one task.

Every function takes the head's output (n, channels, ...) and targets as `training.data.cases.Sample` gives
them, stacked, and returns a scalar. Coordinates are fractions of the image.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aurora.tasks import Task, TaskType

BACKGROUND_WEIGHT = 0.5
LABEL_SMOOTHING = 0.05
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
# The part of a box, around its centre, whose cells should find it.
POSITIVE_SHARE = 0.5
HEATMAP_SIGMA_CELLS = 1.5
COORDINATE_WEIGHT = 10.0


def segmentation_loss(logits: Tensor, shares: Tensor) -> Tensor:
    """Cross-entropy against class shares per cell, background down-weighted, plus soft Dice."""
    weights = torch.ones(logits.shape[1], device=logits.device)
    weights[0] = BACKGROUND_WEIGHT
    cross_entropy = -(shares * F.log_softmax(logits, dim=1) * weights[:, None, None]).sum(1).mean()
    predicted, expected = logits.softmax(1)[:, 1:], shares[:, 1:]
    overlap = 2 * (predicted * expected).sum((2, 3)) + 1.0
    dice = overlap / (predicted.sum((2, 3)) + expected.sum((2, 3)) + 1.0)
    return cross_entropy + 1.0 - dice.mean()


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with slightly smoothed labels."""
    return F.cross_entropy(logits, labels, label_smoothing=LABEL_SMOOTHING)


def cell_centres(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """x (width,) and y (height,) of the cells' centres as fractions."""
    return (
        (torch.arange(width, device=device) + 0.5) / width,
        (torch.arange(height, device=device) + 0.5) / height,
    )


def detection_loss(maps: Tensor, boxes: Tensor) -> Tensor:
    """Focal objectness over all cells, and L1 and generalised-IoU losses of the boxes of positive cells.

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
    """Which cells of a grid should find each box (n, 4): (n, height, width) of bool."""
    x, y = cell_centres(height, width, boxes.device)
    x1, y1, x2, y2 = (side[:, None, None] for side in boxes.unbind(1))
    # At least the cell nearest to the centre is positive, however small the box.
    reach_x = torch.clamp(POSITIVE_SHARE * (x2 - x1) / 2, min=0.5 / width)
    reach_y = torch.clamp(POSITIVE_SHARE * (y2 - y1) / 2, min=0.5 / height)
    return ((x[None, None, :] - (x1 + x2) / 2).abs() <= reach_x) & ((y[None, :, None] - (y1 + y2) / 2).abs() <= reach_y)


def loss_weight(kind: TaskType, output: Tensor, targets: Tensor) -> Tensor:
    """What a loss is the mean over, (): the samples, or in detection the positive cells.

    The loss of two batches together is the mean of theirs with these weights.
    """
    if kind is TaskType.DETECTION:
        return positive_cells(targets, output.shape[2], output.shape[3]).sum(dtype=torch.float32).clamp(min=1.0)
    return torch.tensor(float(len(targets)), device=output.device)


def giou_loss(a: Tensor, b: Tensor) -> Tensor:
    """1 - generalised IoU of boxes (n, 4) pair by pair: (n,) in 0..2."""
    overlap = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1).clamp(min=1e-9)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - overlap
    return 1 - overlap / union.clamp(min=1e-9) + (hull - union) / hull


def regression_loss(heatmaps: Tensor, points: Tensor) -> Tensor:
    """Divergence of each heatmap from a Gaussian about its point, plus L1 of the soft-argmax."""
    height, width = heatmaps.shape[2:]
    x, y = cell_centres(height, width, heatmaps.device)
    dx = (x[None, None, :] - points[:, :, :1]) * width / HEATMAP_SIGMA_CELLS
    dy = (y[None, None, :] - points[:, :, 1:]) * height / HEATMAP_SIGMA_CELLS
    target = torch.softmax(-0.5 * (dx**2), dim=2)[:, :, None, :] * torch.softmax(-0.5 * (dy**2), dim=2)[..., None]
    log_probability = heatmaps.flatten(2).log_softmax(2).view_as(heatmaps)
    divergence = F.kl_div(log_probability, target, reduction="none").sum((2, 3)).mean()
    probability = log_probability.exp()
    found = torch.stack([(probability.sum(2) * x).sum(2), (probability.sum(3) * y).sum(2)], dim=2)
    return divergence + COORDINATE_WEIGHT * (found - points).abs().sum(2).mean()


LOSSES: Mapping[TaskType, Callable[[Tensor, Tensor], Tensor]] = {
    TaskType.SEGMENTATION: segmentation_loss,
    TaskType.CLASSIFICATION: classification_loss,
    TaskType.DETECTION: detection_loss,
    TaskType.REGRESSION: regression_loss,
}


#: The types that each setting of `balance` rescales.
BALANCED: Mapping[str, tuple[TaskType, ...]] = {
    "selective": (TaskType.CLASSIFICATION, TaskType.DETECTION),
    "all": tuple(TaskType),
    "none": (),
}
EXPONENT = 0.5
CLAMP = (0.25, 4.0)


class LossBalance(nn.Module):
    """Joins the tasks' losses into one.

    A balanced type's task is scaled by (its moving average / the mean of all tasks' averages)^0.5, held in
    [0.25, 4], and the type by a learned uncertainty s as exp(-s) * loss + s (Kendall et al., Multi-task
    learning using uncertainty, CVPR 2018). `balance` is that of the configuration.
    """

    def __init__(self, balance: str = "selective") -> None:
        super().__init__()
        self.log_variance = nn.ParameterDict({kind.value: nn.Parameter(torch.zeros(())) for kind in BALANCED[balance]})

    def scale(self, name: str, averages: Mapping[str, float]) -> float:
        """The factor of one balanced task given the moving averages of all tasks' losses."""
        mean = sum(averages.values()) / len(averages)
        return min(max((averages[name] / max(mean, 1e-8)) ** EXPONENT, CLAMP[0]), CLAMP[1])

    def forward(self, losses: Mapping[Task, tuple[Tensor, Tensor, Tensor]], averages: Mapping[str, float]) -> Tensor:
        """One scalar from each task's loss, what that counts for in the whole, and the task's share of the samples.

        Where several processes have parts of a batch, the parts' scalars add up to the batch's.
        """
        terms = []
        for task, (loss, weight, share) in losses.items():
            if task.type.value in self.log_variance:
                s = self.log_variance[task.type.value]
                terms.append(torch.exp(-s) * self.scale(task.id, averages) * loss * weight + s * share)
            else:
                terms.append(loss * weight)
        return torch.stack(terms).sum()
