"""The training configuration: a YAML file checked by a schema, with `key=value` changes on top."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from aurora.errors import UsageError

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]
#: Height and width; a single number is the side of a square.
Size = Annotated[tuple[Count, Count], BeforeValidator(lambda size: (size, size) if isinstance(size, int) else size)]


class FitConfig(BaseModel):
    """Everything that decides a training run, apart from its data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Literal["tiny", "small", "qwen3-vl-2b", "qwen3-vl-4b", "qwen3-vl-8b", "qwen3-vl-32b"] = "tiny"
    #: A file made by `import-encoder`; it replaces the preset's encoder, shape and weights.
    encoder: Path | None = None
    image_size: Size = (256, 256)
    seed: int = 0
    steps: Count
    batch_size: Count = 32
    learning_rate: Positive = 1e-3
    #: The learning rate falls by this factor from each block of the encoder to the one before it.
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    #: Blocks of the encoder, from the first, that stay as they are, with its embeddings; 0 trains all of it.
    freeze_blocks: Annotated[int, Field(ge=0)] = 0
    #: Computes the encoder's activations twice instead of keeping them: about a third slower, far less memory.
    gradient_checkpointing: bool = False
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    warmup_steps: Annotated[int, Field(ge=0)] = 200
    clip_norm: Positive = 1.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    augment: bool = True
    precision: Literal["bf16", "fp32"] = "bf16"
    device: str = "auto"
    loader_threads: Count = 2
    log_every: Count = 50
    validate_every: Count = 1000


def load_config(path: Path, changes: Sequence[str] = ()) -> FitConfig:
    """Read `path` and apply `changes` such as `steps=100`; raises `UsageError` naming what is wrong."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"can't read the configuration {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path} must hold 'key: value' lines, found {type(values).__name__}")
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise UsageError(f"expected key=value, found {change!r}")
        values[key] = yaml.safe_load(value)
    return _checked(values, path)


def _checked(values: dict[str, Any], path: Path) -> FitConfig:
    try:
        return FitConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        known = f"; known keys: {', '.join(FitConfig.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise UsageError(f"{path}, {where}: {first['msg']}, found {first['input']!r}{known}") from error
