"""Report the tasks of an input folder, its labels and its problems, without loading a model."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from aurora.errors import ImageError
from aurora.images import mask_name_problem, read_image
from aurora.images.headers import ImageInfo, read_info, require_decodable
from aurora.images.reader import as_image_error
from aurora.rows import Problem, Row, image_file, predicted_mask_path, read_rows
from aurora.runtime.hardware import processors
from aurora.runtime.notes import Notes
from aurora.runtime.prefetch import prefetch
from aurora.tasks import OFFICIAL, TYPES, TaskType
from inference.check.labels import AHEAD, Labels, is_labelled, judge, misspelt_masks
from inference.check.report import CheckReport, Size, TaskSummary


def check(root: Path, *, open_images: bool = True, pixels: bool = True, merge: bool | None = None) -> CheckReport:
    """Read all rows of an input folder, its images and its labels, as `run` and `fit` read them.

    Args:
        root: the input folder.
        open_images: whether to open the images and masks at all.
        pixels: whether to decode them, or to read only the headers of images and to look whether the masks are there.
        merge: what `merge_masks` will be in the training configuration.

    Raises:
        InputError: there is no usable row.
    """
    read = read_rows(root, labelled=True)
    rows = list(read.rows)
    images = _read_images(root, rows, pixels) if open_images else {}
    unreadable, reasons, warnings = [], Notes(), Notes()
    for row, found in images.values():
        if isinstance(found, ImageError):
            unreadable.append(Problem(row.source, str(found)))
            reasons.add(found.reason, row.place)
        else:
            for warning in found.warnings:
                warnings.add(warning, row.place)
    infos = {path: None if isinstance(found, ImageError) else found for path, (_, found) in images.items()}
    labelled = [row for row in rows if is_labelled(root, row)]
    misspelt = misspelt_masks(root, rows)
    # Rows without labels are to be predicted, unless other rows have some.
    to_train = bool(labelled or misspelt)
    known = infos if open_images else None
    labels = judge(root, rows, read.contradictory, known, pixels, merge) if to_train else Labels()
    unsafe, shared, misnamed = _mask_problems(rows)
    unknown = Counter(row.task_id for row in rows if row.task_id.strip() not in OFFICIAL)
    return CheckReport(
        rows=len(rows),
        images=len(infos),
        tasks=_summaries(rows, labelled, {path: info.size if info else None for path, info in infos.items()}),
        unknown_tasks=dict(sorted(unknown.items())),
        duplicates=read.duplicates,
        unreadable=unreadable,
        reasons=reasons,
        unsafe_masks=unsafe,
        shared_masks=shared,
        misnamed_masks=misnamed,
        misspelt_masks=misspelt,
        problems=read.problems,
        warnings=warnings,
        labelled=to_train,
        labels=labels.tasks,
        refused_rows=labels.rows,
    )


def _read_images(root: Path, rows: Sequence[Row], pixels: bool) -> dict[str, tuple[Row, ImageInfo | ImageError]]:
    """Return the first row of each image, by `image_path`, and what its header says, or why it can't be read."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row.image_path, row)
    threads = processors()
    found = prefetch(partial(_read_image, root, pixels=pixels), first.values(), AHEAD * threads, threads)
    return {path: (row, image) for (path, row), image in zip(first.items(), found, strict=True)}


def _read_image(root: Path, row: Row, *, pixels: bool) -> ImageInfo | ImageError:
    try:
        path = image_file(root, row)
        info = read_info(path, root)
        require_decodable(info.size, path)
        return replace(info, warnings=read_image(path, root).warnings) if pixels else info
    except Exception as error:  # one image may break a decoder; the other rows are still to be checked
        return as_image_error(error, row.image_path)


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


def _summaries(rows: Sequence[Row], labelled: Sequence[Row], sizes: dict[str, Size | None]) -> list[TaskSummary]:
    """Return one summary per task and type, sorted by type, then by id."""
    groups: dict[tuple[TaskType, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.type, row.task_id].append(row)
    counts = Counter((row.type, row.task_id) for row in labelled)
    types = list(TYPES)
    order = sorted(groups, key=lambda key: (types.index(key[0]), key[1]))
    return [_summary(*key, groups[key], counts[key], sizes) for key in order]


def _summary(
    task_type: TaskType, task_id: str, rows: list[Row], labelled: int, sizes: dict[str, Size | None]
) -> TaskSummary:
    known = [size for row in rows if (size := sizes.get(row.image_path))]
    formats = Counter(Path(row.image_path.strip()).suffix.lower() or "(none)" for row in rows)
    return TaskSummary(
        task_id,
        task_type,
        len(rows),
        labelled,
        sum(sizes.get(row.image_path, ()) is None for row in rows),
        sorted({row.num_classes for row in rows if row.num_classes is not None}),
        dict(formats.most_common()),
        min(known, key=_area, default=None),
        max(known, key=_area, default=None),
    )


def _area(size: Size) -> int:
    return size[0] * size[1]
