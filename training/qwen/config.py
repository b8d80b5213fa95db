"""Read the config.json of a Qwen3-VL checkpoint: the tower's dimensions, and its tensors' names and shapes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, PositiveInt, ValidationError, field_validator

from aurora.errors import WeightsError
from aurora.model.config import ROPE_THETA, EncoderConfig

#: The mixture-of-experts models (30B-A3B, 235B-A22B) have the same vision tower.
MODEL_TYPES = ("qwen3_vl", "qwen3_vl_moe")
#: Prefixes of the tower's tensors: in a checkpoint of the full model, and in one saved without the language head.
PREFIXES = ("model.visual.", "visual.")
#: Prefixes of the connectors to the language model, which are not imported.
LANGUAGE_PARTS = ("merger.", "deepstack_merger_list.")


class VisionConfig(BaseModel):
    """The fields of `vision_config` that define the tower, restricted to what `Encoder` computes."""

    depth: PositiveInt
    hidden_size: PositiveInt
    intermediate_size: PositiveInt
    num_heads: PositiveInt
    num_position_embeddings: PositiveInt
    temporal_patch_size: PositiveInt
    patch_size: Literal[16]
    in_channels: Literal[3]
    hidden_act: Literal["gelu_pytorch_tanh"]
    rope_parameters: dict[str, Any] | None = None

    @field_validator("rope_parameters")
    @classmethod
    def _same_rotation(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value and value.get("rope_theta", ROPE_THETA) != ROPE_THETA:
            raise ValueError(f"rope_theta should be {ROPE_THETA:g}")
        return value


@dataclass(frozen=True, slots=True)
class Layout:
    """A published tower.

    Attributes:
        encoder: its dimensions.
        shapes: the stored tensors' shapes by name without prefix; the patch kernel is (width, 3, frames, 16, 16).
    """

    model_type: str
    encoder: EncoderConfig
    shapes: dict[str, tuple[int, ...]]


def read_layout(path: Path) -> Layout:
    """Read the layout from a checkpoint's config.json; raise `WeightsError` for another architecture."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} is not a complete JSON file ({error}); fetch it again") from error
    record = record if isinstance(record, dict) else {}
    model_type = record.get("model_type")
    if model_type not in MODEL_TYPES:
        architectures = ", ".join(map(str, record.get("architectures") or [])) or "no architecture named"
        raise WeightsError(
            f"{path}: expected a Qwen3-VL model (model_type {' or '.join(MODEL_TYPES)}), "
            f"found {model_type} ({architectures}); name a published Qwen3-VL checkpoint"
        )
    vision = _vision_config(record, path)
    try:
        encoder = EncoderConfig(
            depth=vision.depth,
            hidden_size=vision.hidden_size,
            intermediate_size=vision.intermediate_size,
            num_heads=vision.num_heads,
            patch_size=vision.patch_size,
            num_position_embeddings=vision.num_position_embeddings,
        )
    except ValueError as error:
        raise WeightsError(f"{path}, vision_config: {error}") from error
    return Layout(model_type, encoder, _shapes(vision))


def _vision_config(record: dict[str, Any], path: Path) -> VisionConfig:
    """Validate `vision_config`; raise `WeightsError` naming the first field that is wrong."""
    try:
        return VisionConfig.model_validate(record.get("vision_config"))
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(("vision_config", *map(str, first["loc"])))
        value = "none" if first["type"] == "missing" else repr(first["input"])
        raise WeightsError(
            f"{path}, {location}: {first['msg'].lower()}, found {value}; only Qwen3-VL's vision tower is supported"
        ) from error


def _shapes(vision: VisionConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tower's tensors by name without prefix."""
    width, hidden, patch = vision.hidden_size, vision.intermediate_size, vision.patch_size
    block: dict[str, tuple[int, ...]] = {
        "norm1.weight": (width,),
        "norm1.bias": (width,),
        "norm2.weight": (width,),
        "norm2.bias": (width,),
        "attn.qkv.weight": (3 * width, width),
        "attn.qkv.bias": (3 * width,),
        "attn.proj.weight": (width, width),
        "attn.proj.bias": (width,),
        "mlp.linear_fc1.weight": (hidden, width),
        "mlp.linear_fc1.bias": (hidden,),
        "mlp.linear_fc2.weight": (width, hidden),
        "mlp.linear_fc2.bias": (width,),
    }
    return {
        "patch_embed.proj.weight": (width, vision.in_channels, vision.temporal_patch_size, patch, patch),
        "patch_embed.proj.bias": (width,),
        "pos_embed.weight": (vision.num_position_embeddings, width),
        **{f"blocks.{index}.{name}": shape for index in range(vision.depth) for name, shape in block.items()},
    }
