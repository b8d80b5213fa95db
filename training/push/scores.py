"""Read a report that `training evaluate --json` has printed."""

import math
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ValidationError

from aurora.errors import UsageError

#: A metric; NaN where the report has null, because it is not defined for the cases.
Metric = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]


class Ends(BaseModel):
    """The ends of an interval."""

    low: Metric
    high: Metric


class TaskScores(BaseModel):
    """The scores of one task; see `training.evaluation.report.TaskReport`."""

    task_id: str
    type: str
    predicted: int
    metrics: dict[str, Metric]
    composite: Metric
    intervals: dict[str, Ends]


class Scores(BaseModel):
    """The parts of `training.evaluation.report.Report` that a model card shows."""

    weights: str
    sha256: str
    tasks: list[TaskScores]
    composite: Metric
    interval: Ends


def read_scores(path: Path) -> Scores:
    """Read a report; raise `UsageError` if the file can't be read or holds something else."""
    expected = f"expected a report that 'training evaluate --json' has printed, found {path}"
    try:
        return Scores.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{expected}, which can't be read ({error.strerror}); name another with --report") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "line 1"
        raise UsageError(f"{expected} ({where}: {first['msg']}); name another with --report") from None
