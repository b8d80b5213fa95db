"""The result of `check`, as text and as JSON."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from aurora.errors import InputError
from aurora.rows import Problem
from aurora.rows.labels import LabelProblem
from aurora.runtime.notes import Notes
from aurora.runtime.text import text_table
from aurora.tasks import TaskType

#: The number of examples of one problem in the text; the rest is counted.
EXAMPLES = 10

Size = tuple[int, int]


@dataclass(slots=True)
class TaskSummary:
    """The rows of one task and type.

    `labelled` counts the rows with a label, in segmentation those whose mask file exists; `unreadable` counts those
    whose image can't be read. `num_classes` holds the distinct values of the rows, and `formats` counts the endings of
    their images. `smallest` and `largest` are image sizes (height, width) by area, None if no image was read.
    """

    task_id: str
    type: TaskType
    rows: int = 0
    labelled: int = 0
    unreadable: int = 0
    num_classes: list[int] = field(default_factory=list)
    formats: dict[str, int] = field(default_factory=dict)
    smallest: Size | None = None
    largest: Size | None = None


@dataclass(slots=True)
class CheckReport:
    """The result of `check`; every problem names its row as "file.csv:line".

    `unknown_tasks` counts the rows of each task that isn't one of the official 27. `shared_masks` are rows that name
    the same mask as an earlier row, and `misnamed_masks` those whose masks' names ask for a format that isn't written.
    `duplicates` counts the rows that repeat another one. `reasons` counts the `unreadable` images by what is wrong with
    them, and `warnings` what is unusual about the others, each with the first of their rows.

    `labelled` is whether the data are there to be trained on: any row has a label. If so, `misspelt_masks` counts the
    true masks that are found only under another spelling of their path, `labels` says what is wrong, or may be, with
    the labels of a task, and `refused_rows` are the rows that `fit` refuses although their image can be read.
    """

    rows: int
    images: int
    tasks: list[TaskSummary]
    unknown_tasks: dict[str, int]
    duplicates: int
    unreadable: list[Problem]
    reasons: Notes
    unsafe_masks: list[Problem]
    shared_masks: list[Problem]
    misnamed_masks: list[Problem]
    misspelt_masks: Notes
    problems: list[Problem]
    warnings: Notes
    labelled: bool
    labels: list[LabelProblem]
    refused_rows: list[Problem]

    @property
    def usable(self) -> bool:
        """Whether at least one image can be read, or no image was opened."""
        return self.rows > 0 and (self.images == 0 or len(self.unreadable) < self.images)

    @property
    def refusals(self) -> list[str]:
        """What `fit` refuses of labelled data, counted; nothing if it would train on them."""
        counts = {
            "label problem": sum(problem.refused for problem in self.labels),
            "row": len(self.refused_rows) + self.misspelt_masks.total(),
            "unreadable image": len(self.unreadable),
        }
        return [_count(number, noun) for noun, number in counts.items() if number] if self.labelled else []

    @property
    def exit_code(self) -> int:
        """0, or that of `run` or `fit` if one of them would refuse the data."""
        return InputError.exit_code if self.refusals or not self.usable else 0


def as_json(report: CheckReport) -> dict:
    """Return the whole report, with every problem, as values for JSON."""
    values = {item.name: _plain(getattr(report, item.name)) for item in fields(report)}
    return {**values, "usable": report.usable, "trainable": not report.refusals}


def _plain(value: Any) -> Any:
    if isinstance(value, Notes):
        return value.records()
    return [asdict(item) for item in value] if isinstance(value, list) else value


def as_text(report: CheckReport) -> str:
    """Format the report: a table of tasks, then at most `EXAMPLES` examples of each problem."""
    head = ("task", "type", "classes", "rows", "labelled", "unreadable", "formats", "sizes (height x width)")
    images = _count(report.images, "image") if report.images else "images not opened"
    duplicates = f", {_count(report.duplicates, 'duplicate row')} left out" if report.duplicates else ""
    lines = [f"{_count(report.rows, 'row')}, {_count(len(report.tasks), 'task')}, {images}{duplicates}", ""]
    lines += text_table([head, *map(_cells, report.tasks)])
    unknown = [f"{task}: {_count(rows, 'row')}" for task, rows in report.unknown_tasks.items()]
    lines += _section("not one of the challenge's 27 tasks", unknown)
    if report.unreadable:
        lines += ["", f"images that can't be read (their rows get fallbacks): {len(report.unreadable)}"]
        lines += report.reasons.lines("  images")
    for title, problems in (
        ("mask paths that can't be used (nothing is written there)", report.unsafe_masks),
        ("masks that several rows name", report.shared_masks),
        ("masks whose names ask for a format that isn't written", report.misnamed_masks),
        ("problems in the CSV files", report.problems),
        ("rows that fit refuses", report.refused_rows),
    ):
        lines += _section(title, [f"{problem.source} {problem.message}" for problem in problems])
    for label, notes in (("images", report.warnings), ("masks that aren't found", report.misspelt_masks)):
        if notes:
            lines += ["", *notes.lines(label)]
    lines += _section("labels that fit refuses", [str(problem) for problem in report.labels if problem.refused])
    lines += _section("labels that may be wrong", [str(problem) for problem in report.labels if not problem.refused])
    return "\n".join([*lines, "", _verdict(report)])


def _verdict(report: CheckReport) -> str:
    if not report.usable:
        return "not usable: no image can be read"
    refused = f"; fit refuses the data: {', '.join(report.refusals)}" if report.refusals else ""
    unreadable = sum(task.unreadable for task in report.tasks)
    if unreadable:
        return f"usable: {unreadable:,} of {_count(report.rows, 'row')} would get a fallback{refused}"
    problems = sum(map(len, (report.unsafe_masks, report.shared_masks, report.misnamed_masks, report.problems)))
    problems += len(report.warnings.counts) + len(report.misspelt_masks.counts)
    problems += len(report.labels) + len(report.refused_rows)
    return f"usable, with {_count(problems, 'problem')} named above{refused}" if problems else "usable: no problems"


def _cells(task: TaskSummary) -> tuple[str, ...]:
    sizes = [f"{size[0]}x{size[1]}" for size in (task.smallest, task.largest) if size]
    return (
        task.task_id,
        task.type,
        ", ".join(map(str, task.num_classes)) or "?",
        str(task.rows),
        str(task.labelled),
        str(task.unreadable),
        ", ".join(f"{name} {count}" for name, count in task.formats.items()),
        " to ".join(dict.fromkeys(sizes)) or "-",
    )


def _section(title: str, examples: list[str]) -> list[str]:
    if not examples:
        return []
    more = [f"  and {len(examples) - EXAMPLES} more"] if len(examples) > EXAMPLES else []
    return ["", f"{title}: {len(examples)}", *(f"  {example}" for example in examples[:EXAMPLES]), *more]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
