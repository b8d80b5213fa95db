"""A checkpoint that is small enough to be made for a test."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.config import PRESETS
from aurora.tasks import OFFICIAL, registry

#: An official task of each type.
TASKS = ("cervix_multi", "breast_2cls", "uterine_fibroid_det", "IUGC")


def save_small_weights(folder: Path, tasks: Sequence[str] = TASKS, provenance: Mapping[str, Any] | None = None) -> Path:
    """Write random weights of the smallest preset for some official tasks; the same ones at every call."""
    torch.manual_seed(0)
    path = folder / "w.safetensors"
    checkpoint.save(path, Aurora(PRESETS["micro"], registry([OFFICIAL[name] for name in tasks])), provenance or {})
    return path
