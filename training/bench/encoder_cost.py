"""What an encoder costs: counted from its shapes without computing anything, and measured on a device."""

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


@dataclass(frozen=True, slots=True)
class Cost:
    """Counted for one image.

    `flops` are those of a forward pass, a multiplication and an addition being two; training takes three
    times as many, four with recomputing. `kept` are the bytes that bfloat16 training holds from the way
    forth to the way back, `kept_recomputing` the same with gradient checkpointing, which needs the inside of
    one block on top.
    """

    parameters: int
    flops: int
    kept: int
    kept_recomputing: int


def count(config: EncoderConfig, size: tuple[int, int]) -> Cost:
    """The cost of an encoder on images of `size` (height, width); allocates nothing."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        Encoder(config)(torch.empty(1, 3, *size))
    with FakeTensorMode():
        encoder = Encoder(config)
        # The difference of two batches leaves out what doesn't grow with the batch, such as weights in bfloat16.
        kept = [_kept(encoder, 2, size) - _kept(encoder, 1, size) for encoder.gradient_checkpointing in (False, True)]
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    return Cost(parameters, counter.get_total_flops(), *kept)


def _kept(encoder: Encoder, batch: int, size: tuple[int, int]) -> int:
    """Bytes that a forward pass in bfloat16 leaves behind for the backward pass."""
    saved: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    # What checkpointing keeps, the input of each block, passes these hooks of autograd by.
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


def cost_table() -> str:
    """The counted cost of every preset at the usual sizes, as a Markdown table; presets of one shape share a row."""
    head = ("preset", "parameters", "weights, fp32", "bf16", "image", "GFLOP", "kept", "kept, recomputing")
    rows = []
    for config, alike in groupby(PRESETS.items(), key=lambda item: item[1].encoder):
        names = ", ".join(name for name, _ in alike)
        for side in SIDES:
            cost = count(config, (side, side))
            megabytes = [f"{size / 1e6:,.0f} MB" for size in (cost.kept, cost.kept_recomputing)]
            weights = [f"{width * cost.parameters / 1e6:,.0f} MB" for width in (4, 2)]
            millions, billions = f"{cost.parameters / 1e6:.1f} M", f"{cost.flops / 1e9:,.1f}"
            rows.append((names, millions, *weights, f"{side} px", billions, *megabytes))
    return _markdown(head, rows)


def _markdown(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    rule = ("---", *["---:"] * (len(head) - 1))
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


@dataclass(frozen=True, slots=True)
class Speed:
    """Measured: images per second, that rate's share of the device's matrix product rate, and peak memory in bytes.

    The memory is PyTorch's on a GPU and the whole process's, so far, on a CPU.
    """

    images_per_second: float
    share_of_ceiling: float
    peak_memory: int


def measure(config: EncoderConfig, size: tuple[int, int], device: torch.device, batch: int) -> dict[str, Speed]:
    """Forward passes and training steps (forward, backward, AdamW) of an encoder in bfloat16; medians of five."""
    cost, ceiling = count(config, size), matmul_rate(device)
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
    """What the device reaches in one large bfloat16 matrix product, in FLOP per second."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.rand(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / _seconds(lambda: torch.matmul(a, b), device)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    times = []
    for _ in range(7):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return median(times[2:])  # the first two warm up


def speed_table(device: str, presets: Sequence[str], side: int, batch: int) -> str:
    """The measured speed of presets on square images, as a Markdown table."""
    head = ("preset", "pass", "images/s", "share of the matrix product rate", "peak memory")
    target = open_device(device)
    rows = []
    for name in presets:
        for work, speed in measure(PRESETS[name].encoder, (side, side), target, batch).items():
            rate, share = f"{speed.images_per_second:,.1f}", f"{speed.share_of_ceiling:.0%}"
            rows.append((name, work, rate, share, f"{speed.peak_memory / 1e6:,.0f} MB"))
    return _markdown(head, rows)
