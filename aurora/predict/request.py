"""Requests to the model: what each row asks for, whether the model supports it, and the rows that share an image."""

from dataclasses import dataclass

from aurora.rows import Row
from aurora.tasks import OFFICIAL, TYPES, Registry, Task, TaskType


@dataclass(frozen=True, slots=True)
class Request:
    """A row with the facts that are known before its image is opened.

    `count` is the number of classes or points that its prediction has, and `task` its task in the weights, None if they
    lack it. `source` is the task whose mask gives the prediction, None if the task's own channels do. `rejection` says
    why the model can't predict it, None if it can; `warning` says what else is unusual about the row.
    """

    row: Row
    count: int
    task: Task | None = None
    source: Task | None = None
    rejection: str | None = None
    warning: str | None = None

    @property
    def task_types(self) -> list[TaskType]:
        """The types of the heads that are needed."""
        if self.rejection is not None:
            return []
        return [self.row.type, self.source.type] if self.source else [self.row.type]

    @property
    def mirrored_types(self) -> list[TaskType]:
        """The types of the heads that are needed for the mirrored image as well."""
        if self.rejection is not None:
            return []
        return [task.type for task in (self.task, self.source) if task and task.mirrored]


@dataclass(frozen=True, slots=True)
class Job:
    """The requests for one image, which is read and encoded once."""

    requests: list[Request]

    @property
    def needs_model(self) -> bool:
        """Whether the model is needed at all."""
        return bool(self.task_types)

    @property
    def task_types(self) -> list[TaskType]:
        """The types of the heads that are needed, each once."""
        return list(dict.fromkeys(task_type for request in self.requests for task_type in request.task_types))

    @property
    def mirrored_types(self) -> list[TaskType]:
        """The types of the heads that are needed for the mirrored image, each once; empty if none is."""
        return list(dict.fromkeys(task_type for request in self.requests for task_type in request.mirrored_types))


def request_of(row: Row, tasks: Registry) -> Request:
    """Return the row's request to a model that knows `tasks`."""
    task_id = row.task_id.strip()
    task = tasks.get(task_id)
    known = task or OFFICIAL.get(task_id)
    facts = TYPES[row.type]
    count = row.num_classes or (known.num_classes if known and known.type == row.type else facts.default_count)
    if task is None:
        return Request(row, count, rejection=f"the weights have no task {row.task_id!r}")
    if task.type != row.type:
        reason = f"the weights know {row.task_id!r} as {task.type}, the row asks for {row.type}"
        return Request(row, count, rejection=reason)
    warning = None
    if count != task.num_classes and facts.counts_classes:
        warning = f"num_classes is {count}, and {row.task_id!r} has {task.num_classes} in the weights"
    source = tasks[task.derivation.source] if task.derivation else None
    return Request(row, count, task, source, warning=warning)
