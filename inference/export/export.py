"""`inference export-predictions`: the predictions of a run become the first pass of labelling."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from aurora.engine.select import read_spec
from aurora.errors import InputError
from aurora.runtime.files import require_different_folders
from aurora.runtime.folders import complete_folder, require_new_folder
from aurora.runtime.notes import Findings
from inference.export.formats import FORMATS, Format
from inference.export.labelled import ExportTask, LabelledImage, file_name, place, unique
from inference.export.reader import RunReader


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """What is exported, and how.

    Attributes:
        input: the run's input folder.
        predictions: the run's output folder.
        format_name: a key of `FORMATS`.
        out: the folder to create; it must not exist, or be empty.
        weights: the checkpoint whose names of classes are used; None for the shipped one.
        copy: whether images are copied; otherwise they are hard links where the file system allows.
    """

    input: Path
    predictions: Path
    format_name: str
    out: Path
    weights: Path | None = None
    copy: bool = False


def export_predictions(settings: ExportSettings) -> list[str]:
    """Write the predictions of a run in another format, a folder per task; return lines about them.

    Every folder is complete in itself. `settings.out` appears when all is written.

    Raises:
        UsageError: `out` is in use, or a library that the format needs isn't installed.
        InputError: the input or the predictions can't be read, or there is nothing that can be exported.
        WeightsError: the weights can't be read.
        OutputError: `out` can't be written.

    Example:
        >>> settings = ExportSettings(Path("data"), Path("out/data"), "coco", Path("out/coco"))
        >>> export_predictions(settings)  # doctest: +SKIP
    """
    require_different_folders(settings.input, settings.out, "--out")
    require_new_folder(settings.out)
    findings = Findings()
    reader = RunReader(settings.input, settings.predictions, read_spec(settings.weights).tasks, findings)
    with complete_folder(settings.out) as folder:
        lines = list(_write(reader, settings, folder))
        if not lines:
            found = "; ".join(findings.left_out.lines("left out"))
            raise InputError(
                f"expected predictions of the rows of {settings.input} in {settings.predictions}, found none that can "
                f"be exported: {found}"
            )
    return [*lines, *findings.lines()]


def _write(reader: RunReader, settings: ExportSettings, folder: Path) -> Iterator[str]:
    """Write the tasks that the format holds, and yield a line about each."""
    written = FORMATS[settings.format_name]
    taken: set[str] = set()
    for task in reader.tasks():
        if task.type not in written.TYPES:
            for row in reader.rows_of(task):
                reader.findings.left_out.add(
                    f"the format {settings.format_name} holds no task of the type {task.type}", row.place
                )
            continue
        images = reader.images(task, written.LINKED)
        first = next(images, None)
        if first is None:
            continue
        name = unique(file_name(task.id.strip()).lstrip("._") or "task", taken)
        target = folder / written.FOLDER.format(number=len(taken), task=name)
        count = _write_task(written, target, task, chain([first], images), settings.copy)
        names = ", ".join(task.names)
        yield f"{settings.out / target.name}: task {task.id}, {task.type} of {names}: {count} images"


def _write_task(written: Format, folder: Path, task: ExportTask, images: Iterator[LabelledImage], copy: bool) -> int:
    """Write one task, and return the number of its images."""
    count = 0

    def counted() -> Iterator[LabelledImage]:
        nonlocal count
        for image in images:
            count += 1
            yield image

    folder.mkdir()
    written.write(folder, task, counted(), partial(place, copy=copy))
    return count
