"""What a row asks of a model, and whether the model can give it."""

from dataclasses import dataclass

from aurora.predict.answers import DEFAULT_CLASSES
from aurora.rows import Row
from aurora.tasks import OFFICIAL, Registry, TaskType


@dataclass(frozen=True, slots=True)
class Request:
    """A row with what is known of it before its image is opened.

    `count` is the number of classes or points its answer has. `rejection` says why the model can't answer
    it, None if it can; `warning` what else is odd about what it asks for.
    """

    row: Row
    count: int
    rejection: str | None = None
    warning: str | None = None


def request_of(row: Row, tasks: Registry) -> Request:
    """The row's request of a model that answers `tasks`."""
    task_id = row.task_id.strip()
    task = tasks.get(task_id)
    known = task or OFFICIAL.get(task_id)
    count = row.num_classes or (known.num_classes if known and known.type is row.type else DEFAULT_CLASSES[row.type])
    if task is None:
        return Request(row, count, f"the weights have no task {row.task_id!r}")
    if task.type is not row.type:
        return Request(row, count, f"the weights know {row.task_id!r} as {task.type}, the row asks for {row.type}")
    if count != task.num_classes and row.type is not TaskType.DETECTION:
        return Request(
            row, count, warning=f"num_classes is {count}, and {row.task_id!r} has {task.num_classes} in the weights"
        )
    return Request(row, count)


@dataclass(frozen=True, slots=True)
class Job:
    """The rows that want something of one image."""

    requests: list[Request]

    @property
    def answerable(self) -> bool:
        """Whether the model is needed at all."""
        return any(request.rejection is None for request in self.requests)
