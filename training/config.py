"""The training configuration: a YAML file checked by a schema, with `key=value` changes on top."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from aurora.errors import UsageError

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(gt=0)]
Number = Annotated[int, Field(ge=0)]
#: What `augment` changes: place and size; grey values; the field of view; text and marks on the image.
Augmentation = Literal["geometry", "grey", "view", "graphics"]
ALL_AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)
#: Height and width; a single number is the side of a square.
Size = Annotated[tuple[Count, Count], BeforeValidator(lambda size: (size, size) if isinstance(size, int) else size)]


class FitConfig(BaseModel):
    """Everything that decides a training run, apart from its data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # The model
    preset: Literal["micro", "tiny", "small", "qwen3-vl-2b", "qwen3-vl-4b", "qwen3-vl-8b", "qwen3-vl-32b"] = "tiny"
    #: A file made by `import-encoder`; it replaces the preset's encoder, shape and weights.
    encoder: Path | None = None
    #: A checkpoint to begin with; it replaces the preset, shape and weights, and gives the tasks that it knows their
    #: heads.
    start: Path | None = None
    #: Height and width of the frame that images are stretched to, multiples of 32.
    image_size: Size = (256, 256)

    # The data
    #: Tasks to train, by id; all that have rows unless given.
    tasks: list[str] | None = None
    #: Tasks of one's own whose labels know left from right: they are never mirrored. Landmarks aren't in any case.
    left_right: list[str] = []
    #: Part of the data that chooses the weights where no validation folder is given; 0 keeps the last weights.
    val_share: Annotated[float, Field(ge=0, lt=1)] = 0.15
    #: All kinds for true, none for false, or a list of some.
    augment: Annotated[
        tuple[Augmentation, ...],
        BeforeValidator(lambda kinds: (ALL_AUGMENTATIONS if kinds else ()) if isinstance(kinds, bool) else kinds),
    ] = ALL_AUGMENTATIONS
    #: What a case whose image or label can't be used does: end the run, or be left out and counted.
    bad_cases: Literal["error", "skip"] = "error"
    loader_threads: Count = 2
    #: How much a task's number of cases and its moving loss count when tasks are drawn, as exponents; with both 0
    #: every task is as likely.
    size_exponent: NotNegative = 0.5
    loss_exponent: NotNegative = 1.0
    #: Which tasks' losses are rescaled: those of classification and detection, of all types, or none.
    balance: Literal["selective", "all", "none"] = "selective"

    # The steps
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    steps: Count
    #: After so many steps come a validation and a line of the log: tasks are sampled, so data has no end of its own.
    steps_per_epoch: Count = 500
    #: Samples in a batch; several processes have a part of it each.
    batch_size: Count = 32
    #: Batches whose gradients make one step.
    accumulate: Count = 1
    #: Epochs without a better composite after which the run ends; 0 never ends it early.
    patience: Number = 0

    # The optimizer
    learning_rate: Positive = 1e-3
    #: The learning rate falls by this factor from each block of the encoder to the one before it.
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    #: Blocks of the encoder, from the first, that stay as they are, with its embeddings; 0 trains all of it.
    freeze_blocks: Number = 0
    weight_decay: NotNegative = 0.05
    warmup_steps: Number = 200
    clip_norm: Positive = 1.0
    #: The validated and saved weights are a moving average with this decay.
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    #: Steps in a row whose loss or gradient isn't finite that are passed over before the run ends.
    skip_bad_steps: Number = 0

    # The machine
    device: str = "auto"
    #: How several processes share the model: each has a copy, or a piece, for encoders too large for one device.
    parallel: Literal["ddp", "fsdp"] = "ddp"
    precision: Literal["bf16", "fp32"] = "bf16"
    #: Computes the encoder's activations twice instead of keeping them: slower by a forward pass, far less memory.
    gradient_checkpointing: bool = False

    # What is kept
    log_every: Count = 50
    #: Steps between two states that `--resume` goes on from, and how many of them are kept.
    save_every: Count = 500
    keep_states: Count = 2


def load_config(path: Path, changes: Sequence[str] = ()) -> FitConfig:
    """Read `path` and apply `changes` such as `steps=100`; raises `UsageError` naming what is wrong."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"can't read the configuration {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path} must hold 'key: value' lines, found {type(values).__name__}")
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise UsageError(f"expected key=value, found {change!r}")
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"expected a YAML value after {key}=, found {value!r}") from error
    return _checked(values, path)


def _checked(values: dict[Any, Any], path: Path) -> FitConfig:
    known = list(FitConfig.model_fields)
    for key in values:
        if key not in known:
            near = get_close_matches(str(key), known, n=1, cutoff=0)
            raise UsageError(f"{path}: there is no key {key!r}; the nearest is {near[0]!r}")
    try:
        return FitConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        found = "none" if first["type"] == "missing" else repr(first["input"])
        raise UsageError(f"{path}, {where}: {first['msg']}, found {found}") from error
