"""One head per task type: a shared trunk, and a last layer with separate channels for every task.

`aurora.tasks.channel_slices` maps tasks to channels. The shared last layer computes the same as one small layer per
task, and a single product serves a batch of mixed tasks.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aurora.model.pyramid import ConvBlock, fuse, pool
from aurora.tasks import DETECTION_CHANNELS, TaskType

# A prior of 1 % objects stabilises the objectness loss in the first steps (Lin et al., Focal Loss, 2017).
OBJECTNESS_PRIOR_LOGIT = -4.6
# softplus(-2) = 1/8: initially, each side of a box is an eighth of the image away from the cell.
DISTANCE_PRIOR = -2.0


class DenseHead(nn.Module):
    """Logits (B, channels, H/4, W/4): of classes for segmentation, of a heatmap per landmark for Regression."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(ConvBlock(width, width), ConvBlock(width, width))
        self.last = nn.Conv2d(width, channels, 1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        return self.last(self.trunk(fuse(levels)))


class ClassificationHead(nn.Module):
    """Class logits (B, channels) from the pooled features of all levels, by a gated MLP."""

    def __init__(self, width: int, channels: int, levels: int = 4, dropout: float = 0.2) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * levels * width)
        self.gated = nn.Linear(2 * levels * width, 4 * width)
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(2 * width, channels)

    def forward(self, levels: list[Tensor]) -> Tensor:
        value, gate = self.gated(self.norm(pool(levels))).chunk(2, dim=1)
        return self.last(self.dropout(value * F.silu(gate)))


class DetectionHead(nn.Module):
    """Five maps per task: (B, 5 x tasks, H/8, W/8).

    The first is the logit that the cell's centre is inside the object; the others are the distances from the cell's
    centre to the box's left, top, right and bottom side, as fractions of the image's width and height, never negative.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(ConvBlock(width, width), ConvBlock(width, width))
        self.last = nn.Conv2d(width, channels, 1)
        priors = [OBJECTNESS_PRIOR_LOGIT, *[DISTANCE_PRIOR] * (DETECTION_CHANNELS - 1)]
        self.last.bias = nn.Parameter(torch.tensor(priors * (channels // DETECTION_CHANNELS)))

    def forward(self, levels: list[Tensor]) -> Tensor:
        maps = self.last(self.trunk(fuse(levels[1:]))).unflatten(1, (-1, DETECTION_CHANNELS))
        return torch.cat([maps[:, :, :1], F.softplus(maps[:, :, 1:])], dim=2).flatten(1, 2)


HEADS: dict[TaskType, type[nn.Module]] = {
    TaskType.SEGMENTATION: DenseHead,
    TaskType.CLASSIFICATION: ClassificationHead,
    TaskType.DETECTION: DetectionHead,
    TaskType.REGRESSION: DenseHead,
}
