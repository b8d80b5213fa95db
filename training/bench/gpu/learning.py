"""Train on the device, alone and in a group of one process."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aurora.engine.select import default_weights
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.config import PRESETS
from aurora.runtime.hardware import open_device, processors
from aurora.tasks import TaskType
from training.bench.gpu.part import Disagreement, Figure, Setup, run_training

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "smoke.yaml"


def fit(setup: Setup) -> list[Figure]:
    """Train for some steps on phantoms."""
    out, steps, batch = setup.folder / "fit", 4 if setup.small else 100, 4 if setup.small else 64
    changes = [f"device={setup.device}", f"steps={steps}", f"steps_per_epoch={steps}", f"batch_size={batch}"]
    changes += ["val_share=0", "log_every=1", f"num_workers={processors()}"]
    changes += ["preset=micro", "image_size=64"] if setup.small else ["preset=tiny-lite0", "image_size=192"]
    paths = ["--config", str(CONFIG), "--data", str(setup.phantoms), "--out", str(out)]
    run_training("fit", *paths, *changes)
    entries = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [entry["loss"] for entry in entries if "losses" in entry]
    tenth = max(steps // 10, 1)
    (epoch,) = (entry for entry in entries if "images_per_second" in entry)
    return [
        Figure("steps", steps, "steps"),
        Figure("mean loss of the first tenth", float(np.mean(losses[:tenth])), "1"),
        Figure("mean loss of the last tenth", float(np.mean(losses[-tenth:])), "1"),
        Figure("training", epoch["images_per_second"], "images/s"),
        Figure("waiting for images", 100 * epoch["waiting"], "%"),
        Figure("peak memory", epoch["memory_mb"], "MB"),
    ]


def distributed(setup: Setup) -> list[Figure]:
    """Take the gradient with DDP and with FSDP in a group of one process; torchrun starts this part."""
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    from training.fit.distributed import ProcessGroup, full_tensor, shard

    device = open_device(setup.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    _, spec = checkpoint.load(default_weights())
    config = PRESETS["micro" if setup.small else "tiny"]
    images = torch.randint(256, (8, *config.image_size, 3), dtype=torch.uint8, device=device)
    rows = {
        TaskType.SEGMENTATION: torch.arange(8, device=device),
        TaskType.CLASSIFICATION: torch.arange(8, device=device),
    }

    def gradient(wrap: Callable[[Aurora], Callable[..., Any]]) -> tuple[torch.Tensor, float]:
        torch.manual_seed(0)
        model = Aurora(config, spec.tasks).to(device)
        call = wrap(model)
        for _ in range(3):
            model.zero_grad()
            start = time.perf_counter()
            sum(output.square().mean() for output in call(images, rows).values()).backward()
            _wait(device)
            seconds = time.perf_counter() - start
        found = [full_tensor(p.grad).flatten() for p in model.parameters() if p.grad is not None]
        return torch.cat(found), seconds

    def sharded(model: Aurora) -> Aurora:
        shard(model, ProcessGroup(device))
        return model

    expected, seconds = gradient(lambda model: model)
    figures = [Figure("forward and backward alone", 1000 * seconds, "ms")]
    for name, wrap in (
        ("DDP", lambda model: DistributedDataParallel(model, find_unused_parameters=True)),
        ("FSDP", sharded),
    ):
        found, seconds = gradient(wrap)
        gap = float((found - expected).norm() / expected.norm())
        figures += [
            Figure(f"forward and backward with {name}", 1000 * seconds, "ms"),
            Figure(f"relative difference of the gradient with {name}", gap, "1"),
        ]
        if not gap < 0.01:
            raise Disagreement(f"expected the gradient of a single process with {name}, found another", figures)
    dist.destroy_process_group()
    return figures


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
