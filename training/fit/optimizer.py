"""Build the optimizer: trainable parameters, layer-wise learning rates and their schedule."""

import math
from collections import defaultdict
from typing import Any

from torch import nn
from torch.optim import AdamW, Optimizer

from aurora.model.aurora import Aurora
from aurora.model.encoder import Encoder
from training.config import FitConfig

# The share of the learning rate at which the warm-up starts and the cosine ends.
MIN_LR_RATIO = 0.01


def freeze(encoder: Encoder, blocks: int) -> None:
    """Exclude the embeddings and the first `blocks` blocks from training; 0 trains everything."""
    if blocks:
        for module in (encoder.patch_embed, encoder.pos_embed, *encoder.blocks[:blocks]):
            module.requires_grad_(False)


def make_optimizer(model: Aurora, extra_modules: nn.Module, config: FitConfig) -> Optimizer:
    """Return AdamW over the parameters of the model that aren't frozen and those of `extra_modules`.

    Block i of an encoder of L blocks has the learning rate `learning_rate * layer_decay ** (L - i)`, the embeddings
    that of a block before the first, and everything else the full rate (layer-wise decay: Bao et al., BEiT, 2022). The
    convolutions of a published stem have `learning_rate * stem_lr_factor`.
    Weight decay applies to the model's matrices and kernels, not to norms, biases, positions or `extra_modules`.
    """
    groups: dict[tuple[int, bool, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            published = name.startswith("stem.tower.")
            decays = parameter.ndim > 1 and "pos_embed" not in name
            groups[_layers_above(name, model.encoder.config.depth), published, decays].append(parameter)
    groups[0, False, False] += extra_modules.parameters()
    records: list[dict[str, Any]] = [
        {
            "params": parameters,
            "initial_lr": config.learning_rate * (config.stem_lr_factor if published else config.layer_decay**above),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (above, published, decays), parameters in sorted(groups.items())
    ]
    return AdamW(records, fused=True)


def _layers_above(name: str, depth: int) -> int:
    """Return the number of encoder layers from a parameter's layer to the last; 0 outside the encoder."""
    module, _, rest = name.partition(".")
    if module != "encoder":
        return 0
    return depth - int(rest.split(".")[1]) if rest.startswith("blocks.") else depth + 1


def set_lr(optimizer: Optimizer, config: FitConfig, step: int) -> None:
    """Set all groups' learning rates for step 1..`steps`: linear warm-up, then a cosine to a hundredth."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * lr_factor(config, step)


def lr_factor(config: FitConfig, step: int) -> float:
    """Return the share of the full learning rate at step 1..`steps`."""
    if step <= config.warmup_steps:
        share = step / config.warmup_steps
    else:
        falling = max(config.steps - config.warmup_steps, 1)
        share = (1 + math.cos(math.pi * min((step - config.warmup_steps) / falling, 1.0))) / 2
    return MIN_LR_RATIO + (1 - MIN_LR_RATIO) * share
