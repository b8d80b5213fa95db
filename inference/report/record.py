"""The record of a run as data, and the JSON Schemas of all files that a run writes."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, NonNegativeFloat, NonNegativeInt, TypeAdapter

from aurora.kinds import KINDS, prediction_files

#: The number of equal bins of every histogram, from 0 to 1.
BINS = 20
#: The number of rows and of columns of a grid over the image.
GRID = 16

Histogram = list[NonNegativeInt]
Grid = list[list[NonNegativeInt]]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Note(_Record):
    """A message about `rows` rows; `examples` names the first few as "file.csv:line image"."""

    text: str
    rows: NonNegativeInt
    examples: list[str]


class ClassCount(_Record):
    """The number of rows whose prediction has a class, as the predicted class or with pixels in the mask.

    `share` is the mean fraction of the image that the class covers in those masks.
    """

    label: NonNegativeInt
    rows: NonNegativeInt
    share: NonNegativeFloat | None = None


class TaskRecord(_Record):
    """The predictions of one task; everything but `rows` and `fallbacks` leaves fallbacks out.

    `confidence` is a histogram, and `areas` is the histogram of the fraction of the image that the foreground or the
    box covers. `places` counts positions in the image in grids, row by row from the top: the centres of boxes in one
    grid, each landmark in its own. Fields that a type doesn't have are empty.
    """

    task_id: str
    type: str
    rows: NonNegativeInt
    fallbacks: NonNegativeInt
    confidence: Histogram
    classes: list[ClassCount]
    areas: Histogram
    places: list[Grid]


class WeightsRecord(_Record):
    """The checkpoint: `sha256` of its files, `image_size` (height, width) in pixels, `provenance` from its metadata."""

    file: str
    sha256: str
    tasks: NonNegativeInt
    image_size: tuple[int, int]
    provenance: dict[str, JsonValue]


class WorkRecord(_Record):
    """Where the time of a run went.

    `seconds` runs from the first image read to the last prediction written. `stages` holds how long each stage worked,
    in seconds, summed over its threads; the stages overlap. `threads` is the number of threads of each stage but the
    model and writing.
    """

    seconds: NonNegativeFloat
    stages: dict[str, NonNegativeFloat]
    threads: NonNegativeInt


class RunRecord(_Record):
    """A run of `inference run`.

    `predicted` of `rows` have a prediction. `complete` is false if a line of the CSV files was skipped, and `stopped`
    is true if a signal ended the run. `seconds` is the wall-clock time. `limit` and `shard` are those of the flags.
    """

    format: Literal[2] = 2
    aurora: str
    python: str
    machine: str
    libraries: dict[str, str]
    started: datetime
    seconds: NonNegativeFloat
    at_work: WorkRecord
    input: str
    output: str
    weights: WeightsRecord
    engine: str
    batch_size: NonNegativeInt
    limit: int | None
    shard: str | None
    rows: NonNegativeInt
    predicted: NonNegativeInt
    complete: bool
    stopped: bool
    fallbacks: list[Note]
    unwritten: list[Note]
    warnings: list[Note]
    tasks: list[TaskRecord]


DIALECT = "https://json-schema.org/draft/2020-12/schema"
REPORT = "report.json"
#: The names of the files: the three JSON lists, and the report of `run --report FILE.json`.
NAMES = (*prediction_files().values(), REPORT)


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of one of `NAMES`."""
    types = {kind.PREDICTIONS_FILE: list[kind.RECORD] for kind in KINDS.values() if kind.RECORD}  # type: ignore[name-defined]
    adapter: TypeAdapter[Any] = TypeAdapter(types.get(name, RunRecord))
    return {"$schema": DIALECT, "title": name} | adapter.json_schema(mode="serialization")
