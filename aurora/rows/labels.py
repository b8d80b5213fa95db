"""Judge the labels of whole tasks by the values in the CSV files: what no training should learn from.

A single label is judged by its row. What only the rows of a task together reveal is judged here: fractions instead of
pixels, boxes of another convention, marks of missing landmarks, labels that contradict each other.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from aurora.errors import InputError
from aurora.rows.row import BOX, Row, box_label, class_label, points_label
from aurora.tasks import OFFICIAL, TYPES, Task, TaskType

#: From this share of impossible boxes on, a task's boxes are of another convention.
MANY = 0.1
#: The rows or classes that a sentence names; the others are only counted.
NAMED = 3


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """A row with a label, and its input root."""

    root: Path
    row: Row

    @property
    def image(self) -> str:
        """A path that identifies the image; the file system isn't accessed."""
        return _resolved(self.root, self.row.image_path)


@dataclass(frozen=True, slots=True)
class LabelProblem:
    """One sentence about the labels of a task; `refused` says that training on them can only be wrong."""

    task_id: str
    message: str
    refused: bool = False

    def __str__(self) -> str:
        return f"task {self.task_id}: {self.message}"


def judge_labels(
    labelled: Iterable[LabelledRow], left_out: Iterable[LabelledRow] = (), *, several_masks: bool = False
) -> list[LabelProblem]:
    """Return what is wrong, or may be, with the labels of each task, by the cells of its rows alone.

    Cells that aren't valid labels are passed over, because their rows are named one by one.

    Args:
        labelled: the rows with a label.
        left_out: the rows that were left out because they repeat another one with another label.
        several_masks: whether several masks of one image and task are named, and not refused.
    """
    tasks: dict[str, list[LabelledRow]] = defaultdict(list)
    contradictions: dict[str, list[LabelledRow]] = defaultdict(list)
    for group, rows in ((tasks, labelled), (contradictions, left_out)):
        for item in rows:
            group[item.row.task_id.strip()].append(item)
    return [
        LabelProblem(name, message, refused)
        for name, items in tasks.items()
        for message, refused in _judge(name, items, contradictions[name], several_masks)
    ]


def merge_masks(labelled: Iterable[LabelledRow]) -> list[LabelledRow]:
    """Return the rows with all masks of one image and task in the first of their rows, as its `more_masks`."""
    merged: dict[object, LabelledRow] = {}
    for item in labelled:
        row = item.row
        masked = row.type == TaskType.SEGMENTATION and row.mask_path
        key = (row.task_id.strip(), item.image) if masked else (row.source, item.root)
        first = merged.setdefault(key, item)
        if first is not item and row.mask_path:
            merged[key] = replace(first, row=replace(first.row, more_masks=(*first.row.more_masks, row.mask_path)))
    return list(merged.values())


def tasks_of(rows: Iterable[Row]) -> dict[str, Task]:
    """Return the tasks of rows by id: the official one, or else one of as many classes as a row states at most.

    The rows must be of tasks that `judge_labels` doesn't refuse.
    """
    types: dict[str, TaskType] = {}
    classes: Counter[str] = Counter()
    for row in rows:
        name = row.task_id.strip()  # as `request_of` looks it up
        types[name] = row.type
        classes[name] = max(classes[name], row.num_classes or 0)
    return {
        name: OFFICIAL.get(name) or Task(name, kind, classes[name], left_right=TYPES[kind].sided)
        for name, kind in types.items()
    }


_Verdicts = Iterator[tuple[str, bool]]


def _judge(
    name: str, items: Sequence[LabelledRow], contradictions: Sequence[LabelledRow], several_masks: bool
) -> _Verdicts:
    """Yield sentences about one task, and whether each is a refusal."""
    rows = [item.row for item in items]
    first: dict[TaskType, Row] = {}
    for row in rows:
        first.setdefault(row.type, row)
    official = OFFICIAL.get(name)
    if len(first) > 1:
        found = " and ".join(f"{kind} ({row.source})" for kind, row in first.items())
        yield f"expected one task_name in all rows, found {found}; give the rows of one type another task_id", True
        return
    kind = rows[0].type
    if official and official.type != kind:
        yield (
            f"expected {official.type}, as the challenge's task of this name is, found {kind} ({rows[0].source}); "
            "give your task another task_id",
            True,
        )
        return
    if not official and not any(row.num_classes for row in rows):
        yield "expected a whole number in num_classes, found none in any row", True
    yield from _judge_counts(rows, official.num_classes if official else None)
    allowed = several_masks and kind == TaskType.SEGMENTATION
    yield from ((message, not allowed) for message in _repeats(items, contradictions))
    yield from _shared_masks(items)
    judge = _JUDGES.get(kind)
    if judge:
        yield from judge(rows)


def _judge_counts(rows: Sequence[Row], official: int | None) -> _Verdicts:
    stated = {row.num_classes: row.source for row in reversed(rows) if row.num_classes is not None}
    if not TYPES[rows[0].type].counts_classes:
        return
    if len(stated) > 1:
        found = " and ".join(f"{count} ({source})" for count, source in sorted(stated.items()))
        yield f"expected the same num_classes in all rows, found {found}; write one number in all of them", True
    elif official and stated and official not in stated:
        (count,) = stated
        yield (
            f"num_classes is {count}, but the challenge's task of this name has {official}, which counts; "
            "give a task of your own another task_id",
            False,
        )


#: The name of a type's label, if an image must not have two of them, and what to do with them.
_ONE_EACH: Mapping[TaskType, tuple[str, str]] = {
    TaskType.SEGMENTATION: (
        "masks",
        "merge them with merge_masks=true, or keep them as labels of their own with merge_masks=false",
    ),
    TaskType.CLASSIFICATION: ("classes", "keep one row of each image"),
    TaskType.DETECTION: ("boxes", "keep one row of each image, or write one box around both"),
    TaskType.REGRESSION: ("sets of points", "keep one row of each image"),
}


def _repeats(items: Sequence[LabelledRow], contradictions: Sequence[LabelledRow]) -> Iterator[str]:
    noun, advice = _ONE_EACH.get(items[0].row.type, ("labels", "keep one row of each image"))
    labels: dict[str, dict[object, str]] = defaultdict(dict)
    for item in [*items, *contradictions]:
        labels[item.image].setdefault(_label_key(item), item.row.source)
    repeated = [list(sources.values()) for sources in labels.values() if len(sources) > 1]
    if repeated:
        most = max(map(len, repeated))
        number = "two" if most == 2 else f"up to {most}"
        images = f"{len(repeated)} image{' has' if len(repeated) == 1 else 's have'}"
        rows = " and ".join(repeated[0][:2])
        yield f"{images} {number} {noun} ({rows}{', ...' if len(repeated) > 1 else ''}); {advice}"


def _shared_masks(items: Sequence[LabelledRow]) -> _Verdicts:
    sources: dict[str, dict[str, str]] = defaultdict(dict)
    for item in items:
        for path in filter(None, (item.row.mask_path, *item.row.more_masks)):
            sources[_resolved(item.root, path)].setdefault(item.image, item.row.source)
    shared = [list(rows.values()) for rows in sources.values() if len(rows) > 1]
    if shared and items[0].row.type == TaskType.SEGMENTATION:
        rows = " and ".join(shared[0][:2])
        yield (
            f"{sum(map(len, shared))} images share a mask with another ({rows}, ...); give each image one of its own, "
            "unless they show the same",
            False,
        )


def _label_key(item: LabelledRow) -> object:
    row = item.row
    if row.type == TaskType.SEGMENTATION:
        return tuple(sorted(_resolved(item.root, path) for path in (row.mask_path or "", *row.more_masks)))
    column = TYPES[row.type].label_column
    return frozenset(item for item in row.labels.items() if re.fullmatch(column, item[0]))


def _judge_classes(rows: Sequence[Row]) -> _Verdicts:
    labels = _readable(class_label, rows)
    count = max((row.num_classes or 0 for row in rows), default=0)
    seen = {label for _, label in labels}
    if seen and min(seen) == 1 and max(seen) == count:
        yield f"expected classes from 0 to {count - 1}, found 1 to {count}; subtract 1 from the column mask", True
        return
    yield from judge_absent(seen, count, "row")
    for single in sorted(seen):
        sources = [row.source for row, label in labels if label == single]
        if len(sources) == 1 < len(labels):
            yield f"class {single} has one row ({sources[0]}), too few both to learn and to measure it; add more", False


def judge_absent(seen: set[int], count: int, noun: str) -> _Verdicts:
    """Yield a sentence if some of the classes 0 to `count` - 1 aren't among the `seen` ones; `noun` has the label."""
    absent = sorted(set(range(count)) - seen)
    if seen and absent:
        classes = f"class {absent[0]} occurs" if len(absent) == 1 else f"classes {_listed(absent)} occur"
        yield f"{classes} in no {noun}, so nothing can be learnt of {'it' if len(absent) == 1 else 'them'}", False


def _judge_boxes(rows: Sequence[Row]) -> _Verdicts:
    labels = _readable(box_label, rows)
    boxes = [(row, box) for row, box in labels if not _is_point(box)]
    if len(boxes) < len(labels):
        marked = [row for row, box in labels if _is_point(box)]
        yield (
            f"found {_share(marked, labels)} with a box of no size, as missing boxes are often marked; "
            "expected one box in every image, so leave those rows out",
            False,
        )
    fractions = list(_fractions(boxes, ", ".join(BOX)))
    yield from fractions
    if any(refused for _, refused in fractions):
        return
    impossible = [row for row, (x1, y1, x2, y2) in boxes if x2 <= x1 or y2 <= y1]
    if len(impossible) > max(1, MANY * len(boxes)):
        positive = all(min(box) >= 0 for _, box in boxes)
        cause = ", as if boxes were written as x, y, width and height" if positive else ""
        yield (
            f"expected x_min below x_max and y_min below y_max, found {_share(impossible, boxes)} otherwise{cause}; "
            "write the left, upper, right and lower edge of each box in pixels",
            True,
        )


def _is_point(box: tuple[float, float, float, float]) -> bool:
    return box[:2] == box[2:]


def are_fractions(coordinates: Sequence[float]) -> bool:
    """Return whether coordinates are fractions of an image's sides rather than pixels."""
    return max(map(abs, coordinates)) <= 1 and not all(value.is_integer() for value in coordinates)


def _judge_points(rows: Sequence[Row]) -> _Verdicts:
    labels = _readable(points_label, rows)
    placed = [(row, [value for point in points if not _is_mark(point) for value in point]) for row, points in labels]
    yield from _fractions([(row, values) for row, values in placed if values], "points")
    marked = [row for row, points in labels if any(map(_is_mark, points))]
    if marked:
        yield (
            f"found {_share(marked, labels)} with a point at (0, 0) or at negative coordinates, as missing landmarks "
            "are often marked; expected every point in the image, so leave those rows out",
            False,
        )


def _is_mark(point: tuple[float, float]) -> bool:
    """Return whether a point may mark a missing landmark; a corner of the image is at -0.5."""
    return point == (0, 0) or min(point) < -0.5


def _fractions(labels: Sequence[tuple[Row, Sequence[float]]], columns: str) -> _Verdicts:
    small = [(row, values) for row, values in labels if are_fractions(values)]
    if not small:
        return
    # A box of a whole image is 0, 0, 1, 1 in fractions, and seen alone it could be one of pixels.
    every = max(abs(value) for _, values in labels for value in values) <= 1
    rows = [row for row, _ in (labels if every else small)]
    yield (
        f"expected {columns} in pixels, found {_share(rows, labels)} with no coordinate above 1; "
        "multiply fractions by the width and height of the image",
        every,
    )


def _share(rows: Sequence[Row], labels: Sequence[object]) -> str:
    sources = _listed([row.source for row in rows])
    return f"{len(rows)} of {len(labels)} row{'' if len(labels) == 1 else 's'} ({sources})"


def _listed(items: Sequence[object]) -> str:
    return ", ".join([*map(str, items[:NAMED]), *(["..."] if len(items) > NAMED else [])])


_Label = TypeVar("_Label")


def _readable(read: Callable[[Row], _Label | None], rows: Iterable[Row]) -> list[tuple[Row, _Label]]:
    """Return the rows whose label can be read, with it."""
    labels = []
    for row in rows:
        with suppress(InputError):
            label = read(row)
            if label is not None:
                labels.append((row, label))
    return labels


def _resolved(root: Path, cell: str) -> str:
    return os.path.normpath(os.path.join(root, "csv_files", cell.strip()))


_JUDGES: Mapping[TaskType, Callable[[Sequence[Row]], _Verdicts]] = {
    TaskType.CLASSIFICATION: _judge_classes,
    TaskType.DETECTION: _judge_boxes,
    TaskType.REGRESSION: _judge_points,
}
