"""Determine the cost of encoders: count it from their shapes, without computation, or measure it on a device."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from aurora.model.config import PRESETS, EncoderConfig
from aurora.model.encoder import Encoder
from aurora.runtime.hardware import open_device, peak_memory
from aurora.runtime.text import markdown_table


@dataclass(frozen=True, slots=True)
class Cost:
    """The counted cost of one image.

    Attributes:
        flops: of a forward pass; a multiplication and an addition are two. Training takes three times as many, four
            with gradient checkpointing.
        kept: activation memory of a bfloat16 training step in bytes.
        kept_recomputing: the same with gradient checkpointing, without the activations of the block being recomputed.
    """

    parameters: int
    flops: int
    kept: int
    kept_recomputing: int


def count(config: EncoderConfig, size: tuple[int, int]) -> Cost:
    """Count the cost of an encoder for an image of `size` (height, width); allocates no tensors."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        Encoder(config)(torch.empty(1, 3, *size))
    with FakeTensorMode():
        encoder = Encoder(config)
        # The difference between two batch sizes excludes what doesn't grow with the batch, such as bfloat16 weights.
        kept = [_kept(encoder, 2, size) - _kept(encoder, 1, size) for encoder.gradient_checkpointing in (False, True)]
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    return Cost(parameters, counter.get_total_flops(), *kept)


def _kept(encoder: Encoder, batch: int, size: tuple[int, int]) -> int:
    """Return the bytes that a forward pass in bfloat16 saves for the backward pass."""
    saved: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    # Gradient checkpointing keeps the input of each block, which the hooks for saved tensors don't see.
    hooks = [block.register_forward_pre_hook(lambda _, inputs: saved.append(inputs[0])) for block in encoder.blocks]
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16),
    ):
        encoder(torch.empty(batch, 3, *size))
    for hook in hooks:
        hook.remove()
    return sum({tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in saved}.values())


SIDES = (256, 448, 512)
#: The presets in the tables; `micro` is for tests.
LISTED = tuple(name for name in PRESETS if name != "micro")


def cost_table(sides: Sequence[int] = SIDES) -> str:
    """Format the counted cost of `LISTED` on square images as a Markdown table; equal encoders share a row."""
    header = ("preset", "parameters", "weights, fp32", "bf16", "image", "GFLOP", "kept", "kept, recomputing")
    rows = []
    for config, presets in groupby(LISTED, key=lambda name: PRESETS[name].encoder):
        names = ", ".join(presets)
        for side in sides:
            cost = count(config, (side, side))
            megabytes = [f"{size / 1e6:,.0f} MB" for size in (cost.kept, cost.kept_recomputing)]
            weights = [f"{width * cost.parameters / 1e6:,.0f} MB" for width in (4, 2)]
            millions, billions = f"{cost.parameters / 1e6:.1f} M", f"{cost.flops / 1e9:,.1f}"
            rows.append((names, millions, *weights, f"{side} px", billions, *megabytes))
    return "\n".join(markdown_table(header, rows, text_columns=1))


@dataclass(frozen=True, slots=True)
class Speed:
    """The measured speed of one pass.

    Attributes:
        images_per_second: the rate.
        share_of_ceiling: FLOP per second, as a fraction of the rate of a large matrix product.
        peak_memory: in bytes; of PyTorch on a GPU, of the process since its start on a CPU.
    """

    images_per_second: float
    share_of_ceiling: float
    peak_memory: int


def measure(
    config: EncoderConfig, size: tuple[int, int], device: torch.device, batch: int, ceiling: float
) -> dict[str, Speed]:
    """Measure forward passes and training steps (forward, backward, AdamW) of an encoder in bfloat16.

    Args:
        size: height and width of the images.
        batch: images per batch.
        ceiling: the rate that counts as full speed, in FLOP per second; see `matmul_rate`.

    Returns:
        The speed of "forward" and "training", medians of five.
    """
    cost = count(config, size)
    encoder = Encoder(config).to(device)
    images = torch.rand(batch, 3, *size, device=device)
    optimizer = torch.optim.AdamW(encoder.parameters(), fused=True)

    def forward() -> None:
        with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16):
            encoder(images)

    def train() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = torch.stack([tap.float().square().mean() for tap in encoder(images)]).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    speeds = {}
    for name, work, passes in (("forward", forward, 1), ("training", train, 3)):
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        rate = batch / _seconds(work, device)
        speeds[name] = Speed(rate, rate * passes * cost.flops / ceiling, peak_memory(device))
    return speeds


def matmul_rate(device: torch.device) -> float:
    """Measure a large bfloat16 matrix product, in FLOP per second."""
    side = 8192 if device.type == "cuda" else 1024
    a, b = (torch.rand(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / _seconds(lambda: torch.matmul(a, b), device)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the median time of five calls in seconds, or the time of the first one if it takes more than 2 s.

    A processor that only emulates bfloat16 is a thousand times slower than one that has it.
    """
    times: list[float] = []
    while len(times) < 7 and not (times and times[0] > 2):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return median(times[2:] or times)  # after two warm-up calls


def speed_table(device: str, presets: Sequence[str], side: int, batch: int) -> str:
    """Format the measured speed of presets (all of `LISTED` if empty) on square images as a Markdown table."""
    header = ("preset", "pass", "images/s", "share of the matrix product rate", "peak memory")
    target = open_device(device)
    ceiling = matmul_rate(target)
    rows = []
    for name in presets or LISTED:
        for work, speed in measure(PRESETS[name].encoder, (side, side), target, batch, ceiling).items():
            rate, share = f"{speed.images_per_second:,.1f}", f"{speed.share_of_ceiling:.0%}"
            rows.append((name, work, rate, share, f"{speed.peak_memory / 1e6:,.0f} MB"))
    return "\n".join(markdown_table(header, rows, text_columns=1))
