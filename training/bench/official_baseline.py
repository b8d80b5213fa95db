"""Predict with the network of the challenge's official baseline, whose weights are random, to compare its speed.

`python -m training.bench.official_baseline INPUT OUTPUT` reads an input root and writes a folder of predictions, as the
published container does: on 256 x 256 pixels, in batches of 8 that four processes read, each task of a batch in a pass
of its own. It needs `pip install efficientnet-pytorch`, and rows with images that OpenCV reads.

The network is an EfficientNet-B4 with the sum of a feature pyramid's levels (Kirillov et al., Panoptic Feature Pyramid
Networks, CVPR 2019) and a head for each task; see Deng et al., Baseline Method of the Foundation Model Challenge for
Ultrasound Image Analysis, arXiv:2602.01055.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from aurora.errors import UsageError
from aurora.kinds import KINDS, Prediction
from aurora.kinds.classification import softmax
from aurora.rows import Row, image_file, read_rows
from aurora.tasks import DETECTION_CHANNELS, TYPES, TaskType
from training.bench.plain_loop import read_pixels
from training.data.predictions import write_predictions

SIDE, BATCH_SIZE, READERS = 256, 8, 4
PYRAMID_WIDTH, FUSED_WIDTH = 256, 128
# The statistics of ImageNet by which the baseline normalises pixels in [0, 1].
_MEAN, _DEVIATION = np.array([(0.485, 0.456, 0.406), (0.229, 0.224, 0.225)], dtype=np.float32)


class PyramidSum(nn.Module):
    """Maps of strides 4, 8, 16 and 32 to their sum: (B, `FUSED_WIDTH`, H/4, W/4)."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(width, PYRAMID_WIDTH, 1) for width in widths)
        # A level of stride 4 * 2**n is doubled n times, with a convolution before each.
        self.towers = nn.ModuleList(self._tower(doublings) for doublings in range(len(widths)))

    @staticmethod
    def _tower(doublings: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for number in range(max(doublings, 1)):
            inputs = FUSED_WIDTH if number else PYRAMID_WIDTH
            layers += [nn.Conv2d(inputs, FUSED_WIDTH, 3, padding=1, bias=False), nn.GroupNorm(32, FUSED_WIDTH)]
            layers += [nn.ReLU(inplace=True)]
            layers += [nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)] if doublings else []
        return nn.Sequential(*layers)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the sum of the maps, fine to coarse."""
        level = self.laterals[-1](maps[-1])
        levels = [level]
        for lateral, finer in zip(self.laterals[-2::-1], maps[-2::-1], strict=True):
            level = F.interpolate(level, scale_factor=2) + lateral(finer)
            levels.append(level)
        return torch.stack([tower(x) for tower, x in zip(self.towers, levels[::-1], strict=True)]).sum(0)


def _head(row: Row, width: int) -> nn.Module:
    """Return the head of a row's task; `width` is that of the encoder's last map."""
    count = row.num_classes or TYPES[row.type].default_count
    if row.type == TaskType.SEGMENTATION:
        return nn.Sequential(nn.Conv2d(FUSED_WIDTH, count, 1), nn.Upsample(scale_factor=4, mode="bilinear"))
    if row.type == TaskType.DETECTION:
        convolutions = [
            layer
            for _ in range(2)
            for layer in (nn.Conv2d(FUSED_WIDTH, 128, 3, padding=1, bias=False), nn.BatchNorm2d(128), nn.ReLU())
        ]
        return nn.Sequential(*convolutions, nn.Conv2d(128, DETECTION_CHANNELS, 1))
    outputs = 2 * count if row.type == TaskType.REGRESSION else count
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, outputs))


class OfficialBaseline(nn.Module):
    """The baseline's network for the tasks of some rows.

    Raises:
        UsageError: efficientnet-pytorch isn't installed.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        try:
            from efficientnet_pytorch import EfficientNet
        except ImportError:
            raise UsageError(
                "the official baseline needs efficientnet-pytorch, which isn't installed: "
                "pip install efficientnet-pytorch"
            ) from None
        super().__init__()
        self.encoder = EfficientNet.from_name("efficientnet-b4", image_size=SIDE)
        self.encoder.set_swish(memory_efficient=False)
        # The baseline leaves out the layers after the last block.
        self.encoder._conv_head = self.encoder._bn1 = nn.Identity()
        widths = (32, 56, 160, 448)
        self.pyramid = PyramidSum(widths)
        self.heads = nn.ModuleDict({row.task_id: _head(row, widths[-1]) for row in rows})

    def forward(self, images: Tensor, row: Row) -> Tensor:
        """Return the outputs of normalised images (B, 3, `SIDE`, `SIDE`) for the row's task."""
        ends = self.encoder.extract_endpoints(images)
        maps = [ends[f"reduction_{number}"] for number in range(2, 6)]
        dense = row.type in (TaskType.SEGMENTATION, TaskType.DETECTION)
        output: Tensor = self.heads[row.task_id](self.pyramid(maps) if dense else maps[-1])
        return output


class _Images(Dataset[tuple[int, tuple[int, int], Tensor]]):
    """Each row's number, the size of its image, and its normalised image."""

    def __init__(self, root: Path, rows: Sequence[Row]) -> None:
        self.files = [image_file(root, row) for row in rows]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[int, tuple[int, int], Tensor]:
        image = read_pixels(self.files[number])
        pixels = (cv2.resize(image, (SIDE, SIDE)) / np.float32(255) - _MEAN) / _DEVIATION
        return number, image.shape[:2], torch.from_numpy(pixels).permute(2, 0, 1)


def _decode(row: Row, output: np.ndarray, size: tuple[int, int]) -> Prediction:
    """Decode a row's output; coordinates are clipped to the image, which the baseline leaves to its training."""
    if row.type == TaskType.SEGMENTATION:
        mask = output.argmax(0).astype(np.uint8)
        return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST)
    if row.type == TaskType.CLASSIFICATION:
        values = softmax(output)
    elif row.type == TaskType.DETECTION:
        cells = output.reshape(DETECTION_CHANNELS, -1)
        values = 1 / (1 + np.exp(-cells[:4, cells[4].argmax()]))
    else:
        values = output.clip(0, 1).reshape(-1, 2)
    return KINDS[row.type].from_mean(row, values, size)


@torch.inference_mode()
def official_baseline(root: Path) -> Iterator[tuple[Row, Prediction]]:
    """Yield each row of the input root with the prediction of the baseline's network."""
    rows = list(read_rows(root).rows)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = OfficialBaseline(rows).eval().to(device)
    batches = DataLoader(
        _Images(root, rows), BATCH_SIZE, num_workers=READERS, pin_memory=device.type == "cuda", collate_fn=list
    )
    for batch in batches:
        images = torch.stack([image for *_, image in batch]).to(device)
        tasks: dict[str, list[int]] = {}
        for position, (number, *_) in enumerate(batch):
            tasks.setdefault(rows[number].task_id, []).append(position)
        for positions in tasks.values():
            outputs = model(images[positions], rows[batch[positions[0]][0]]).cpu().numpy()
            for position, output in zip(positions, outputs, strict=True):
                number, size, _ = batch[position]
                yield rows[number], _decode(rows[number], output, size)


if __name__ == "__main__":
    source, out = map(Path, sys.argv[1:])
    write_predictions(official_baseline(source), out)
