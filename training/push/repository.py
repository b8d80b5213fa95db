"""Write the files of a repository on the hub: a checkpoint, its ONNX export, and what readers need to know of them."""

from dataclasses import replace
from pathlib import Path
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


def write_repository(weights: Path, folder: Path, publication: Publication) -> None:
    """Write a repository into an existing, empty folder.

    The checkpoint is stored as `training export` does. `config.json` and the model card are made from it, for people
    and for the hub; `aurora.load` doesn't read them.

    Raises:
        UsageError: the scores are those of other weights.
        WeightsError: the weights can't be used, or have no task.
        OutputError: a file can't be written.
    """
    stored = folder / CHECKPOINT
    export(weights, stored)
    scores = publication.scores
    if scores and scores.sha256 not in (sha256(weights), sha256(stored)):
        raise UsageError(
            f"expected a report on {weights}, found one on {scores.weights} with SHA-256 {scores.sha256}; "
            f"make it with 'python -m training evaluate --weights {weights} --json'"
        )
    export(stored, folder / EXPORT)
    spec = checkpoint.read_spec(stored)
    (folder / CONFIG).write_text(dump_json(config_record(spec), indent=2) + "\n", encoding="utf-8")
    (folder / CARD).write_text(model_card(publication, spec), encoding="utf-8")


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
