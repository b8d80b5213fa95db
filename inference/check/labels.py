"""Judge the labels of an input folder as `fit` does, task by task and row by row."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from aurora.errors import AuroraError, ImageError
from aurora.images.headers import ImageInfo
from aurora.images.labels import LABEL_READERS, LabelledFiles, classes_in, find_masks, judge_files
from aurora.images.reader import as_image_error
from aurora.rows import Problem, Row, mask_files
from aurora.rows.labels import LabelledRow, LabelProblem, judge_labels, merge_masks, tasks_of
from aurora.rows.near_miss import NearMiss, near_miss
from aurora.rows.row import plain
from aurora.runtime.hardware import processors
from aurora.runtime.notes import Notes
from aurora.runtime.prefetch import prefetch
from aurora.tasks import Task, TaskType

#: Images and masks that each thread reads ahead.
AHEAD = 16


@dataclass(frozen=True, slots=True)
class Labels:
    """What is wrong, or may be, with the labels of tasks, and the rows that can't be trained on."""

    tasks: list[LabelProblem] = field(default_factory=list)
    rows: list[Problem] = field(default_factory=list)


def judge(
    root: Path,
    rows: Sequence[Row],
    contradictory: Sequence[Row],
    infos: Mapping[str, ImageInfo | None] | None,
    pixels: bool,
    merge: bool | None,
) -> Labels:
    """Judge labels as `fit` does: those of tasks by their cells, then, row by row, those of tasks it doesn't refuse.

    Args:
        root: the input folder.
        rows: its rows.
        contradictory: the rows that were left out because they repeat another one with another label.
        infos: the header of each image by its `image_path`, None if it can't be read; None if they weren't opened, so
            that single rows can't be judged.
        pixels: whether to decode the masks.
        merge: whether several masks of one image and task become one label (True), are labels of their own (False), or
            are refused (None).
    """
    labelled, left_out = ([LabelledRow(root, row) for row in group] for group in (rows, contradictory))
    if merge:
        labelled = merge_masks(labelled)
    judged = judge_labels(labelled, left_out, several_masks=merge is not None)
    if infos is None:
        return Labels(judged)
    refused = {problem.task_id for problem in judged if problem.refused}
    rest = [item.row for item in labelled if item.row.task_id.strip() not in refused]
    read, threads = partial(_read_label, root, tasks_of(rest), infos, pixels), processors()
    files, problems = [], []
    for row, found in zip(rest, prefetch(read, rest, AHEAD * threads, threads), strict=True):
        if isinstance(found, LabelledFiles):
            files.append(found)
        elif found is not None:
            problems.append(Problem(row.source, str(found).removeprefix(f"{row.source}: ")))
    return Labels([*judged, *judge_files(files)], problems)


def _read_label(
    root: Path, tasks: Mapping[str, Task], infos: Mapping[str, ImageInfo | None], pixels: bool, row: Row
) -> LabelledFiles | AuroraError | None:
    """Return what `judge_files` needs of a row, or why `fit` refuses it; None if that is named elsewhere."""
    info, read, task = infos[row.image_path], LABEL_READERS.get(row.type), tasks[row.task_id.strip()]
    masked = row.type == TaskType.SEGMENTATION
    if info is None or read is None or (masked and _misspelling(root, row)):
        return None
    try:
        if masked and not pixels:
            find_masks(root, row)
            return LabelledFiles(row, info.turned)
        label = read(root, row, task, info.size)
        return LabelledFiles(row, info.turned, classes_in(label) if masked else None)
    except AuroraError as error:
        return error
    except Exception as error:  # one mask may break a decoder; the other rows are still to be checked
        return as_image_error(error, row.source)


def misspelt_masks(root: Path, rows: Iterable[Row]) -> Notes:
    """Count the true masks that are found only under another spelling of their paths, by what to correct."""
    notes = Notes()
    for row in rows:
        near = _misspelling(root, row) if row.type == TaskType.SEGMENTATION else None
        if near:
            notes.add(near.advice, f"{row.source} {plain(row.mask_path or '')}")
    return notes


def _misspelling(root: Path, row: Row) -> NearMiss | None:
    return near_miss(row.mask_path, root) if row.mask_path and not is_labelled(root, row) else None


def is_labelled(root: Path, row: Row) -> bool:
    """Return whether a row has a label, or the file of its true mask is there."""
    if row.type != TaskType.SEGMENTATION:
        return bool(row.labels)
    try:
        return all(path.is_file() for path in mask_files(root, row))
    except (ImageError, OSError):
        return False
