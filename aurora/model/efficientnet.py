"""EfficientNet-Lite's convolutional tower, with its batch norms folded into the convolutions.

EfficientNet-Lite (Tan et al., EfficientNet, ICML 2019, and the TPU repository's `efficientnet/lite`) is EfficientNet
without squeeze-and-excitation and with ReLU6. Its last 1x1 convolution and its classifier are left out.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: The factors of width and of depth of each variant.
SCALES = {"efficientnet-lite0": (1.0, 1.0), "efficientnet-lite1": (1.0, 1.1), "efficientnet-lite2": (1.1, 1.2)}
#: Channels of the first convolution, in all variants.
FIRST_WIDTH = 32
# The indices of the stages whose outputs have strides 4, 8, 16 and 32.
_OUTPUTS = (1, 2, 4, 6)


@dataclass(frozen=True, slots=True)
class Stage:
    """A run of blocks with the same output; the first of them has the stride."""

    width: int
    repeats: int
    kernel: int
    stride: int
    expansion: int


_STAGES = (
    Stage(16, 1, 3, 1, 1),
    Stage(24, 2, 3, 2, 6),
    Stage(40, 2, 5, 2, 6),
    Stage(80, 3, 3, 2, 6),
    Stage(112, 3, 5, 1, 6),
    Stage(192, 4, 5, 2, 6),
    Stage(320, 1, 3, 1, 6),
)


def stages(name: str) -> list[Stage]:
    """Return the stages of a variant, scaled; the first and the last are never repeated.

    Example:
        >>> [stage.width for stage in stages("efficientnet-lite2")]
        [16, 24, 48, 88, 120, 208, 352]
    """
    width_factor, depth_factor = SCALES[name]
    ends = (_STAGES[0], _STAGES[-1])
    return [
        Stage(
            _round_to_eight(stage.width * width_factor),
            stage.repeats if stage in ends else math.ceil(stage.repeats * depth_factor),
            stage.kernel,
            stage.stride,
            stage.expansion,
        )
        for stage in _STAGES
    ]


def _round_to_eight(width: float) -> int:
    """Round to a multiple of 8, by no more than a tenth downwards."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding, for inputs of even height and width.

    With stride 2, this padding has one row and column more below and to the right than above and to the left.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=kernel // 2 if stride == 1 else 0, groups=groups)
        before = (kernel - stride) // 2
        self.margin = (before, kernel - stride - before) * 2 if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, self.margin) if self.margin else x
        if self.groups > 1 and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            # A CPU's kernels for the gradients of a depthwise convolution are several times slower in bfloat16.
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)


class InvertedBottleneck(nn.Module):
    """Expand the channels, filter each of them alone, and project (Sandler et al., MobileNetV2, CVPR 2018)."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        inner = inputs * stage.expansion
        self.expand = nn.Conv2d(inputs, inner, 1) if stage.expansion > 1 else None
        self.depthwise = SameConv(inner, inner, stage.kernel, stride, groups=inner)
        self.project = nn.Conv2d(inner, stage.width, 1)
        self.residual = stride == 1 and inputs == stage.width

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu6(self.expand(x)) if self.expand else x
        output = self.project(F.relu6(self.depthwise(inner)))
        return x + output if self.residual else output


class EfficientNetLite(nn.Module):
    """The tower of a variant in `SCALES`, from pixels to four maps.

    Attributes:
        widths: channels of the maps.

    Example:
        >>> maps = EfficientNetLite("efficientnet-lite0")(torch.zeros(1, 3, 64, 64))
        >>> [tuple(m.shape[1:]) for m in maps]
        [(24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)]
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        plan = stages(name)
        self.first = SameConv(3, FIRST_WIDTH, 3, 2)
        self.blocks = nn.ModuleList()
        self.outputs = []
        inputs = FIRST_WIDTH
        for index, stage in enumerate(plan):
            for repeat in range(stage.repeats):
                self.blocks.append(InvertedBottleneck(inputs, stage, 1 if repeat else stage.stride))
                inputs = stage.width
            if index in _OUTPUTS:
                self.outputs.append(len(self.blocks) - 1)
        self.widths = tuple(plan[index].width for index in _OUTPUTS)
        self.apply(_initialise)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Return the maps (B, width, H/stride, W/stride) of strides 4, 8, 16 and 32 of pixels (B, 3, H, W) in [-1, 1].

        H and W are multiples of 32.
        """
        x = F.relu6(self.first(pixels))
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.outputs:
                maps.append(x)
        return maps


def _initialise(module: nn.Module) -> None:
    """Keep the variance of the activations, which no norm restores (He et al., Delving deep into rectifiers, 2015)."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
