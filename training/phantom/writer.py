"""Write phantoms in the challenge's input layout: image folders, masks and one CSV file per task."""

import csv
import json
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from aurora.errors import UsageError
from aurora.runtime.files import replacing
from aurora.runtime.hardware import processors
from aurora.runtime.write_errors import write_error
from aurora.tasks import OFFICIAL, Task, TaskType
from training.phantom.phantom import Phantom, make_phantom
from training.phantom.scanner.profiles import SCANNERS, Scanner

SPLITS = ("train", "val", "test")
FOLDERS = {
    TaskType.SEGMENTATION: "Segmentation",
    TaskType.CLASSIFICATION: "Classification",
    TaskType.DETECTION: "Detection",
    TaskType.REGRESSION: "Regression",
}
WORDS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight")
#: Cases that a process writes per call.
CHUNK_SIZE = 16
#: With fewer images at scale 1, starting other processes takes longer than it saves.
MIN_PARALLEL_IMAGES = 160
Record = dict[str, object]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Cases `start` to `stop` (excluded) of a task, written by one process under `out`/`folder`."""

    out: Path
    folder: str
    task: Task
    start: int
    stop: int
    seed: int
    split: str
    scanner: Scanner | None
    size_scale: float


def generate(
    out: Path,
    *,
    cases: int,
    seed: int,
    scanner: str | None = None,
    split: str = "train",
    tasks: Iterable[str] | None = None,
    size_scale: float = 1.0,
    dataset: str | None = None,
    workers: int | None = None,
) -> int:
    """Write `cases` phantoms of each task under `out` and return the number of rows.

    A phantom depends only on (seed, split, task, index) and the scanner, so any number of workers writes the same
    bytes. With more than one worker, a script must call this under `if __name__ == "__main__"`, because the processes
    are spawned.

    Args:
        scanner: a key of `SCANNERS`; None draws one for each case.
        split: "train", "val" or "test". The split "test" has no labels: cells are empty, masks are named but not
            written.
        tasks: official task ids; None for all 27.
        size_scale: factor of the images' sides.
        dataset: name of the data set folders, instead of the task ids.
        workers: number of processes; None for `default_workers`.

    Raises:
        UsageError: an argument is wrong.
        OutputError: `out` can't be written.

    Example:
        >>> generate(Path("phantoms"), cases=10, seed=1, tasks=["lung", "FUGC"])  # doctest: +SKIP
        20
    """
    chosen = _chosen(tasks)
    profile = _checked(cases, scanner, split, size_scale, workers)
    chunks = [
        Chunk(out, f"{FOLDERS[task.type]}/{WORDS[task.num_classes]}/{dataset or task.id}", task,
              start, min(start + CHUNK_SIZE, cases), seed, split, profile, size_scale)
        for task in chosen
        for start in range(0, cases, CHUNK_SIZE)
    ]  # fmt: skip
    return _write_chunks(out, chunks, workers or default_workers(cases * len(chosen) * size_scale**2))


def default_workers(images: float) -> int:
    """Return the number of processes for this many images at scale 1: one per processor, or 1 for few images."""
    return processors() if images >= MIN_PARALLEL_IMAGES else 1


def run_parallel(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> list[Result]:
    """Return `function` applied to each item, in order, computed by `workers` processes (1: by this process).

    On the first error or interrupt, items that have not been started are dropped, started ones are finished, and the
    error is raised.
    """
    if workers == 1 or len(items) < 2:
        return [function(item) for item in items]
    # A forked process would inherit OpenCV's thread pool without its threads, and wait for them forever.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(items)), context, _start_worker)
    try:
        return list(pool.map(function, items))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Ignore Ctrl-C, which a terminal sends to every process: the parent handles it and workers finish their item."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def _write_chunks(out: Path, chunks: Sequence[Chunk], workers: int) -> int:
    """Write the cases of the chunks and a CSV file per task; return the number of rows. Raises `OutputError`."""
    records: dict[str, list[Record]] = {}
    try:
        for chunk, written in zip(chunks, run_parallel(_write_chunk, chunks, workers), strict=True):
            records.setdefault(chunk.task.id, []).extend(written)
        for task_id, rows in records.items():
            _write_csv(out / "csv_files" / f"{task_id}.csv", rows)
    except OSError as error:
        raise write_error(Path(error.filename or out), error, "name another folder with --out") from error
    return sum(len(rows) for rows in records.values())


def _write_chunk(chunk: Chunk) -> list[Record]:
    """Write the cases of a chunk and return their CSV records."""
    records = []
    for index in range(chunk.start, chunk.stop):
        phantom = make_phantom(
            chunk.task, index, seed=chunk.seed, split=chunk.split, scanner=chunk.scanner, size_scale=chunk.size_scale
        )
        stem = f"{chunk.task.id}_{chunk.split}_{index:05d}"
        records.append(
            _write_phantom(chunk.out, chunk.folder, stem, chunk.task, phantom, labelled=chunk.split != "test")
        )
    return records


def _chosen(tasks: Iterable[str] | None) -> list[Task]:
    """Return the tasks with these ids; raise `UsageError` for an unknown one."""
    ids = list(OFFICIAL) if tasks is None else list(dict.fromkeys(tasks))
    unknown = [i for i in ids if i not in OFFICIAL]
    if unknown:
        raise UsageError(f"expected official task ids, found {unknown[0]!r}; choose from {', '.join(OFFICIAL)}")
    return [OFFICIAL[i] for i in ids]


def _checked(cases: int, scanner: str | None, split: str, size_scale: float, workers: int | None) -> Scanner | None:
    """Return the scanner's profile, or None if `scanner` is None; raise `UsageError` for a wrong argument."""
    if cases < 1:
        raise UsageError(f"expected at least one case per task, found {cases}; ask for 1 or more")
    if split not in SPLITS:
        raise UsageError(f"expected a split, found {split!r}; choose from {', '.join(SPLITS)}")
    if not 0.1 <= size_scale <= 16:
        raise UsageError(f"expected a size scale from 0.1 to 16, found {size_scale}; 1 gives about 290 pixels")
    if workers is not None and workers < 1:
        raise UsageError(f"expected at least one worker, found {workers}; ask for 1 or more")
    if scanner is not None and scanner not in SCANNERS:
        raise UsageError(f"expected a scanner, found {scanner!r}; choose from {', '.join(SCANNERS)}")
    return None if scanner is None else SCANNERS[scanner]


def _write_phantom(out: Path, folder: str, stem: str, task: Task, phantom: Phantom, *, labelled: bool) -> Record:
    """Write the image and, if labelled, the mask; return the CSV record."""
    images = f"{folder}/IMAGES" if task.type == TaskType.SEGMENTATION else folder
    image = f"{images}/{stem}.{'jpg' if phantom.jpeg else 'png'}"
    _write_image(out / image, phantom.image)
    record: Record = {
        "task_id": task.id,
        "task_name": task.type,
        "num_classes": task.num_classes,
        "image_path": f"../{image}",
    }
    if phantom.mask is not None:
        mask = f"{folder}/MASKS/{stem}.png"
        record["mask_path"] = f"../{mask}"
        if labelled:
            _write_image(out / mask, phantom.mask)
    labels = _label_cells(phantom)
    return record | (labels if labelled else dict.fromkeys(labels, ""))


def _label_cells(phantom: Phantom) -> Record:
    """Return the label columns of the CSV record."""
    if phantom.label is not None:
        return {"mask": phantom.label}
    if phantom.box is not None:
        return dict(zip(("x_min", "y_min", "x_max", "y_max"), phantom.box, strict=True))
    if phantom.points is not None:
        return {f"point_{k}_xy": json.dumps(point) for k, point in enumerate(phantom.points.tolist(), 1)}
    return {}


def _write_image(path: Path, pixels: NDArray[np.uint8]) -> None:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 90] if path.suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 1]
    _, data = cv2.imencode(path.suffix, pixels, quality)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())


def _write_csv(path: Path, records: list[Record]) -> None:
    """Write the table atomically, after its images: a table names only images that exist."""
    with replacing(path) as tmp, tmp.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=list(records[0]))
        table.writeheader()
        table.writerows(records)
