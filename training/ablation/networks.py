"""Networks that differ from `Aurora` in one component, to measure its contribution."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aurora.model.aurora import Aurora
from aurora.model.config import STRIDES, ModelConfig
from aurora.model.encoder import Encoder
from aurora.model.heads import HEADS, ClassificationHead
from aurora.model.pyramid import ConvBlock, Lateral, upsample
from aurora.tasks import Registry, TaskType, of_type
from training.fit.initialize import ModelFactory
from training.fit.losses import HEATMAP_SIGMA_CELLS, cell_centres


def scramble(tokens: Tensor) -> Tensor:
    """Return a map (B, C, rows, columns) with its tokens in the language model's order, blocks of 2 x 2 patches.

    The numbers of rows and columns are even.
    """
    blocks = tokens.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).transpose(3, 4)
    return blocks.reshape(tokens.shape)


class ScrambledEncoder(Encoder):
    """An encoder whose maps have their tokens in the wrong order."""

    def forward(self, pixels: Tensor, extra: Tensor | None = None) -> list[Tensor]:
        return [scramble(tokens) for tokens in super().forward(pixels, extra)]


def scrambled_tokens(config: ModelConfig, tasks: Registry) -> Aurora:
    """Build `Aurora` with a `ScrambledEncoder`."""
    model = Aurora(config, tasks)
    model.encoder = ScrambledEncoder(config.encoder)
    return model


class LastMap(nn.Module):
    """Pyramid levels resized from the last block's map, without earlier blocks or the stem."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        encoder, width = config.encoder, config.pyramid_width
        self.lateral = Lateral(encoder.hidden_size, width, encoder.patch_size, encoder.patch_size)
        self.smooth = nn.ModuleList(ConvBlock(width, width) for _ in STRIDES)

    def forward(self, taps: Sequence[Tensor], details: Sequence[Tensor] = ()) -> list[Tensor]:
        last = self.lateral(taps[-1])
        levels = [upsample(last, 4), upsample(last), last, F.avg_pool2d(last, 2)]
        return [smooth(level) for smooth, level in zip(self.smooth, levels, strict=True)]


def last_map(config: ModelConfig, tasks: Registry) -> Aurora:
    """Build `Aurora` whose heads see only the last block's map."""
    model = Aurora(config, tasks)
    model.pyramid = LastMap(config)  # type: ignore[assignment]
    return model


def no_stem(config: ModelConfig, tasks: Registry) -> Aurora:
    """Build `Aurora` without the convolutional stem."""
    return Aurora(replace(config, stem_width=0, stem=None), tasks)


class PooledPoints(nn.Module):
    """A landmark head that regresses coordinates from pooled features and renders them as heatmaps.

    The heatmaps have the Gaussian of the targets, so that loss and decoding are unchanged: the divergence of two such
    heatmaps is the squared distance of their points over twice the variance.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.pooled = ClassificationHead(width, 2 * channels, dropout=0.0)

    def forward(self, levels: list[Tensor]) -> Tensor:
        points = 0.5 + self.pooled(levels).float().unflatten(1, (-1, 2))
        height, width = levels[0].shape[2:]
        x, y = cell_centres(height, width, points.device)
        dx = (x - points[..., :1]) * width / HEATMAP_SIGMA_CELLS
        dy = (y - points[..., 1:]) * height / HEATMAP_SIGMA_CELLS
        return -0.5 * (dx[:, :, None, :] ** 2 + dy[..., None] ** 2)


def pooled_landmarks(config: ModelConfig, tasks: Registry) -> Aurora:
    """Build `Aurora` with `PooledPoints` for landmarks."""
    model = Aurora(config, tasks)
    if TaskType.REGRESSION in model.heads:
        channels = sum(task.channels for task in of_type(tasks, TaskType.REGRESSION))
        model.heads[TaskType.REGRESSION] = PooledPoints(config.pyramid_width, channels)
    return model


class SharedHead(nn.Module):
    """One last layer for all tasks of a type, as wide as the widest task; every task uses the first channels."""

    def __init__(self, task_type: TaskType, width: int, tasks: Registry) -> None:
        super().__init__()
        counts = [task.channels for task in of_type(tasks, task_type)]
        self.head = HEADS[task_type](width, max(counts))
        self.register_buffer("channels", torch.cat([torch.arange(count) for count in counts]), persistent=False)

    def forward(self, levels: list[Tensor]) -> Tensor:
        return self.head(levels).index_select(1, self.channels)


def shared_heads(config: ModelConfig, tasks: Registry) -> Aurora:
    """Build `Aurora` with a `SharedHead` for every type."""
    model = Aurora(config, tasks)
    for name in model.heads:
        model.heads[name] = SharedHead(TaskType(name), config.pyramid_width, tasks)
    return model


#: The networks of the variants that change the network.
NETWORKS: Mapping[str, ModelFactory] = {
    "scrambled-tokens": scrambled_tokens,
    "last-map": last_map,
    "no-stem": no_stem,
    "pooled-landmarks": pooled_landmarks,
    "shared-heads": shared_heads,
}
