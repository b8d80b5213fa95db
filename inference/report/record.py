"""What a run reports as data; `python -m inference schema report.json` prints the schema of this."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, NonNegativeFloat, NonNegativeInt, TypeAdapter

from aurora.predict.answers import JSON_FILES, RECORDS
from aurora.tasks import TaskType

#: Equal bins of every histogram, from 0 to 1.
BINS = 20
#: Rows and columns of a grid over the image.
GRID = 16

Histogram = list[NonNegativeInt]
Grid = list[list[NonNegativeInt]]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Noted(_Record):
    """Something that was said of so many `rows`; `examples` names the first few as "file.csv:line image"."""

    text: str
    rows: NonNegativeInt
    examples: list[str]


class ClassCount(_Record):
    """In how many answers a class is: named by a class answer, or having pixels in a mask.

    `share` is the mean share of the image that it has in those masks.
    """

    label: NonNegativeInt
    rows: NonNegativeInt
    share: NonNegativeFloat | None = None


class TaskRecord(_Record):
    """The answers to one task's rows; all but `rows` and `fallbacks` leave neutral answers out.

    `confidence` is a histogram, `areas` one of the share of the image that all foreground, or the box, has. `places`
    counts where answers lie in the image, row by row from above: the centres of boxes in one grid, or each landmark in
    its own. What a type doesn't have is empty.
    """

    task_id: str
    type: TaskType
    rows: NonNegativeInt
    fallbacks: NonNegativeInt
    confidence: Histogram
    classes: list[ClassCount]
    areas: Histogram
    places: list[Grid]


class WeightsRecord(_Record):
    """The checkpoint: `sha256` of its files, `image_size` (height, width) in pixels, `provenance` as it says itself."""

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

    `answered` of `rows` have a prediction. `complete` is false if a line of the CSV files was skipped, and `stopped` is
    true if a signal ended the run. `seconds` is the wall-clock time. `limit` and `shard` are the values of the flags.
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
    answered: NonNegativeInt
    complete: bool
    stopped: bool
    fallbacks: list[Noted]
    unwritten: list[Noted]
    warnings: list[Noted]
    tasks: list[TaskRecord]


DIALECT = "https://json-schema.org/draft/2020-12/schema"
REPORT = "report.json"
#: The files by name: the three lists of answers, and what `run --report FILE.json` writes.
NAMES = (*JSON_FILES.values(), REPORT)


def schema(name: str) -> dict[str, Any]:
    """The schema of one of `NAMES`."""
    types = {JSON_FILES[kind]: list[record] for kind, record in RECORDS.items()}  # type: ignore[valid-type]
    adapter: TypeAdapter[Any] = TypeAdapter(types.get(name, RunRecord))
    return {"$schema": DIALECT, "title": name} | adapter.json_schema(mode="serialization")
