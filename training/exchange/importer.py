"""Import a data set in a common format as input roots."""

import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import NamedTuple

from aurora.errors import InputError, UsageError
from aurora.rows.table import MAX_CLASSES
from aurora.runtime.folders import complete_folder, require_new_folder
from aurora.runtime.notes import Findings
from aurora.tasks import OFFICIAL, TaskType
from training.data.cases import load_cases
from training.exchange.formats import FORMATS, recognise
from training.exchange.sheet import write_sheet
from training.exchange.source import Source, Target
from training.exchange.writer import RootWriter

SHEET, SETTINGS = "sheet.jpg", "task.yaml"
#: The most bytes that the name of a class adds to the id of a task, which names files.
LONGEST_SUFFIX = 150
#: The number of rows by split and task.
Counts = Mapping[str, Mapping[str, int]]


class Wish(NamedTuple):
    """What a user decides about an import.

    Attributes:
        task_id: the id of the task; boxes or landmarks of several classes become tasks ID_CLASS.
        format_name: a key of `FORMATS`; None to recognise it.
        kind: the type of the task; None for the one that the source suggests.
        patient: a regular expression whose group is the patient in an image's path; None for no patients.
        copy: whether images are copied; otherwise they are hard links where the file system allows.
    """

    task_id: str
    format_name: str | None = None
    kind: TaskType | None = None
    patient: str | None = None
    copy: bool = False


def import_data(source: Path, out: Path, wish: Wish) -> list[str]:
    """Write the images and labels of a data set as input roots that `training fit` reads; return lines about them.

    A source with splits becomes the roots `out`/train, `out`/val and `out`/test, any other `out` itself. `out` also
    gets a contact sheet, `sheet.jpg`, and the names of the classes, `task.yaml`. It appears when all is written.

    Args:
        source: a folder or file.
        out: the folder to create; it must not exist, or be empty.
        wish: what the user decides.

    Raises:
        UsageError: an argument is wrong.
        InputError: the source is damaged or in another format, or holds nothing that can be imported.
        OutputError: `out` can't be written.

    Example:
        >>> import_data(Path("scans"), Path("data/scans"), Wish("lesion", patient=r"(p\\d+)_"))  # doctest: +SKIP
    """
    patient = _pattern(wish.patient)
    _check_arguments(source, out, wish.task_id)
    findings = Findings()
    read, how = _read(source, wish, findings)
    _check_targets(read.targets)
    names = {wish.task_id + target.suffix: target.names for target in read.targets}
    _check_official(read.kind, names)
    with complete_folder(out) as folder:
        counts: dict[str, Mapping[str, int]] = {}
        classes: set[tuple[int, int]] = set()
        for split, items in read.splits.items():
            writer = RootWriter(folder / split, wish.task_id, patient, copy=wish.copy, findings=findings)
            rows = writer.write(read, items)
            classes |= writer.classes
            if rows:
                counts[split] = rows
        _finish(folder, counts, names, findings)
    _note_unused(read, wish.task_id, classes, findings)
    return [
        how,
        *_tables(out, counts, read, names),
        *findings.lines(),
        f"look at {out / SHEET}: are the labels where they belong?",
    ]


def _read(source: Path, wish: Wish, findings: Findings) -> tuple[Source, str]:
    """Return the content of a source, and a line about its format."""
    try:
        name, why = (wish.format_name, "as --format says") if wish.format_name else recognise(source)
        return FORMATS[name].read(source, wish.kind, findings), f"{source} was read as {name}, {why}"
    except OSError as error:
        raise InputError(
            f"expected files that can be read, found {error.filename} ({error.strerror}); check its permissions"
        ) from error


def _finish(folder: Path, counts: Counts, names: Mapping[str, tuple[str, ...]], findings: Findings) -> None:
    """Read what was written as the training does, draw it, and write the names."""
    import yaml

    if not counts:
        found = "; ".join(findings.left_out.lines("left out")) or "no image"
        raise InputError(f"expected images with labels, found none that can be imported: {found}")
    cases = load_cases([folder / split for split in counts])
    write_sheet(folder / SHEET, cases, names)
    present = {case.task.id for case in cases}
    settings = {"names": {name: list(names[name]) for name in names if name in present}}
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    (folder / SETTINGS).write_text(text, encoding="utf-8")


def _note_unused(source: Source, task_id: str, classes: Set[tuple[int, int]], findings: Findings) -> None:
    """Note the classes of a source that no label has; `classes` are those that labels have, by target."""
    for number, target in enumerate(source.targets):
        if source.kind in (TaskType.DETECTION, TaskType.REGRESSION):
            if (number, 0) not in classes:
                findings.noted.add("no image has a label of this task, so it has no rows", task_id + target.suffix)
            continue
        # The background needs no example.
        for class_id in range(source.kind == TaskType.SEGMENTATION, len(target.names)):
            if (number, class_id) not in classes:
                place = f"{class_id} {target.names[class_id]}"
                findings.noted.add("no image has this class, which keeps its number", place)


def _tables(out: Path, counts: Counts, source: Source, names: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for split, tasks in counts.items():
        for name, count in tasks.items():
            yield f"{out / split}: task {name}, {source.kind} of {', '.join(names[name])}: {count} rows"


def _pattern(text: str | None) -> re.Pattern[str] | None:
    if text is None:
        return None
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"expected a regular expression in --patient, found {text!r} ({error}); correct it") from None
    if pattern.groups != 1:
        raise UsageError(f"expected one group in --patient, found {pattern.groups} in {text!r}; put the patient in ( )")
    return pattern


def _check_arguments(source: Path, out: Path, task_id: str) -> None:
    if not re.fullmatch(r"[\w-]+", task_id):
        raise UsageError(f"expected letters, digits, _ and - in --task, found {task_id!r}; choose another name")
    if not source.exists():
        raise InputError(f"expected a file or folder, found no {source}; correct SOURCE")
    if source.is_file() and (zipfile.is_zipfile(source) or tarfile.is_tarfile(source)):
        raise InputError(f"expected a folder or a COCO file, found the archive {source}; unpack it and name its folder")
    require_new_folder(out)


def _check_targets(targets: Sequence[Target]) -> None:
    """Raise `InputError` if there are more classes than a mask can hold, or the name of one is too long for a file."""
    count = max(len(targets), *(len(target.names) for target in targets))
    if count > MAX_CLASSES:
        raise InputError(f"expected at most {MAX_CLASSES} classes, found {count}; merge or remove some")
    for target in targets:
        if len(target.suffix.encode()) > LONGEST_SUFFIX:
            raise InputError(
                f"expected names of classes of at most {LONGEST_SUFFIX} bytes, because they name tasks, found "
                f"{target.suffix[1:40]}...; shorten it"
            )


def _check_official(kind: TaskType, names: Mapping[str, tuple[str, ...]]) -> None:
    """Raise `UsageError` if a task has the name of an official one, and another type or size."""
    for name in names.keys() & OFFICIAL.keys():
        task, count = OFFICIAL[name], len(names[name])
        if (task.type, task.num_classes) != (kind, count):
            raise UsageError(
                f"expected {task.type} with num_classes {task.num_classes}, as the challenge's task {name} has, found "
                f"{kind} with {count}; choose another --task"
            )
