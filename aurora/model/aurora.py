"""The whole network: from images to the raw outputs of every task type in one pass."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from aurora.model.config import STRIDES, ModelConfig
from aurora.model.encoder import Encoder
from aurora.model.heads import HEADS
from aurora.model.novelty import Novelty, channel_statistics
from aurora.model.pyramid import Pyramid
from aurora.model.stem import build_stem
from aurora.tasks import NOVELTY, TYPES, Registry, TaskType, of_type


def normalise(images: Tensor) -> Tensor:
    """Convert 8-bit RGB (B, H, W, 3) to float (B, 3, H, W) in [-1, 1], as Qwen3-VL does (mean and deviation 0.5)."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1.0


class Aurora(nn.Module):
    """Stem, encoder, pyramid, and one head for each task type in the registry.

    Example:
        >>> model = Aurora(PRESETS["tiny"], OFFICIAL)
        >>> model(images, {TaskType.DETECTION: torch.tensor([0, 2])})  # boxes in images 0 and 2
    """

    def __init__(self, config: ModelConfig, tasks: Registry) -> None:
        super().__init__()
        self.config = config
        self.tasks = dict(tasks)
        self.encoder = Encoder(config.encoder)
        self.pyramid = Pyramid(config)
        self.stem = build_stem(config)
        self.heads = nn.ModuleDict()
        for task_type in TYPES:
            channels = sum(task.channels for task in of_type(tasks, task_type))
            if channels:
                self.heads[task_type] = HEADS[task_type](config.pyramid_width, channels)
        self.novelty = Novelty(self.num_features) if config.novelty else None

    @property
    def num_features(self) -> int:
        """The number of `features` of an image."""
        maps = self.stem.LATERALS if self.stem else len(STRIDES)
        return 2 * maps * self.config.pyramid_width

    def forward(self, images: Tensor, rows: Mapping[TaskType, Tensor]) -> dict[TaskType, Tensor]:
        """Compute the raw outputs of a batch in which each image may have any number of rows.

        Args:
            images: (B, H, W, 3) 8-bit RGB; each is encoded once.
            rows: for each task type to compute, the image index of every row: (R,) int64 in 0..B-1.

        Returns:
            For each type in `rows`, (R, channels, ...) with the channels of all tasks of that type; and, if the model
            has it, `NOVELTY`, (B,).
        """
        levels, local = self._maps(normalise(images))
        outputs = {
            task_type: self.heads[task_type]([level.index_select(0, index) for level in levels])
            for task_type, index in rows.items()
        }
        return outputs | ({NOVELTY: self.novelty(channel_statistics(local))} if self.novelty else {})

    def levels(self, pixels: Tensor) -> list[Tensor]:
        """Return the pyramid's levels (B, width, H/stride, W/stride), fine to coarse, of pixels (B, 3, H, W)."""
        return self._maps(pixels)[0]

    def features(self, pixels: Tensor) -> Tensor:
        """Return what `Novelty` compares of pixels (B, 3, H, W): (B, num_features).

        They are the statistics of the stem's maps, which change less in training than the pyramid's; without a stem,
        those of the pyramid's levels.
        """
        return channel_statistics(self._maps(pixels)[1])

    def _maps(self, pixels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the pyramid's levels, and the stem's maps that were added to them, or the levels without a stem."""
        lateral_features, token_bias = self.stem(pixels) if self.stem else ([], None)
        levels = self.pyramid(self.encoder(pixels, token_bias), lateral_features)
        return levels, lateral_features or levels


class _NoInit(TorchFunctionMode):
    """Skip the functions of `torch.nn.init` inside this context."""

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
    """Build a model on the CPU, in evaluation mode, with uninitialized weights, to be loaded from a file.

    PyTorch's device "meta" would skip initialization too, but takes a second to start.
    """
    with _NoInit():
        return Aurora(config, tasks).eval()
