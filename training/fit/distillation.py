"""Knowledge distillation: the mean prediction of trained checkpoints is a second target beside the labels.

After Hinton, Vinyals and Dean, *Distilling the knowledge in a neural network*, 2015, for every task type. A teacher
sees the same augmented images as the student.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from aurora.errors import UsageError, WeightsError
from aurora.model import checkpoint
from aurora.runtime import files
from aurora.tasks import Registry, Task, TaskType, channel_slices
from training.config import FitConfig
from training.fit.loader import Batch
from training.fit.losses import heatmap_loss, segmentation_loss, soft_argmax


def check_teachers(config: FitConfig) -> None:
    """Raise `WeightsError` if one of the configuration's `teachers` is missing or is not a checkpoint."""
    for path in config.teachers:
        if not path.is_file():
            raise WeightsError(f"no checkpoint {path}; name one with teachers=[FILE]")
        checkpoint.read_spec(path)


class Teachers:
    """Trained checkpoints that predict the tasks of a student.

    Args:
        config: names their files in `teachers`.
        tasks: the student's tasks. A teacher knows those of its own tasks that have the same name, type and number of
            classes.
        device: where they compute.
        bf16: whether they compute in bfloat16.

    Attributes:
        origin: for the provenance, the checksum of each teacher's file.

    Raises:
        WeightsError: a file is missing, damaged or of another format.
        UsageError: a teacher knows none of the tasks.
    """

    def __init__(self, config: FitConfig, tasks: Registry, device: torch.device, *, bf16: bool) -> None:
        self.device, self.bf16 = device, bf16
        self.models = [checkpoint.load(path)[0].to(device) for path in config.teachers]
        self.origin: list[dict[str, Any]] = [{"sha256": files.sha256(path)} for path in config.teachers]
        self.known = [{name for name, task in model.tasks.items() if _same(task, tasks)} for model in self.models]
        for path, known in zip(config.teachers, self.known, strict=True):
            if not known:
                raise UsageError(f"expected a teacher that knows one of the tasks to train, found {path}; leave it out")

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[Task, Tensor]:
        """Return the mean prediction of the teachers for each task of a batch that one of them knows.

        Returns:
            (n, channels, ...) of the task's n rows: probabilities of the classes (of each cell, for masks) or of the
            place of each landmark; for boxes, the probability of an object and the distances to the sides.
        """
        images = batch.images.to(self.device)
        rows = {task_type: index.to(self.device) for task_type, index in batch.rows.items()}
        predictions: dict[Task, list[Tensor]] = {}
        for model, known in zip(self.models, self.known, strict=True):
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
                outputs = model(images, {name: index for name, index in rows.items() if name in model.heads})
            slices = {task_type: channel_slices(model.tasks, task_type) for task_type in rows}
            for task, (task_rows, _) in batch.targets.items():
                if task.id in known:
                    output = outputs[task.type][task_rows, slices[task.type][task.id]].float()
                    predictions.setdefault(task, []).append(as_probabilities(task.type, output))
        return {task: torch.stack(found).mean(0) for task, found in predictions.items()}


def _same(task: Task, tasks: Registry) -> bool:
    other = tasks.get(task.id)
    return other is not None and (other.type, other.num_classes) == (task.type, task.num_classes)


def as_probabilities(task_type: TaskType, output: Tensor) -> Tensor:
    """Return the raw output of a task as probabilities, of which a mean can be taken; see `Teachers.predict`."""
    if task_type == TaskType.REGRESSION:
        return output.flatten(2).softmax(2).view_as(output)
    if task_type == TaskType.DETECTION:
        return torch.cat([output[:, :1].sigmoid(), output[:, 1:]], dim=1)
    return output.softmax(1)


def distillation_loss(task_type: TaskType, output: Tensor, predicted: Tensor, weight: Tensor) -> Tensor:
    """Return the loss of a student's raw output (n, channels, ...) against its teachers' prediction.

    Args:
        task_type: the type of the task.
        output: the student's raw output.
        predicted: what `Teachers.predict` returns, of the same shape.
        weight: the task's `training.fit.losses.loss_weight`.

    Returns:
        A scalar on the scale of the task's loss against its labels.
    """
    if task_type == TaskType.SEGMENTATION:
        return segmentation_loss(output, predicted)
    if task_type == TaskType.CLASSIFICATION:
        return F.cross_entropy(output, predicted)
    if task_type == TaskType.REGRESSION:
        return heatmap_loss(output, predicted, soft_argmax(predicted))
    return _box_loss(output, predicted) / weight


def _box_loss(output: Tensor, predicted: Tensor) -> Tensor:
    """Return the sum over the cells of a quality focal loss of the objectness, and L1 of the sides.

    Quality focal loss: Li et al., *Generalized focal loss*, NeurIPS 2020. A cell's sides count as much as the teachers
    see an object there.
    """
    objectness, probability = output[:, 0], predicted[:, 0]
    cross_entropy = F.binary_cross_entropy_with_logits(objectness, probability, reduction="none")
    focal = (probability - objectness.sigmoid()).square() * cross_entropy
    sides = (output[:, 1:] - predicted[:, 1:]).abs().sum(1)
    return focal.sum() + 5.0 * (probability * sides).sum()
