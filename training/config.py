"""The training configuration: a YAML file checked by a schema, with `key=value` changes on top."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aurora.errors import UsageError

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]


class FitConfig(BaseModel):
    """Everything that decides a training run, apart from its data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Literal["tiny", "small"] = "tiny"
    image_size: Count = 256
    seed: int = 0
    steps: Count
    batch_size: Count = 32
    learning_rate: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    warmup_steps: Annotated[int, Field(ge=0)] = 200
    clip_norm: Positive = 1.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    augment: bool = True
    precision: Literal["bf16", "fp32"] = "bf16"
    device: str = "cpu"
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
