"""Masked image modelling: reconstruct hidden squares of images from the rest of them."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
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
from aurora.runtime.hardware import keep_freed_memory, uses_bfloat16
from training.config import FitConfig
from training.data.prepare import log_lines
from training.fit.distributed import ProcessGroup
from training.fit.initialize import build_model
from training.fit.optimizer import make_optimizer, set_lr
from training.pretrain.images import UnlabelledImages, find_images

logger = logging.getLogger("aurora.training")

#: Share of the squares that is hidden: the default of Xie et al. (SimMIM, CVPR 2022), who hide squares of 32 pixels,
#: which are two patches, in images of 192.
MASK_RATIO = 0.6
#: Side of a hidden square in patches.
MASK_PATCHES = 2


def random_mask(count: int, grid: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Choose the hidden squares of a grid (rows, columns) in `count` images: (count, 1, rows, columns), 1 if hidden."""
    squares = grid[0] * grid[1]
    order = torch.rand(count, squares, generator=generator).argsort(dim=1)
    mask = torch.zeros(count, squares).scatter_(1, order[:, : round(MASK_RATIO * squares)], 1.0)
    return mask.view(count, 1, *grid)


class MaskedImageModel(nn.Module):
    """A model without heads, and a layer from its pyramid to colours, which is discarded after pre-training.

    Hidden pixels are grey (0 of -1..1) for every part of the model, including the stem. The target is the mean colour
    of cells of 4 x 4 pixels, because speckle can't be predicted.
    """

    def __init__(self, model: Aurora) -> None:
        super().__init__()
        self.model = model
        self.to_colours = nn.Conv2d(model.config.pyramid_width, 3, 1)
        height, width = model.config.image_size
        side = MASK_PATCHES * model.config.encoder.patch_size
        #: Rows and columns of squares in an image.
        self.grid = height // side, width // side

    def forward(self, pixels: Tensor, mask: Tensor) -> Tensor:
        """Return the mean absolute error of the hidden cells' colours.

        Args:
            pixels: (B, 3, H, W), normalised to -1..1.
            mask: (B, 1, rows, columns), as `random_mask` returns it.
        """
        visible = 1 - F.interpolate(mask, pixels.shape[2:], mode="nearest")
        colours = self.to_colours(fuse(self.model.levels(pixels * visible))).float()
        error = (colours - F.avg_pool2d(pixels, STRIDES[0])).abs()
        weight = F.interpolate(mask, error.shape[2:], mode="nearest")
        return (error * weight).sum() / (3 * weight.sum())


def pretrain(config: FitConfig, data: Sequence[Path], out: Path, group: ProcessGroup) -> Path:
    """Train a model without tasks to reconstruct masked images, and return `out`, a checkpoint for `init_from`.

    It is written after the first step, every `save_every` steps and at the end. The settings of tasks and their
    sampling, `gradient_accumulation`, `ema_decay` and `patience` have no effect.

    Args:
        config: the run's configuration.
        data: input roots, labelled or not.
        out: the checkpoint to write.
        group: a group of one process.

    Raises:
        UsageError: the configuration doesn't fit the encoder, or there are several processes.
        WeightsError: the encoder file or the checkpoint in `init_from` can't be used.
        InputError: there is no usable image.
        ImageError: an image can't be read, and the configuration doesn't skip it.
        DeviceError: the loss isn't finite.
        OutputError: `out` can't be written.
        Stopped: SIGTERM or SIGINT arrived; the weights are written.
    """
    if group.world_size > 1:
        raise UsageError(f"expected one process for pre-training, found {group.world_size}; start it without torchrun")
    keep_freed_memory()
    torch.manual_seed(config.seed)
    model, origin = build_model(config, {}, Aurora)
    images = UnlabelledImages(find_images(data, config.on_bad_case), config)
    logger.info("%s images", f"{len(images.images):,}")
    trainer = _Pretrainer(config, MaskedImageModel(model).to(group.device), group.device)
    provenance = _provenance(config, origin, data, images)
    with graceful_shutdown() as shutdown:
        for step, batch in enumerate(islice(images, config.steps), start=1):
            trainer.step(step, torch.from_numpy(batch))
            stopped = shutdown.requested and step < config.steps
            ended = stopped or step == config.steps
            if ended or step % config.log_every == 0:
                left_out = f"  {len(images.skipped)} images left out" if images.skipped else ""
                logger.info("%s", trainer.progress_line(step) + left_out)
            # Also written after the first step, to detect early that the file can't be written.
            if ended or step == 1 or step % config.save_every == 0:
                checkpoint.save(out, model, {**provenance, "step": step, "skipped": len(images.skipped)})
            if ended:
                log_lines(images.notes().lines("warnings"))
            if stopped:
                raise Stopped(f"stopped at step {step} of {config.steps}; init_from={out} starts with its weights")
    return out


def _provenance(
    config: FitConfig, origin: Mapping[str, Any], data: Sequence[Path], images: UnlabelledImages
) -> dict[str, Any]:
    """Return the metadata of the checkpoint; `origin` is that of `build_model`."""
    return {
        "version": __version__,
        "torch": torch.__version__,
        "config": config.model_dump(mode="json"),
        **origin,
        "data": [folder.name for folder in data],
        "images": len(images.images),
    }


class _Pretrainer:
    """The network, its optimizer, and the losses since the last progress line."""

    def __init__(self, config: FitConfig, network: MaskedImageModel, device: torch.device) -> None:
        self.config, self.network, self.device = config, network, device
        self.bf16 = uses_bfloat16(config.precision, device)
        self.optimizer = make_optimizer(network.model, network.to_colours, config)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.losses: list[float] = []
        self.since = time.monotonic()

    def step(self, number: int, images: torch.Tensor) -> None:
        """Take step `number` (from 1) on images (B, H, W, 3) uint8; raises `DeviceError` for a non-finite loss."""
        mask = random_mask(len(images), self.network.grid, self.generator).to(self.device)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            loss = self.network(normalise(images.to(self.device)), mask)
        self.optimizer.zero_grad()
        loss.backward()
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, self.config.grad_clip_norm)
        self.losses.append(loss.item())
        if not (math.isfinite(self.losses[-1]) and torch.isfinite(norm)):
            raise DeviceError(
                f"expected a finite loss and gradient, found a loss of {self.losses[-1]} at step {number}; "
                "lower learning_rate, or use precision=fp32"
            )
        set_lr(self.optimizer, self.config, number)
        self.optimizer.step()

    def progress_line(self, step: int) -> str:
        """Summarize the steps since the last line."""
        now = time.monotonic()
        speed = len(self.losses) * self.config.batch_size / (now - self.since)
        loss = sum(self.losses) / len(self.losses)
        self.losses, self.since = [], now
        return f"step {step} of {self.config.steps}  loss {loss:.4f}  {speed:.1f} images/s"
