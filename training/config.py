"""The training configuration: a YAML file checked against a schema, with `key=value` changes on top."""

import logging
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from aurora.errors import UsageError

logger = logging.getLogger("aurora.training")

#: Former names of keys, which this release still reads.
FORMER_KEYS = {
    "start": "init_from",
    "bad_cases": "on_bad_case",
    "skip_bad_steps": "max_skipped_steps",
    "left_right": "fixed_laterality",
    "loader_threads": "num_workers",
    "accumulate": "gradient_accumulation",
    "clip_norm": "grad_clip_norm",
}
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(gt=0)]
Number = Annotated[int, Field(ge=0)]
#: Kinds of augmentation: position and size; grey values; the field of view; burned-in text and marks.
Augmentation = Literal["geometry", "intensity", "field_of_view", "overlays"]
ALL_AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)
#: Former names, which old configurations still use.
FORMER_AUGMENTATIONS = {"grey": "intensity", "view": "field_of_view", "graphics": "overlays"}


def _augmentations(value: Any) -> Any:
    """Replace true and false by all and no augmentations, and former names by the present ones."""
    if isinstance(value, bool):
        return ALL_AUGMENTATIONS if value else ()
    return [FORMER_AUGMENTATIONS.get(name, name) for name in value] if isinstance(value, list) else value


#: Height and width; a single number is the side of a square.
Size = Annotated[tuple[Count, Count], BeforeValidator(lambda size: (size, size) if isinstance(size, int) else size)]


class FitConfig(BaseModel):
    """All settings of a training run, apart from its data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # The model
    preset: Literal[
        "micro", "tiny", "tiny-lite0", "small", "qwen3-vl-2b", "qwen3-vl-4b", "qwen3-vl-8b", "qwen3-vl-32b"
    ] = "tiny"
    #: A file written by `import-encoder`; its shape and weights replace the preset's encoder.
    encoder: Path | None = None
    #: A file written by `import-stem`; its shape and weights replace the preset's stem.
    stem: Path | None = None
    #: A checkpoint whose shape and weights replace the preset's; the tasks that it knows keep their heads.
    init_from: Path | None = None
    #: Checkpoints whose mean prediction is a second target beside the labels (distillation), and the share of the loss
    #: against it, for the tasks that they know.
    teachers: list[Path] = []
    distillation_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    #: What is trained: all, or the heads alone on the frozen body of `init_from`. Then each task type keeps the better
    #: of its heads before and after.
    stage: Literal["all", "heads"] = "all"
    #: Height and width in pixels that images are resized to, multiples of 32.
    image_size: Size = (256, 256)
    #: Smaller sizes at which the run begins. Each size, with `image_size` as the last, has an equal part of the steps
    #: (progressive resizing: Tan and Le, EfficientNetV2, 2021).
    first_sizes: list[Size] = []

    # The data
    #: Tasks to train, by id. Default: all tasks of the data.
    tasks: list[str] | None = None
    #: Further tasks whose images aren't mirrored because labels depend on left and right. Landmark images never are.
    fixed_laterality: list[str] = []
    #: Further task ids, each predicted by the channels of a trained task of the same type and size.
    aliases: dict[str, str] = {}
    #: What the classes (of a mask with the background), the object or the landmarks of each task are, by task id.
    names: dict[str, list[str]] = {}
    #: What each task's data are, by task id, for `inference tasks`.
    trained_on: dict[str, str] = {}
    #: Whether several masks of one image and task are merged to their union (true), or are labels of their own (false).
    #: Without it such masks end the run, because only the user knows which they are.
    merge_masks: bool | None = None
    #: Share of the data held out to choose the weights if there is no validation folder; 0 keeps the last weights.
    val_share: Annotated[float, Field(ge=0, lt=1)] = 0.15
    #: true for all kinds, false for none, or a list of kinds.
    augment: Annotated[tuple[Augmentation, ...], BeforeValidator(_augmentations)] = ALL_AUGMENTATIONS
    #: Whether a case whose image or label can't be used ends the run, or is left out and counted.
    on_bad_case: Literal["error", "skip"] = "error"
    #: Threads that read and augment images.
    num_workers: Count = 2
    #: Exponents of a task's number of cases and of its moving loss in the probability of drawing it; if both are 0,
    #: all tasks are equally likely.
    size_exponent: NotNegative = 0.5
    loss_exponent: NotNegative = 1.0
    #: Which types' losses are rescaled: classification and detection, all, or none.
    balance: Literal["selective", "all", "none"] = "selective"

    # The steps
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    steps: Count
    #: Steps between validations. Tasks are sampled, so an epoch isn't one pass over the data.
    steps_per_epoch: Count = 500
    #: Samples in a batch, divided among the processes.
    batch_size: Count = 32
    #: Batches whose gradients are accumulated for one step.
    gradient_accumulation: Count = 1
    #: Epochs without a better composite after which the run ends; 0 disables early stopping.
    patience: Number = 0

    # The optimizer
    learning_rate: Positive = 1e-3
    #: Factor of the learning rate from each block of the encoder to the one before it.
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    #: Factor of the learning rate of a stem's published convolutions.
    stem_lr_factor: Positive = 1.0
    #: Number of encoder blocks, from the first, that are frozen together with the embeddings; 0 trains everything.
    freeze_blocks: Number = 0
    weight_decay: NotNegative = 0.05
    warmup_steps: Number = 200
    grad_clip_norm: Positive = 1.0
    #: Decay of the moving average of the weights; the average is what is validated and saved.
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    #: Number of consecutive steps with a non-finite loss or gradient that are skipped before the run ends.
    max_skipped_steps: Number = 0

    # The machine
    device: str = "auto"
    #: Whether each process has a copy of the model (ddp) or, for encoders too large for one device, a shard (fsdp).
    parallel: Literal["ddp", "fsdp"] = "ddp"
    #: bf16 is autocast, products in bfloat16 and weights in float32; auto is bf16 where the device has it.
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    #: Compute the encoder's activations twice instead of storing them: one more forward pass, far less memory.
    gradient_checkpointing: bool = False

    # The output
    log_every: Count = 50
    #: Steps between saved states, from which `--resume` continues, and the number of states to keep.
    save_every: Count = 500
    keep_states: Count = 2


def load_config(path: Path, changes: Sequence[str] = ()) -> FitConfig:
    """Read a YAML file and apply `changes` such as "steps=100"; a later change of a key replaces an earlier one.

    Former names of keys are accepted, with a log message.

    Raises:
        UsageError: the file can't be read, or a key or value is wrong.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"can't read the configuration {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path} must hold 'key: value' lines, found {type(values).__name__}")
    changed: dict[Any, Any] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise UsageError(f"expected key=value, found {change!r}")
        try:
            changed[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"expected a YAML value after {key}=, found {value!r}") from error
    for key in FORMER_KEYS:
        if key in values or key in changed:
            _report_former_key(path, key)
    # Renamed one by one, so that a change may use the other name of a key in the file.
    return _validate(rename_former_keys(values) | rename_former_keys(changed), path)


def rename_former_keys(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return `values` under the present names of keys; raises `UsageError` if a key has both its names.

    Example:
        >>> rename_former_keys({"accumulate": 2, "steps": 10})
        {'gradient_accumulation': 2, 'steps': 10}
    """
    for former, present in FORMER_KEYS.items():
        if former in values and present in values:
            raise UsageError(f"expected {present} or its former name {former}, found both; leave out {former}")
    return {FORMER_KEYS.get(key, key): value for key, value in values.items()}


@cache
def _report_former_key(path: Path, key: str) -> None:
    """Log, once per file, that a key was renamed."""
    logger.info("%s: %s is now called %s; the next release won't read the former name", path, key, FORMER_KEYS[key])


def _validate(values: dict[Any, Any], path: Path) -> FitConfig:
    known = list(FitConfig.model_fields)
    for key in values:
        if key not in known:
            near = get_close_matches(str(key), known, n=1, cutoff=0)
            raise UsageError(f"{path}: there is no key {key!r}; the nearest is {near[0]!r}")
    try:
        return FitConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(map(str, first["loc"]))
        value = "none" if first["type"] == "missing" else repr(first["input"])
        raise UsageError(f"{path}, {location}: {first['msg']}, found {value}") from error
