"""The network that paints in what is hidden of an image, and the loss by which it learns to."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aurora.model.aurora import Aurora
from aurora.model.config import STRIDES
from aurora.model.pyramid import fuse

#: The share of the squares that is hidden. Xie et al. hide as much by default, in squares of 32 pixels, which are two
#: patches, in images of 192 (SimMIM, CVPR 2022).
HIDDEN = 0.6
#: Side of a hidden square in patches.
SQUARE = 2


def hide(count: int, grid: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Which squares of a grid (rows, columns) are hidden in `count` images: (count, 1, rows, columns), 1 or 0."""
    squares = grid[0] * grid[1]
    places = torch.rand(count, squares, generator=generator).argsort(dim=1)
    hidden = torch.zeros(count, squares).scatter_(1, places[:, : round(HIDDEN * squares)], 1.0)
    return hidden.view(count, 1, *grid)


class Painter(nn.Module):
    """A model without heads, and one layer from its pyramid to colours, which is thrown away afterwards.

    What is hidden is grey (0 of -1..1) to every part of the model, the stem too. It is painted in cells of 4 x 4
    pixels: their mean colour, since speckle can't be foretold.
    """

    def __init__(self, model: Aurora) -> None:
        super().__init__()
        self.model = model
        self.paint = nn.Conv2d(model.config.pyramid_width, 3, 1)
        height, width = model.config.image_size
        side = SQUARE * model.config.encoder.patch_size
        #: Rows and columns of squares in an image.
        self.grid = height // side, width // side

    def forward(self, pixels: Tensor, hidden: Tensor) -> Tensor:
        """The mean absolute error of the colours of the hidden cells.

        Args:
            pixels: (B, 3, H, W), normalised to -1..1.
            hidden: as `hide` gives it.
        """
        seen = 1 - F.interpolate(hidden, pixels.shape[2:], mode="nearest")
        painted = self.paint(fuse(self.model.levels(pixels * seen))).float()
        error = (painted - F.avg_pool2d(pixels, STRIDES[0])).abs()
        weight = F.interpolate(hidden, error.shape[2:], mode="nearest")
        return (error * weight).sum() / (3 * weight.sum())
