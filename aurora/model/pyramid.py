"""Build a feature pyramid of four levels from four token maps of one resolution."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aurora.model.config import NORM_GROUPS, STRIDES, ModelConfig
from aurora.model.encoder import NORM_EPS


def upsample(x: Tensor, factor: int = 2) -> Tensor:
    """Upsample (B, C, H, W) bilinearly by an integer factor, with cell areas aligned (not corners)."""
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


class ConvBlock(nn.Sequential):
    """3x3 convolution, GroupNorm and SiLU, from (B, inputs, H, W) to (B, outputs, H/stride, W/stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.GroupNorm(NORM_GROUPS, outputs), nn.SiLU()
        )


class Lateral(nn.Module):
    """Turn one tap into one level: LayerNorm over the channels, 1x1 projection, change of resolution.

    A finer level is computed by depth-to-space, where every token computes each of its cells; a coarser level is
    computed by averaging.
    """

    def __init__(self, channels: int, width: int, patch_size: int, stride: int) -> None:
        super().__init__()
        self.finer, self.coarser = max(patch_size // stride, 1), max(stride // patch_size, 1)
        self.norm = nn.LayerNorm(channels, eps=NORM_EPS)
        # The outputs are ordered by channel, then by cell, as in `nn.PixelShuffle`.
        self.project = nn.Linear(channels, width * self.finer**2)

    def forward(self, tokens: Tensor) -> Tensor:
        # Reorder the outputs by cell, then by channel: this moves whole pixels instead of single numbers, which is
        # several times faster on a CPU.
        cells = self.finer**2
        weight = self.project.weight.unflatten(0, (-1, cells)).transpose(0, 1).flatten(0, 1)
        bias = self.project.bias.unflatten(0, (-1, cells)).T.flatten()
        x = F.linear(self.norm(tokens.permute(0, 2, 3, 1)), weight, bias)
        x = x.unflatten(3, (self.finer, self.finer, -1)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        # Keep the channels-last memory order, in which convolutions and especially upsampling are faster on a CPU.
        x = x.permute(0, 3, 1, 2)
        return F.avg_pool2d(x, self.coarser) if self.coarser > 1 else x


class Pyramid(nn.Module):
    """Turn four taps (B, C, rows, columns) into four levels (B, width, H/stride, W/stride), fine to coarse.

    The shallow taps feed the fine levels. `lateral_features`, fine to coarse, are added to the finest levels. Each
    level also receives the sum of all coarser ones.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        encoder, width = config.encoder, config.pyramid_width
        self.laterals = nn.ModuleList(Lateral(encoder.hidden_size, width, encoder.patch_size, s) for s in STRIDES)
        self.smooth = nn.ModuleList(ConvBlock(width, width) for _ in STRIDES)

    def forward(self, taps: list[Tensor], lateral_features: Sequence[Tensor] = ()) -> list[Tensor]:
        levels = [lateral(tap) for lateral, tap in zip(self.laterals, taps, strict=True)]
        for fine, features in enumerate(lateral_features):
            levels[fine] = levels[fine] + features
        for fine in reversed(range(len(levels) - 1)):
            levels[fine] = levels[fine] + upsample(levels[fine + 1])
        return [smooth(level) for smooth, level in zip(self.smooth, levels, strict=True)]


def fuse(levels: list[Tensor]) -> Tensor:
    """Return the sum of levels (fine to coarse, each half the size of the previous one) at the finest one's size."""
    fused = levels[-1]
    for level in reversed(levels[:-1]):
        fused = level + upsample(fused)
    return fused


def pool(levels: list[Tensor]) -> Tensor:
    """Return the mean and maximum of every channel of every level: (B, 2 x levels x width)."""
    return torch.cat([pooled for level in levels for pooled in (level.mean((2, 3)), level.amax((2, 3)))], dim=1)
