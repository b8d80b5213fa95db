"""What an input folder holds and what is wrong with it, before any model is loaded or any image decoded."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from aurora.errors import ImageError
from aurora.images import image_size
from aurora.images.headers import require_decodable
from aurora.rows import Problem, Row, image_file, mask_file, predicted_mask_path, read_rows
from aurora.tasks import OFFICIAL, TaskType

#: How many examples of one kind the text shows before it only counts.
EXAMPLES = 10

Size = tuple[int, int]


@dataclass(slots=True)
class TaskSummary:
    """The rows of one task: `num_classes` as the rows state it, file name endings, and image sizes.

    `labelled` counts the rows with a label, in segmentation those whose mask is there; `unreadable` those whose image
    can't be read. `smallest` and `largest` are (height, width) by area, None where no image could be read or none was
    opened.
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
    """What `check` found. The lists of problems name their row as "file.csv:line".

    `unknown_tasks` counts the rows whose task is none of the official 27; `shared_masks` are rows that ask
    for a mask an earlier row asks for; `duplicates` counts the rows that repeat another exactly.
    """

    rows: int
    images: int
    tasks: list[TaskSummary]
    unknown_tasks: dict[str, int]
    duplicates: int
    unreadable: list[Problem]
    unsafe_masks: list[Problem]
    shared_masks: list[Problem]
    problems: list[Problem]

    @property
    def usable(self) -> bool:
        """Whether at least one image can be read, or none was opened to see."""
        return self.rows > 0 and (self.images == 0 or len(self.unreadable) < self.images)


def check(root: Path, *, open_images: bool = True) -> CheckReport:
    """Read all rows of an input folder and, with `open_images`, the header of every image they name.

    Raises `InputError` when there is no usable row.
    """
    found = read_rows(root)
    sizes, unreadable = _sizes(root, found.rows) if open_images else ({}, [])
    unsafe, shared = _mask_problems(found.rows)
    unknown = Counter(row.task_id for row in found.rows if row.task_id.strip() not in OFFICIAL)
    return CheckReport(
        rows=len(found.rows),
        images=len(sizes),
        tasks=_summaries(root, found.rows, sizes),
        unknown_tasks=dict(sorted(unknown.items())),
        duplicates=found.duplicates,
        unreadable=unreadable,
        unsafe_masks=unsafe,
        shared_masks=shared,
        problems=found.problems,
    )


def _sizes(root: Path, rows: Iterable[Row]) -> tuple[dict[str, Size | None], list[Problem]]:
    """The size of each image by its `image_path`, None where it can't be read, which is then also a problem."""
    sizes: dict[str, Size | None] = {}
    problems = []
    for row in rows:
        if row.image_path in sizes:
            continue
        try:
            size = image_size(image_file(root, row), root)
            require_decodable(size, row.image_path)
            sizes[row.image_path] = size
        except ImageError as error:
            sizes[row.image_path] = None
            problems.append(Problem(row.source, str(error)))
    return sizes, problems


def _mask_problems(rows: Iterable[Row]) -> tuple[list[Problem], list[Problem]]:
    unsafe, shared = [], []
    first: dict[str, Row] = {}
    for row in rows:
        if row.type is not TaskType.SEGMENTATION:
            continue
        try:
            path = predicted_mask_path(row)
        except ValueError as error:
            unsafe.append(Problem(row.source, str(error)))
            continue
        earlier = first.setdefault(path, row)
        if earlier is not row:
            shared.append(Problem(row.source, f"asks for the mask {path}, as {earlier.source} does"))
    return unsafe, shared


def _summaries(root: Path, rows: Iterable[Row], sizes: dict[str, Size | None]) -> list[TaskSummary]:
    """One summary per task and type, sorted by type, then by id."""
    groups: dict[tuple[TaskType, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.type, row.task_id].append(row)
    kinds = list(TaskType)
    order = sorted(groups, key=lambda key: (kinds.index(key[0]), key[1]))
    return [_summary(*key, groups[key], root, sizes) for key in order]


def _summary(kind: TaskType, task_id: str, rows: list[Row], root: Path, sizes: dict[str, Size | None]) -> TaskSummary:
    known = [size for row in rows if (size := sizes.get(row.image_path))]
    formats = Counter(Path(row.image_path.strip()).suffix.lower() or "(none)" for row in rows)
    return TaskSummary(
        task_id,
        kind,
        len(rows),
        sum(_is_labelled(root, row) for row in rows),
        sum(sizes.get(row.image_path, ()) is None for row in rows),
        sorted({row.num_classes for row in rows if row.num_classes is not None}),
        dict(formats.most_common()),
        min(known, key=_area, default=None),
        max(known, key=_area, default=None),
    )


def _is_labelled(root: Path, row: Row) -> bool:
    if row.type is not TaskType.SEGMENTATION:
        return bool(row.labels)
    try:
        return mask_file(root, row).is_file()
    except (ImageError, OSError):
        return False


def _area(size: Size) -> int:
    return size[0] * size[1]


def as_json(report: CheckReport) -> dict:
    """The whole report as JSON-ready values, every problem included."""
    return {**asdict(report), "usable": report.usable}


def as_text(report: CheckReport) -> str:
    """The report for a terminal: a table of tasks, then at most `EXAMPLES` problems of each kind."""
    head = ("task", "type", "classes", "rows", "labelled", "unreadable", "formats", "sizes (height x width)")
    images = _count(report.images, "image") if report.images else "images not opened"
    twice = f", {_count(report.duplicates, 'duplicate row')} left out" if report.duplicates else ""
    lines = [f"{_count(report.rows, 'row')}, {_count(len(report.tasks), 'task')}, {images}{twice}", ""]
    lines += _aligned([head, *map(_cells, report.tasks)])
    unknown = [f"{task}: {_count(rows, 'row')}" for task, rows in report.unknown_tasks.items()]
    lines += _section("not one of the challenge's 27 tasks", unknown)
    for title, problems in (
        ("images that can't be read (their rows get fallback answers)", report.unreadable),
        ("mask paths that can't be used (nothing is written there)", report.unsafe_masks),
        ("masks that several rows ask for", report.shared_masks),
        ("problems in the CSV files", report.problems),
    ):
        lines += _section(title, [f"{problem.source} {problem.message}" for problem in problems])
    return "\n".join([*lines, "", _verdict(report)])


def _verdict(report: CheckReport) -> str:
    if not report.usable:
        return "not usable: no image can be read"
    unreadable = sum(task.unreadable for task in report.tasks)
    if unreadable:
        return f"usable: {unreadable:,} of {_count(report.rows, 'row')} would get a fallback answer"
    found = len(report.unsafe_masks) + len(report.shared_masks) + len(report.problems)
    return f"usable, with {_count(found, 'problem')} named above" if found else "usable: nothing is wrong"


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


def _aligned(table: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def _section(title: str, examples: list[str]) -> list[str]:
    if not examples:
        return []
    more = [f"  and {len(examples) - EXAMPLES} more"] if len(examples) > EXAMPLES else []
    return ["", f"{title}: {len(examples)}", *(f"  {example}" for example in examples[:EXAMPLES]), *more]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
