"""The network that a run begins with: its shape, and the weights it takes over."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from aurora.errors import UsageError, WeightsError
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.config import PRESETS, ModelConfig
from aurora.runtime import files
from aurora.tasks import Registry, TaskType, channel_slices
from training.config import FitConfig
from training.fit.optimizer import freeze
from training.qwen.encoder_file import load_encoder, read_encoder

#: What builds the network: `Aurora`, or something that differs from it.
ModelFactory = Callable[[ModelConfig, Registry], Aurora]


def check_beginning(config: FitConfig) -> None:
    """Raise what `build_model` would, as far as it can be known before the data is read."""
    if config.encoder and config.start:
        raise UsageError(
            f"expected an encoder or a start, found encoder={config.encoder} and start={config.start}; "
            "leave one out, as encoder=null does"
        )
    if config.encoder:
        read_encoder(config.encoder)
    if config.start:
        if not config.start.is_file():
            raise WeightsError(f"no checkpoint {config.start}; name one with start=FILE")
        checkpoint.read_spec(config.start)


def build_model(config: FitConfig, tasks: Registry, make_model: ModelFactory) -> tuple[Aurora, dict[str, Any]]:
    """The model to be trained, and what its weights come from by part; nothing for those that are random.

    Raises:
        UsageError: the configuration doesn't fit the encoder, or `make_model` the checkpoint to start from.
        WeightsError: the configuration's encoder file or checkpoint can't be used.
    """
    check_beginning(config)
    file = read_encoder(config.encoder) if config.encoder else None
    start = checkpoint.load(config.start) if config.start else None
    shape = start[1].config if start else PRESETS[config.preset]
    shape = replace(shape, encoder=file.config) if file else shape
    origin: dict[str, Any] = {"encoder": file.provenance if file else {}}
    try:
        model = make_model(replace(shape, image_size=config.image_size), tasks)
        if start and config.start:
            take_over(model, start[0])
            origin["start"] = {"sha256": files.sha256(config.start), **start[1].provenance}
    except ValueError as error:
        raise UsageError(str(error)) from error
    if file:
        load_encoder(model.encoder, file)
    freeze(model.encoder, config.freeze_blocks)
    model.encoder.gradient_checkpointing = config.gradient_checkpointing
    return model, origin


@torch.no_grad()
def take_over(model: Aurora, known: Aurora) -> None:
    """Copy into `model` what `known` has learnt: the body, each common type's trunk, each common task's last layer.

    A task is the same if its name, type and number of classes are. What `known` doesn't have stays as it is. Raises
    `ValueError`, before anything is changed, where a part that both have is of another make.
    """
    kinds = [kind for kind in TaskType if kind.value in model.heads and kind.value in known.heads]
    own, theirs = (_taken(of, kinds) for of in (model, known))
    shapes = [{name: tensor.shape for name, tensor in part.items()} for part in (own, theirs)]
    if shapes[0] != shapes[1]:
        name = min(name for name, _ in shapes[0].items() ^ shapes[1].items())
        raise ValueError(
            f"expected a network of the same make as the one to start from, found another {name}; leave out start"
        )
    for name, tensor in own.items():
        tensor.copy_(theirs[name])
    for kind in kinds:
        last, from_last = (of.heads[kind.value].get_submodule("last") for of in (model, known))
        to_slices, from_slices = (channel_slices(of.tasks, kind) for of in (model, known))
        for name in to_slices.keys() & from_slices.keys():
            if model.tasks[name].num_classes == known.tasks[name].num_classes:
                for part, tensor in last.named_parameters():
                    tensor[to_slices[name]] = from_last.get_parameter(part)[from_slices[name]]


def _taken(model: Aurora, kinds: Sequence[TaskType]) -> dict[str, Tensor]:
    """The tensors that are copied whole: of the body, and of these types' heads all but the last layer."""
    heads = [f"heads.{kind.value}." for kind in kinds]
    whole, parted = ("encoder.", "stem.", "pyramid.", *heads), tuple(f"{head}last." for head in heads)
    state = model.state_dict()
    return {name: tensor for name, tensor in state.items() if name.startswith(whole) and not name.startswith(parted)}
