"""Selective loss balancing: classification and detection are rescaled, the dense tasks keep their losses."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from aurora.tasks import Task, TaskType

BALANCED = (TaskType.CLASSIFICATION, TaskType.DETECTION)
EXPONENT = 0.5
CLAMP = (0.25, 4.0)


class LossBalance(nn.Module):
    """Joins the tasks' losses into one.

    A balanced type's task is scaled by (its moving average / the mean of all tasks' averages)^0.5, held in
    [0.25, 4], and the type by a learned uncertainty s as exp(-s) * loss + s (Kendall et al., Multi-task
    learning using uncertainty, CVPR 2018).
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_variance = nn.ParameterDict({kind.value: nn.Parameter(torch.zeros(())) for kind in BALANCED})

    def scale(self, name: str, averages: Mapping[str, float]) -> float:
        """The factor of one balanced task given the moving averages of all tasks' losses."""
        mean = sum(averages.values()) / len(averages)
        return min(max((averages[name] / max(mean, 1e-8)) ** EXPONENT, CLAMP[0]), CLAMP[1])

    def forward(self, losses: Mapping[Task, tuple[Tensor, int]], averages: Mapping[str, float]) -> Tensor:
        """One scalar from each task's mean loss and its number of samples in the batch."""
        total = sum(count for _, count in losses.values())
        terms = []
        for task, (loss, count) in losses.items():
            if task.type in BALANCED:
                s = self.log_variance[task.type.value]
                loss = torch.exp(-s) * self.scale(task.id, averages) * loss + s
            terms.append(loss * (count / total))
        return torch.stack(terms).sum()
