"""Report the tasks of an input folder and its problems, without loading a model or decoding an image."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from aurora.errors import ImageError
from aurora.images import image_size, mask_name_problem
from aurora.images.headers import require_decodable
from aurora.rows import Problem, Row, image_file, mask_file, predicted_mask_path, read_rows
from aurora.runtime.text import text_table
from aurora.tasks import OFFICIAL, TYPES, TaskType

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
    `duplicates` counts the rows that repeat another one.
    """

    rows: int
    images: int
    tasks: list[TaskSummary]
    unknown_tasks: dict[str, int]
    duplicates: int
    unreadable: list[Problem]
    unsafe_masks: list[Problem]
    shared_masks: list[Problem]
    misnamed_masks: list[Problem]
    problems: list[Problem]

    @property
    def usable(self) -> bool:
        """Whether at least one image can be read, or no image was opened."""
        return self.rows > 0 and (self.images == 0 or len(self.unreadable) < self.images)


def check(root: Path, *, open_images: bool = True) -> CheckReport:
    """Read all rows of an input folder and, with `open_images`, the header of every image they name.

    Raises:
        InputError: there is no usable row.
    """
    read = read_rows(root)
    rows = list(read.rows)
    sizes, unreadable = _sizes(root, rows) if open_images else ({}, [])
    unsafe, shared, misnamed = _mask_problems(rows)
    unknown = Counter(row.task_id for row in rows if row.task_id.strip() not in OFFICIAL)
    return CheckReport(
        rows=len(rows),
        images=len(sizes),
        tasks=_summaries(root, rows, sizes),
        unknown_tasks=dict(sorted(unknown.items())),
        duplicates=read.duplicates,
        unreadable=unreadable,
        unsafe_masks=unsafe,
        shared_masks=shared,
        misnamed_masks=misnamed,
        problems=read.problems,
    )


def _sizes(root: Path, rows: Sequence[Row]) -> tuple[dict[str, Size | None], list[Problem]]:
    """Return the size of each image by its `image_path`, None if it can't be read, and the problems of those."""
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


def _mask_problems(rows: Sequence[Row]) -> tuple[list[Problem], list[Problem], list[Problem]]:
    """Return the rows whose mask path is unsafe, names the mask of an earlier row, or names a format not written."""
    unsafe, shared, misnamed = [], [], []
    first: dict[str, Row] = {}
    for row in rows:
        if row.type != TaskType.SEGMENTATION:
            continue
        try:
            path = predicted_mask_path(row)
        except ValueError as error:
            unsafe.append(Problem(row.source, str(error)))
            continue
        if problem := mask_name_problem(path):
            misnamed.append(Problem(row.source, f"names {path}: {problem}"))
        earlier = first.setdefault(path, row)
        if earlier is not row:
            shared.append(Problem(row.source, f"names the mask {path}, as {earlier.source} does"))
    return unsafe, shared, misnamed


def _summaries(root: Path, rows: Sequence[Row], sizes: dict[str, Size | None]) -> list[TaskSummary]:
    """Return one summary per task and type, sorted by type, then by id."""
    groups: dict[tuple[TaskType, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.type, row.task_id].append(row)
    types = list(TYPES)
    order = sorted(groups, key=lambda key: (types.index(key[0]), key[1]))
    return [_summary(*key, groups[key], root, sizes) for key in order]


def _summary(
    task_type: TaskType, task_id: str, rows: list[Row], root: Path, sizes: dict[str, Size | None]
) -> TaskSummary:
    known = [size for row in rows if (size := sizes.get(row.image_path))]
    formats = Counter(Path(row.image_path.strip()).suffix.lower() or "(none)" for row in rows)
    return TaskSummary(
        task_id,
        task_type,
        len(rows),
        sum(_is_labelled(root, row) for row in rows),
        sum(sizes.get(row.image_path, ()) is None for row in rows),
        sorted({row.num_classes for row in rows if row.num_classes is not None}),
        dict(formats.most_common()),
        min(known, key=_area, default=None),
        max(known, key=_area, default=None),
    )


def _is_labelled(root: Path, row: Row) -> bool:
    if row.type != TaskType.SEGMENTATION:
        return bool(row.labels)
    try:
        return mask_file(root, row).is_file()
    except (ImageError, OSError):
        return False


def _area(size: Size) -> int:
    return size[0] * size[1]


def as_json(report: CheckReport) -> dict:
    """Return the whole report, with every problem, as values for JSON."""
    return {**asdict(report), "usable": report.usable}


def as_text(report: CheckReport) -> str:
    """Format the report: a table of tasks, then at most `EXAMPLES` examples of each problem."""
    head = ("task", "type", "classes", "rows", "labelled", "unreadable", "formats", "sizes (height x width)")
    images = _count(report.images, "image") if report.images else "images not opened"
    duplicates = f", {_count(report.duplicates, 'duplicate row')} left out" if report.duplicates else ""
    lines = [f"{_count(report.rows, 'row')}, {_count(len(report.tasks), 'task')}, {images}{duplicates}", ""]
    lines += text_table([head, *map(_cells, report.tasks)])
    unknown = [f"{task}: {_count(rows, 'row')}" for task, rows in report.unknown_tasks.items()]
    lines += _section("not one of the challenge's 27 tasks", unknown)
    for title, problems in (
        ("images that can't be read (their rows get fallbacks)", report.unreadable),
        ("mask paths that can't be used (nothing is written there)", report.unsafe_masks),
        ("masks that several rows name", report.shared_masks),
        ("masks whose names ask for a format that isn't written", report.misnamed_masks),
        ("problems in the CSV files", report.problems),
    ):
        lines += _section(title, [f"{problem.source} {problem.message}" for problem in problems])
    return "\n".join([*lines, "", _verdict(report)])


def _verdict(report: CheckReport) -> str:
    if not report.usable:
        return "not usable: no image can be read"
    unreadable = sum(task.unreadable for task in report.tasks)
    if unreadable:
        return f"usable: {unreadable:,} of {_count(report.rows, 'row')} would get a fallback"
    problems = sum(map(len, (report.unsafe_masks, report.shared_masks, report.misnamed_masks, report.problems)))
    return f"usable, with {_count(problems, 'problem')} named above" if problems else "usable: no problems"


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
