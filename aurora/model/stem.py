"""Convolutions on the image itself, for the fine borders and texture that patches of 16 pixels blur."""

from itertools import pairwise

from torch import Tensor, nn

from aurora.model.config import ModelConfig
from aurora.model.efficientnet import EfficientNetLite
from aurora.model.pyramid import ConvBlock


class Stem(nn.Module):
    """Four convolutions, each halving the image and doubling the channels, the first to `config.stem_width`.

    Its maps are added to the encoder's: trained from scratch on few images, a transformer learns local structure late
    or never, whereas a convolution has it from the first step (Xiao et al., "Early Convolutions Help Transformers See
    Better", NeurIPS 2021).
    """

    #: The number of its lateral features.
    LATERALS = 2

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths = [config.stem_width * 2**i for i in range(4)]
        # The first has no norm, which at half the image size would cost more than the convolution.
        first = nn.Sequential(nn.Conv2d(3, widths[0], 3, 2, padding=1), nn.SiLU())
        self.halves = nn.ModuleList([first, *(ConvBlock(a, b, stride=2) for a, b in pairwise(widths))])
        outputs = (config.pyramid_width, config.pyramid_width, config.encoder.hidden_size)
        self.project = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(widths[1:], outputs, strict=True))

    def forward(self, pixels: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the lateral features and the token bias of pixels (B, 3, H, W) in [-1, 1].

        The lateral features are (B, pyramid_width, H/stride, W/stride) for the levels of strides 4 and 8; the token
        bias is (B, hidden_size, H/16, W/16).
        """
        maps = []
        for half in self.halves:
            pixels = half(pixels)
            maps.append(pixels)
        *lateral_features, token_bias = (project(x) for project, x in zip(self.project, maps[1:], strict=True))
        return lateral_features, token_bias


class PublishedStem(nn.Module):
    """A published convolutional network, whose four maps are added to the pyramid's levels.

    Its map of stride 16 is also added to the encoder's tokens, so that the transformer sees what the convolutions see.
    """

    #: The number of its lateral features.
    LATERALS = 4

    def __init__(self, name: str, config: ModelConfig) -> None:
        super().__init__()
        self.tower = EfficientNetLite(name)
        self.project = nn.ModuleList(nn.Conv2d(width, config.pyramid_width, 1) for width in self.tower.widths)
        self.tokens = nn.Conv2d(self.tower.widths[2], config.encoder.hidden_size, 1)

    def forward(self, pixels: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the lateral features of strides 4, 8, 16 and 32, and the token bias; see `Stem.forward`."""
        maps = self.tower(pixels)
        return [project(x) for project, x in zip(self.project, maps, strict=True)], self.tokens(maps[2])


def build_stem(config: ModelConfig) -> Stem | PublishedStem | None:
    """Return the stem of a configuration, None if it has none."""
    if config.stem:
        return PublishedStem(config.stem, config)
    return Stem(config) if config.stem_width else None
