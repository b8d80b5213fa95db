"""Write the files of a repository on the hub: a checkpoint, its ONNX export, and what readers need to know of them."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import Any

from aurora import __version__
from aurora.engine.hub import CHECKPOINT, EXPORT
from aurora.errors import UsageError
from aurora.model import checkpoint
from aurora.model.checkpoint import Spec
from aurora.model.config import PRESETS, ModelConfig
from aurora.runtime.files import sha256
from aurora.runtime.text import dump_json
from training.export import export
from training.push.card import LIBRARY, Publication, model_card

CONFIG, CARD = "config.json", "README.md"
#: An absolute path, one that begins in a home folder or leads up, or any path of weights; not a name on the hub.
_IS_PATH = re.compile(r"[/\\~]|\.\.?[/\\]|[A-Za-z]:[/\\]|.*[/\\].*\.(safetensors|pth|onnx)$", re.DOTALL)


def write_repository(weights: Path, folder: Path, publication: Publication) -> None:
    """Write a repository into an existing, empty folder.

    The checkpoint is stored in float16, as `training export` does, and names files of this machine without their
    folders. `config.json` and the model card are made from it, for people and for the hub; `aurora.load` doesn't read
    them.

    Raises:
        UsageError: the scores are those of other weights.
        WeightsError: the weights can't be used, or have no task.
        OutputError: a file can't be written.
    """
    stored = folder / CHECKPOINT
    export(weights, stored)
    scores, exported = publication.scores, sha256(stored)
    if scores and scores.sha256 not in (sha256(weights), exported):
        raise UsageError(
            f"expected a report on {weights}, found one on {scores.weights} with SHA-256 {scores.sha256}; "
            f"make it with 'python -m training evaluate --weights {weights} --json'"
        )
    model, spec = checkpoint.load(stored)
    spec = replace(spec, provenance=without_folders(spec.provenance))
    checkpoint.save(stored, model, spec.provenance, half=True)
    export(stored, folder / EXPORT)
    (folder / CONFIG).write_text(dump_json(config_record(spec), indent=2) + "\n", encoding="utf-8")
    (folder / CARD).write_text(model_card(publication, spec), encoding="utf-8")


def without_folders(value: Any) -> Any:
    """Return a provenance, or a part of one, in which paths of the machine are the names of their files.

    Example:
        >>> without_folders({"init_from": "/home/me/runs/a.safetensors", "source": "Qwen/Qwen3-VL-2B-Instruct"})
        {'init_from': 'a.safetensors', 'source': 'Qwen/Qwen3-VL-2B-Instruct'}
    """
    if isinstance(value, Mapping):
        return {key: without_folders(found) for key, found in value.items()}
    if isinstance(value, list):
        return [without_folders(found) for found in value]
    if isinstance(value, str) and _IS_PATH.match(value):
        return PureWindowsPath(value).name  # it takes both / and \\
    return value


def config_record(spec: Spec) -> dict[str, Any]:
    """Return what config.json says about a checkpoint, JSON-ready."""
    return {
        "model_type": "aurora",
        "architectures": ["Aurora"],
        "library_name": LIBRARY,
        "aurora_version": __version__,
        "presets": presets_like(spec.config),
        "model": spec.config.to_record(),
        "tasks": [
            {"id": task.id, "type": task.type, "num_classes": task.num_classes, "names": task.names}
            for task in spec.tasks.values()
        ],
    }


def presets_like(config: ModelConfig) -> list[str]:
    """Return the presets of a network's dimensions, whatever its image size; several published encoders share them."""
    return [
        name
        for name, preset in PRESETS.items()
        if replace(preset, image_size=config.image_size, novelty=config.novelty) == config
    ]
