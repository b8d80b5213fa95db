"""Loss balancing; the selective one rescales classification and detection, and dense tasks keep their losses."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from aurora.tasks import Task, TaskType

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
