"""The interface of a task kind, and the types that its functions exchange.

A kind is a module: `segmentation`, `classification`, `detection` or `landmarks`. Each has the functions of `Kind`, for
its types of label and value; the rest of the program makes no distinction between kinds.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from aurora.images.transform import to_pixels
from aurora.rows import Row

Fraction = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Pixels = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Size = tuple[int, int]

#: The metrics of one case by name, with one value per class, point or box. Classification has `label` and `predicted`,
#: (), and `probs`, (C,), instead.
CaseMetrics = Mapping[str, np.ndarray]
#: An entry of a prediction file, as JSON reads it.
Entry = Mapping[str, Any]
#: An entry's key: task_id and image_path.
Key = tuple[str, str]


class Record(BaseModel):
    """The prediction of one row as an entry of a JSON prediction file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    image_path: str
    task_id: str


#: The prediction of one row: a mask, (H, W) uint8 of class ids, or the record of another kind.
Prediction = np.ndarray | Record

#: A rule by which a mask of the same image, (H, W) uint8 of class ids, gives the prediction of a row that asks for a
#: number of classes or points; None if the mask says nothing.
DerivationRule = Callable[[Row, int, np.ndarray], Prediction | None]


class Predictions(NamedTuple):
    """The written predictions of a kind: the folder of the masks, and the entries of its JSON file."""

    folder: Path
    entries: Mapping[Key, Entry]

    def entry(self, row: Row) -> Entry | None:
        """Return the entry of a row, None if there is none."""
        return self.entries.get((row.task_id, row.image_path))


class Drawing(NamedTuple):
    """The parts of a label or prediction to draw, in pixels of the original image; None is not drawn."""

    mask: np.ndarray | None = None  # (H, W) class ids
    box: Sequence[float] | None = None  # x1, y1, x2, y2
    points: np.ndarray | None = None  # (K, 2) as x, y
    probabilities: Sequence[float] | None = None  # (C,)


class Rank(NamedTuple):
    """The quality of a prediction: a `score` in [0, 1], an `error` that orders equal scores, and both as `text`."""

    score: float
    error: float
    text: str


class Facts(NamedTuple):
    """The JSON-ready facts about one prediction that a report counts.

    `classes` holds each predicted class with its share of the image, None if a class has no area; `area` is the share
    of the image that is foreground; `positions` are x, y in fractions of the image.
    """

    classes: Sequence[tuple[int, float | None]] = ()
    area: float | None = None
    positions: Sequence[tuple[float, float]] = ()


#: A function that takes a remark on an unusual prediction.
Note = Callable[[str], object]

Label = TypeVar("Label")
Value = TypeVar("Value")


class Kind(Protocol[Label, Value]):
    """The functions of a task kind.

    `Label` is the true label of a row at the size of the original image. `Value` is a prediction in the form that is
    compared with the label.
    """

    #: The metrics in the order of a table, each with its column title, empty if tables omit it.
    METRICS: Mapping[str, str]
    #: The metrics in pixels. A distance has no worst value, so it is undefined for a task without predictions.
    UNBOUNDED: tuple[str, ...]
    #: The metrics whose mean is a task's composite.
    COMPOSITE: tuple[str, ...]
    #: The JSON file that holds the predictions, and the type of its entries; None if each prediction is a file.
    PREDICTIONS_FILE: str | None
    RECORD: type[Record] | None
    #: The name of a label's numbered parts in tables, and the name of a single case's score.
    PART: str
    CASE_SCORE: str
    #: The name of such tasks on the Hugging Face hub.
    HUB_TASK: str
    #: The steps that can make a prediction look like the labels of its task, by name, in the order of their use.
    REFINEMENTS: Mapping[str, Callable[[np.ndarray], np.ndarray]]
    #: The rules by which another task's mask can give a prediction, by name.
    DERIVATIONS: Mapping[str, DerivationRule]

    def predict(self, row: Row, count: int, raw: np.ndarray, size: Size) -> Prediction:
        """Decode the model's output of one row, (channels, ...) finite, at the image's `size` (height, width).

        `count` is the number of classes or points that the row asks for; the model's are cut or padded to it.
        """
        ...

    def mirror(self, raw: np.ndarray) -> np.ndarray:
        """Turn the model's output of a mirrored image, (channels, ...), into one of the image itself."""
        ...

    def fallback(self, row: Row, count: int, size: Size) -> Prediction:
        """Return a valid prediction without information: background, uniform or centred."""
        ...

    def from_mean(self, row: Row, mean: np.ndarray, size: Size) -> Prediction:
        """Predict from the mean of the training labels alone (`training baseline`)."""
        ...

    def confidence(self, raw: np.ndarray) -> float:
        """Return a confidence in [0, 1], uncalibrated, of the model's output for one row, (channels, ...)."""
        ...

    def read_label(self, row: Row, root: Path, num_classes: int) -> Label | None:
        """Read the label of a row, None if it has none; raise `ImageError` or `InputError` if it is unusable."""
        ...

    def read_value(
        self, row: Row, predictions: Predictions, label: Label, num_classes: int, note: Note
    ) -> Value | None:
        """Read the prediction of a row from files, None if there is none; pass remarks about it to `note`.

        Raises `ImageError`, or `ValueError` for a prediction on which the published evaluator fails.
        """
        ...

    def to_value(self, prediction: Prediction, label: Label, num_classes: int) -> Value:
        """Return a prediction as `read_value` would return it from the written file."""
        ...

    def case_metrics(self, label: Label, value: Value, num_classes: int, *, hausdorff: bool) -> CaseMetrics:
        """Compare a prediction with its label; without `hausdorff`, the slow distance of masks is left out."""
        ...

    def task_metrics(self, cases: Sequence[CaseMetrics]) -> dict[str, float]:
        """Return a task's metrics from its cases, at least one."""
        ...

    def class_metrics(self, cases: Sequence[CaseMetrics]) -> dict[int, dict[str, float]]:
        """Return the metrics of each class, point or box by its number."""
        ...

    def bootstrap_columns(self, cases: Sequence[CaseMetrics]) -> dict[str, np.ndarray]:
        """Return the cases as arrays (N, ...) for `resample`."""
        ...

    def resample(self, columns: Mapping[str, np.ndarray], counts: np.ndarray) -> dict[str, np.ndarray]:
        """Return the task's metrics, (R,) each, in resamples that draw every case `counts`, (R, N), times."""
        ...

    def rank(self, metrics: CaseMetrics) -> Rank:
        """Return the quality of the prediction of one case."""
        ...

    def draw_label(self, label: Label) -> Drawing:
        """Return the drawing of a label."""
        ...

    def draw_value(self, value: Value) -> Drawing:
        """Return the drawing of a prediction that was read for comparison."""
        ...

    def draw_prediction(self, prediction: Prediction) -> Drawing:
        """Return the drawing of a decoded prediction."""
        ...

    def facts(self, prediction: Prediction) -> Facts:
        """Return the facts about a prediction that a report counts."""
        ...

    def check(self, prediction: Prediction, row: Row) -> None:
        """Raise `ValueError` if a well-formed prediction is invalid for its row."""
        ...


def flip_columns(raw: np.ndarray) -> np.ndarray:
    """Return maps (channels, h, w) with their columns in reverse order; see `Kind.mirror`."""
    return raw[..., ::-1]


def numbers(entry: Entry, key: str, count: int) -> np.ndarray:
    """Return the list of `count` finite numbers at `key` as float64; raise `ValueError` if it is something else."""
    values = entry.get(key)
    if not isinstance(values, list) or not all(type(v) in (int, float) and math.isfinite(v) for v in values):
        raise ValueError(f"expected a list of finite numbers as {key}")
    if len(values) != count:
        raise ValueError(f"expected {count} numbers as {key}, found {len(values)}")
    return np.array(values, dtype=float)


def resize_count(values: np.ndarray, count: int, filler: float) -> np.ndarray:
    """Return the first `count` entries, padded with `filler` if there are fewer."""
    padding = [(0, count - len(values))] + [(0, 0)] * (values.ndim - 1)
    return np.pad(values, padding, constant_values=filler)


def both_units(points: np.ndarray, size: Size) -> tuple[list[float], list[float]]:
    """Convert points (N, 2) in fractions of the image to the two units of the challenge.

    The first list holds pixels divided by width and height, in [0, 1]; the second holds pixels.
    """
    pixels = to_pixels(points, size)
    return (pixels / (size[1], size[0])).ravel().tolist(), pixels.ravel().tolist()


def defined_mean(values: Iterable[float]) -> float:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def stacked(cases: Sequence[CaseMetrics]) -> dict[str, np.ndarray]:
    """Stack the cases' values, which all have the same shape, into one array (N, ...) per name."""
    return {name: np.stack([values[name] for values in cases]) for name in cases[0]}


def mean_metrics(cases: Sequence[CaseMetrics]) -> dict[str, float]:
    """Return each metric's mean over the cases of its mean within a case."""
    return {name: float(np.mean([values[name].mean() for values in cases])) for name in cases[0]}


def mean_columns(cases: Sequence[CaseMetrics]) -> dict[str, np.ndarray]:
    """Return each metric's mean within every case, (N,)."""
    return {name: np.array([case[name].mean() for case in cases]) for name in cases[0]}


def resampled_means(columns: Mapping[str, np.ndarray], counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return the means of `columns`, (N,) each, in resamples that draw every case `counts`, (R, N), times."""
    return {name: counts @ values / len(values) for name, values in columns.items()}


def numbered(means: Mapping[str, np.ndarray], first: int) -> dict[int, dict[str, float]]:
    """Turn columns (C,) into one mapping of metrics per number, counted from `first`."""
    count = len(next(iter(means.values())))
    return {first + index: {name: float(column[index]) for name, column in means.items()} for index in range(count)}


def class_means(cases: Sequence[CaseMetrics]) -> dict[str, np.ndarray]:
    """Return each metric's mean, (C,), per class or point, over the cases that have that class or point."""
    columns = {name: zip_longest(*(values[name] for values in cases), fillvalue=math.nan) for name in cases[0]}
    return {name: np.nanmean(np.array(list(column)), axis=1) for name, column in columns.items()}
