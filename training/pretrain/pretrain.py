"""Pre-training from its first step to its last."""

import math
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aurora import __version__
from aurora.errors import DeviceError, Stopped, UsageError
from aurora.model import checkpoint
from aurora.model.aurora import Aurora, normalise
from aurora.model.config import STRIDES
from aurora.model.pyramid import fuse
from aurora.runtime.cli import graceful_shutdown
from training.config import FitConfig
from training.fit.distributed import ProcessGroup
from training.fit.initialize import build_model
from training.fit.optimizer import make_optimizer, set_lr
from training.pretrain.images import UnlabelledImages, find_pictures

#: The share of the squares that is hidden. Xie et al. hide as much by default, in squares of 32 pixels, which are two
#: patches, in images of 192 (SimMIM, CVPR 2022).
MASK_RATIO = 0.6
#: Side of a hidden square in patches.
MASK_PATCHES = 2


def hide(count: int, grid: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Which squares of a grid (rows, columns) are hidden in `count` images: (count, 1, rows, columns), 1 or 0."""
    squares = grid[0] * grid[1]
    places = torch.rand(count, squares, generator=generator).argsort(dim=1)
    hidden = torch.zeros(count, squares).scatter_(1, places[:, : round(MASK_RATIO * squares)], 1.0)
    return hidden.view(count, 1, *grid)


class MaskedImageModel(nn.Module):
    """A model without heads, and one layer from its pyramid to colours, which is thrown away afterwards.

    What is hidden is grey (0 of -1..1) to every part of the model, the stem too. It is painted in cells of 4 x 4
    pixels: their mean colour, since speckle can't be foretold.
    """

    def __init__(self, model: Aurora) -> None:
        super().__init__()
        self.model = model
        self.paint = nn.Conv2d(model.config.pyramid_width, 3, 1)
        height, width = model.config.image_size
        side = MASK_PATCHES * model.config.encoder.patch_size
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


def pretrain(config: FitConfig, data: Sequence[Path], out: Path, group: ProcessGroup) -> Path:
    """Train a model without tasks to paint in what is hidden of images; returns `out`, a checkpoint to start from.

    It is written after the first step, every `save_every` steps and at the end. Of the configuration count the model,
    the images, the steps, the optimizer and the machine; `accumulate`, `ema_decay` and what concerns tasks don't.

    Args:
        data: input roots, labelled or not.
        group: this process; there must be no other.

    Raises:
        UsageError: the configuration doesn't fit the encoder, or there are several processes.
        WeightsError: the configuration's encoder file or checkpoint can't be used.
        InputError, ImageError: there is no image, or, unless the configuration skips it, one that can't be read.
        DeviceError: a loss that isn't finite.
        OutputError: `out` can't be written.
        Stopped: SIGTERM or SIGINT came; the weights are written.
    """
    if group.count > 1:
        raise UsageError(f"expected one process for pre-training, found {group.count}; start it without torchrun")
    torch.manual_seed(config.seed)
    model, origin = build_model(config, {}, Aurora)
    album = UnlabelledImages(find_pictures(data, config.bad_cases), config)
    print(f"{len(album.pictures):,} images to learn from", flush=True)
    work = _Work(config, MaskedImageModel(model).to(group.device), group.device)
    provenance: dict[str, Any] = {
        "version": __version__,
        "torch": torch.__version__,
        "config": config.model_dump(mode="json"),
        **origin,
        "data": [folder.name for folder in data],
        "images": len(album.pictures),
    }
    with graceful_shutdown() as stop:
        for step, images in enumerate(islice(album, config.steps), start=1):
            work.step(step, torch.from_numpy(images))
            ended = step == config.steps or stop.requested
            if ended or step % config.log_every == 0:
                left_out = f"  {len(album.skipped)} images left out" if album.skipped else ""
                print(work.line(step) + left_out, flush=True)
            # The first time to find out early whether it can be written.
            if ended or step == 1 or step % config.save_every == 0:
                checkpoint.save(out, model, {**provenance, "step": step, "skipped": len(album.skipped)})
            if stop.requested and step < config.steps:
                raise Stopped(f"stopped at step {step} of {config.steps}; start={out} begins with its weights")
    return out


class _Work:
    """The network, its optimizer, and the losses since the last line."""

    def __init__(self, config: FitConfig, painter: MaskedImageModel, device: torch.device) -> None:
        self.config, self.painter, self.device = config, painter, device
        self.optimizer = make_optimizer(painter.model, painter.paint, config)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.losses: list[float] = []
        self.since = time.monotonic()

    def step(self, number: int, images: torch.Tensor) -> None:
        hidden = hide(len(images), self.painter.grid, self.generator).to(self.device)
        bf16 = self.config.precision == "bf16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16):
            loss = self.painter(normalise(images.to(self.device)), hidden)
        self.optimizer.zero_grad()
        loss.backward()
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)
        self.losses.append(loss.item())
        if not (math.isfinite(self.losses[-1]) and torch.isfinite(norm)):
            raise DeviceError(
                f"expected a finite loss and gradient, found a loss of {self.losses[-1]} at step {number}; "
                "lower learning_rate, or use precision=fp32"
            )
        set_lr(self.optimizer, self.config, number)
        self.optimizer.step()

    def line(self, step: int) -> str:
        """One line on the steps since the last one."""
        now = time.monotonic()
        speed = len(self.losses) * self.config.batch_size / (now - self.since)
        loss = sum(self.losses) / len(self.losses)
        self.losses, self.since = [], now
        return f"step {step} of {self.config.steps}  loss {loss:.4f}  {speed:.1f} images/s"
