"""Build the initial network of a run: its shape, and the weights that are loaded from files."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from aurora.errors import UsageError, WeightsError
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.config import PRESETS, ModelConfig
from aurora.model.stem import PublishedStem
from aurora.runtime import files
from aurora.tasks import TYPES, Registry, TaskType, channel_slices, of_type
from training.config import FitConfig
from training.fit.best_heads import freeze_body
from training.fit.optimizer import freeze
from training.imported import read_encoder, read_stem

#: Builds a network: `Aurora`, or a function that returns a variant of it.
ModelFactory = Callable[[ModelConfig, Registry], Aurora]


def model_config(config: FitConfig) -> ModelConfig:
    """Return the shape of the network that a configuration describes; reads only the headers of its files.

    Raises:
        UsageError: the configuration contradicts itself, or doesn't fit its encoder or checkpoint.
        WeightsError: its encoder file or checkpoint is missing, or can't be used.
    """
    for key, file in (("encoder", config.encoder), ("stem", config.stem)):
        if file and config.init_from:
            raise UsageError(
                f"expected {key} or init_from, found {key}={file} and init_from={config.init_from}; "
                f"leave one out, as {key}=null does"
            )
    if config.stage == "heads" and not config.init_from:
        raise UsageError("stage=heads trains the heads of a checkpoint; name it with init_from=FILE")
    if config.init_from and not config.init_from.is_file():
        raise WeightsError(f"no checkpoint {config.init_from}; name one with init_from=FILE")
    shape = checkpoint.read_spec(config.init_from).config if config.init_from else PRESETS[config.preset]
    shape = replace(shape, novelty=False)  # `tune` fits it to trained weights
    try:
        if config.encoder:
            shape = replace(shape, encoder=read_encoder(config.encoder).config)
        if config.stem:
            shape = replace(shape, stem=read_stem(config.stem).config, stem_width=0)
        for size in (*config.first_sizes, config.image_size):  # each is checked; the last one stays
            shape = replace(shape, image_size=size)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if config.freeze_blocks > shape.encoder.depth:
        raise UsageError(
            f"freeze_blocks: expected at most the encoder's {shape.encoder.depth} blocks, found {config.freeze_blocks}"
        )
    return shape


def build_model(config: FitConfig, tasks: Registry, make_model: ModelFactory) -> tuple[Aurora, dict[str, Any]]:
    """Return the model to train, and the provenance of its weights by source; empty for random weights.

    Raises:
        UsageError, WeightsError: as `model_config` does; or the file's weights don't fit what `make_model` builds.
    """
    shape = model_config(config)
    encoder = read_encoder(config.encoder) if config.encoder else None
    stem = read_stem(config.stem) if config.stem else None
    pretrained = checkpoint.load(config.init_from) if config.init_from else None
    origin: dict[str, Any] = {"encoder": encoder.provenance if encoder else {}}
    if stem:
        origin["stem"] = stem.provenance
    try:
        model = make_model(shape, tasks)
        if config.init_from and pretrained:
            load_pretrained(model, pretrained[0])
            origin["init_from"] = {"sha256": files.sha256(config.init_from), **pretrained[1].provenance}
    except ValueError as error:
        raise UsageError(str(error)) from error
    if encoder:
        encoder.load_into(model.encoder)
    if stem and isinstance(model.stem, PublishedStem):
        stem.load_into(model.stem.tower)
    freeze(model.encoder, config.freeze_blocks)
    if config.stage == "heads":
        freeze_body(model)
    model.encoder.gradient_checkpointing = config.gradient_checkpointing
    return model, origin


@torch.no_grad()
def load_pretrained(model: Aurora, pretrained: Aurora) -> None:
    """Copy into `model` the body of `pretrained`, the trunks of common types' heads, and common tasks' last layers.

    Two tasks are the same if their name, type and number of classes are. Everything else keeps its weights.

    Raises:
        ValueError: a tensor that both must have is absent in one, or of another shape; nothing has changed then.
    """
    common_types = [name for name in TYPES if name in model.heads and name in pretrained.heads]
    target, source = (_shared_tensors(network, common_types) for network in (model, pretrained))
    target_shapes, source_shapes = (
        {(name, tensor.shape) for name, tensor in tensors.items()} for tensors in (target, source)
    )
    if target_shapes != source_shapes:
        name = min(name for name, _ in target_shapes ^ source_shapes)
        raise ValueError(f"expected the same network as in init_from, found another {name}; leave out init_from")
    for name, tensor in target.items():
        tensor.copy_(source[name])
    for task_type in common_types:
        _load_last_layer(model, pretrained, task_type)


def _load_last_layer(model: Aurora, pretrained: Aurora, task_type: TaskType) -> None:
    """Copy the output channels of the tasks that both models have."""
    target, source = (network.heads[task_type].get_submodule("last") for network in (model, pretrained))
    target_slices, source_slices = (channel_slices(network.tasks, task_type) for network in (model, pretrained))
    for task in of_type(model.tasks, task_type):
        if task.id in source_slices and task.num_classes == pretrained.tasks[task.id].num_classes:
            for name, tensor in target.named_parameters():
                tensor[target_slices[task.id]] = source.get_parameter(name)[source_slices[task.id]]


def _shared_tensors(model: Aurora, task_types: Sequence[TaskType]) -> dict[str, Tensor]:
    """Return the tensors that don't depend on the tasks: the body's, and those of heads except their last layers."""
    heads = tuple(f"heads.{task_type}." for task_type in task_types)
    included, excluded = ("encoder.", "stem.", "pyramid.", *heads), tuple(f"{head}last." for head in heads)
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name.startswith(included) and not name.startswith(excluded)
    }
