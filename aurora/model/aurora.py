"""The whole network: images in, the raw answers of every task type out, in one pass."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from aurora.model.config import ModelConfig
from aurora.model.encoder import Encoder
from aurora.model.heads import HEADS
from aurora.model.pyramid import Pyramid
from aurora.model.stem import Stem
from aurora.tasks import Registry, TaskType, of_type


def normalise(images: Tensor) -> Tensor:
    """8-bit RGB (B, H, W, 3) to float (B, 3, H, W) in [-1, 1], Qwen3-VL's mean and deviation of 0.5."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1.0


class Aurora(nn.Module):
    """Stem, encoder, pyramid and the heads of the types that the registry holds.

    Example:
        >>> model = Aurora(PRESETS["tiny"], OFFICIAL)
        >>> model(images, {TaskType.DETECTION: torch.tensor([0, 2])})   # images 0 and 2 want boxes
    """

    def __init__(self, config: ModelConfig, tasks: Registry) -> None:
        super().__init__()
        self.config = config
        self.tasks = dict(tasks)
        self.encoder = Encoder(config.encoder)
        self.pyramid = Pyramid(config)
        self.stem = Stem(config) if config.stem_width else None
        self.heads = nn.ModuleDict()
        for kind in TaskType:
            channels = sum(task.channels for task in of_type(tasks, kind))
            if channels:
                self.heads[kind.value] = HEADS[kind](config.pyramid_width, channels)

    def forward(self, images: Tensor, rows: Mapping[TaskType, Tensor]) -> dict[TaskType, Tensor]:
        """The raw answers of a batch in which every image may serve any number of rows.

        Args:
            images: (B, H, W, 3) 8-bit RGB; each is encoded once.
            rows: for each type wanted, the image of every row: (R,) int64 in 0..B-1.

        Returns:
            For each type in `rows`, (R, channels, ...) with the channels of all of the type's tasks.
        """
        levels = self.levels(normalise(images))
        return {
            kind: self.heads[kind.value]([level.index_select(0, index) for level in levels])
            for kind, index in rows.items()
        }

    def levels(self, pixels: Tensor) -> list[Tensor]:
        """Of normalised pixels (B, 3, H, W) the pyramid's levels (B, width, H/stride, W/stride), fine to coarse."""
        details, extra = self.stem(pixels) if self.stem else ([], None)
        return self.pyramid(self.encoder(pixels, extra), details)


class _NoInit(TorchFunctionMode):
    """Inside this context what `torch.nn.init` is asked to fill stays as it is."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def build_uninitialized(config: ModelConfig, tasks: Registry) -> Aurora:
    """A model on the CPU, in evaluation mode, whose weights are whatever the memory holds.

    Random ones would be replaced at once. PyTorch's device "meta" would draw none either, but takes a second to start.
    """
    with _NoInit():
        return Aurora(config, tasks).eval()
