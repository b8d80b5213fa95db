"""Test-time augmentation: every image is also seen in a mirror, by the tasks to which left and right are the same."""

from collections.abc import Mapping

import torch
from torch import Tensor

from aurora.model.aurora import Aurora
from aurora.tasks import DETECTION_CHANNELS, TaskType, channel_slices

# Of detection's channels, with the image mirrored: left and right change places.
_MIRRORED_BOX = (0, 3, 2, 1, 4)


class Mirrored(Aurora):
    """`Aurora` whose raw answers are the mean of those to the image and, mirrored back, to its mirror image."""

    def forward(self, images: Tensor, rows: Mapping[TaskType, Tensor]) -> dict[TaskType, Tensor]:
        answers, mirrored = super().forward(images, rows), super().forward(images.flip(2), rows)
        for kind, answer in answers.items():
            back = mirrored[kind] if kind is TaskType.CLASSIFICATION else mirrored[kind].flip(3)
            if kind is TaskType.DETECTION:
                back = back.unflatten(1, (-1, DETECTION_CHANNELS))[:, :, list(_MIRRORED_BOX)].flatten(1, 2)
            for name, channels in channel_slices(self.tasks, kind).items():
                if not self.tasks[name].left_right:
                    answer[:, channels] = torch.lerp(answer[:, channels], back[:, channels], 0.5)
        return answers
