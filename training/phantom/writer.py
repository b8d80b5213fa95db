"""Writes phantoms in the challenge's input layout: image folders, masks and one CSV file per task."""

import csv
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from aurora.errors import OutputError, UsageError
from aurora.tasks import OFFICIAL, Task, TaskType
from training.phantom.phantom import Case, make_case
from training.phantom.scanner.profiles import SCANNERS, Scanner

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_workers() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_jobs(work: Callable[[Item], Result], jobs: Sequence[Item], workers: int) -> list[Result]:
    """`work` done on each of `jobs` by so many processes (1: in this one); results in the jobs' order.

    The first error of `work` is raised, and what has not begun is dropped, as on an interrupt: what has begun ends.
    """
    if workers == 1 or len(jobs) < 2:
        return [work(job) for job in jobs]
    # A forked process would inherit OpenCV's thread pool without its threads, and wait for them for ever.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, _prepare)
    try:
        return list(pool.map(work, jobs))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _prepare() -> None:
    """Ctrl-C reaches every process of the terminal: the first one answers it, the workers finish what they hold."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


SPLITS = ("train", "val", "test")
FOLDERS = {
    TaskType.SEGMENTATION: "Segmentation",
    TaskType.CLASSIFICATION: "Classification",
    TaskType.DETECTION: "Detection",
    TaskType.REGRESSION: "Regression",
}
WORDS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight")
# Cases that one process writes at a stretch, and below which others take longer to start than they save.
STRETCH, FEW = 16, 160
Record = dict[str, object]


@dataclass(frozen=True, slots=True)
class Job:
    """Cases `start` to `stop` (not included) of a task, for one process to write under `out`/`folder`."""

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
    """Writes `cases` cases of each task under `out` and returns the number of rows.

    `tasks` are official task ids, None for all 27; `scanner` a key of `SCANNERS`, None to draw one per case;
    `size_scale` multiplies the images' sides; `dataset` names the data set folders in place of the task ids;
    `workers` is the number of processes, None for one per processor once there is enough to do. A case depends on
    (seed, split, task, index) and the scanner alone, so any number of workers writes the same bytes. The split "test"
    has no labels: cells stay empty and masks are named, not written. Raises UsageError on a wrong argument,
    OutputError when `out` can't be written. More than one worker needs a script's call to stand under
    `if __name__ == "__main__"`, as spawned processes always do.
    """
    chosen = _chosen(tasks)
    profile = _checked(cases, scanner, split, size_scale, workers)
    jobs = [
        Job(out, f"{FOLDERS[task.type]}/{WORDS[task.num_classes]}/{dataset or task.id}", task,
            start, min(start + STRETCH, cases), seed, split, profile, size_scale)
        for task in chosen
        for start in range(0, cases, STRETCH)
    ]  # fmt: skip
    if workers is None:
        workers = available_workers() if cases * len(chosen) * size_scale**2 >= FEW else 1
    records: dict[str, list[Record]] = {}
    try:
        for job, written in zip(jobs, run_jobs(_write_cases, jobs, workers), strict=True):
            records.setdefault(job.task.id, []).extend(written)
        for task_id, rows in records.items():
            _write_csv(out / "csv_files" / f"{task_id}.csv", rows)
    except OSError as error:
        raise OutputError(f"Expected a writable folder, but {error.filename or out} can't be written "
                          f"({error.strerror}); choose another --out.") from error  # fmt: skip
    return sum(len(rows) for rows in records.values())


def _write_cases(job: Job) -> list[Record]:
    """Writes the cases of a job; returns their CSV records."""
    records = []
    for index in range(job.start, job.stop):
        case = make_case(
            job.task, index, seed=job.seed, split=job.split, scanner=job.scanner, size_scale=job.size_scale
        )
        stem = f"{job.task.id}_{job.split}_{index:05d}"
        records.append(_write_case(job.out, job.folder, stem, job.task, case, labelled=job.split != "test"))
    return records


def _chosen(tasks: Iterable[str] | None) -> list[Task]:
    ids = list(OFFICIAL) if tasks is None else list(dict.fromkeys(tasks))
    unknown = [i for i in ids if i not in OFFICIAL]
    if unknown:
        raise UsageError(f"Expected official task ids, found {unknown[0]!r}; choose from {', '.join(OFFICIAL)}.")
    return [OFFICIAL[i] for i in ids]


def _checked(cases: int, scanner: str | None, split: str, size_scale: float, workers: int | None) -> Scanner | None:
    if cases < 1:
        raise UsageError(f"Expected at least one case per task, found {cases}; ask for 1 or more.")
    if split not in SPLITS:
        raise UsageError(f"Expected a split, found {split!r}; choose from {', '.join(SPLITS)}.")
    if not 0.1 <= size_scale <= 16:
        raise UsageError(f"Expected a size scale from 0.1 to 16, found {size_scale}; 1 gives about 290 pixels.")
    if workers is not None and workers < 1:
        raise UsageError(f"Expected at least one worker, found {workers}; ask for 1 or more.")
    if scanner is not None and scanner not in SCANNERS:
        raise UsageError(f"Expected a scanner, found {scanner!r}; choose from {', '.join(SCANNERS)}.")
    return None if scanner is None else SCANNERS[scanner]


def _write_case(out: Path, folder: str, stem: str, task: Task, case: Case, *, labelled: bool) -> Record:
    """Writes the image, and the mask where there is one to give; returns the case's CSV record."""
    images = f"{folder}/IMAGES" if task.type is TaskType.SEGMENTATION else folder
    image = f"{images}/{stem}.{'jpg' if case.jpeg else 'png'}"
    _write_image(out / image, case.image)
    record: Record = {
        "task_id": task.id,
        "task_name": task.type.value,
        "num_classes": task.num_classes,
        "image_path": f"../{image}",
    }
    if case.mask is not None:
        mask = f"{folder}/MASKS/{stem}.png"
        record["mask_path"] = f"../{mask}"
        if labelled:
            _write_image(out / mask, case.mask)
    labels = _label_cells(case)
    return record | (labels if labelled else dict.fromkeys(labels, ""))


def _label_cells(case: Case) -> Record:
    """The label columns of one case's CSV record."""
    if case.label is not None:
        return {"mask": case.label}
    if case.box is not None:
        return dict(zip(("x_min", "y_min", "x_max", "y_max"), case.box, strict=True))
    if case.points is not None:
        return {f"point_{k}_xy": json.dumps(point) for k, point in enumerate(case.points.tolist(), 1)}
    return {}


def _write_image(path: Path, pixels: NDArray[np.uint8]) -> None:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 90] if path.suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 1]
    _, data = cv2.imencode(path.suffix, pixels, quality)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())


def _write_csv(path: Path, records: list[Record]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=list(records[0]))
        table.writeheader()
        table.writerows(records)
