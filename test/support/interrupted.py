"""Runs that are killed, in the process of a test or in one of their own, and the files they leave."""

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import pytest

import inference.run
from aurora.engine.base import Engine
from aurora.runtime.files import verify
from aurora.tasks import TaskType
from inference.output.journal import JOURNAL
from inference.plan import RunSettings
from inference.run import run

TABLES = ("FUGC", "breast_2cls", "cervix", "fetal_heart", "lung", "organ_cls", "thyroid_nodule_det")

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "torn": lambda line: line[: len(line) // 2],
    "torn before its end": lambda line: line.removesuffix(b"\n"),
    "zeros": lambda line: bytes(len(line)),
    "zeros and an end": lambda line: bytes(len(line) - 1) + b"\n",
    "one bit": lambda line: line[:50] + bytes([line[50] ^ 1]) + line[51:],
    "nothing in it": lambda line: b"\n",
}


def content(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def repeated(cases: Path, root: Path, times: int, tables: str = "*") -> Path:
    """Return an input root with `times` copies of the cases, each with names of its own."""
    for path in sorted(cases.glob(f"csv_files/{tables}.csv")):
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        target = root / "csv_files" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            for copy in range(times):
                writer.writerows([_copied(row, copy, cases, root) for row in rows])
    return root


def _copied(row: dict[str, str], copy: int, cases: Path, root: Path) -> dict[str, str]:
    image = Path(os.path.normpath(cases / "csv_files" / row["image_path"]))
    place = root / image.relative_to(cases).parent / f"{copy}-{image.name}"
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        place.write_bytes(image.read_bytes())
    named = {"image_path": row["image_path"], "mask_path": row.get("mask_path") or ""}
    changed = {key: f"{os.path.dirname(path)}/{copy}-{os.path.basename(path)}" for key, path in named.items() if path}
    return row | {key: value for key, value in changed.items() if key in row}


def small_input(cases: Path, root: Path) -> Path:
    """Return an input root of sample cases, with an unreadable image, an unsafe mask path and a mask named twice."""
    for name in TABLES:
        repeated(cases, root, times=1, tables=name)
    (root / "images").mkdir()
    (root / "images" / "bad.png").write_bytes(b"no image")
    shutil.copy(next(root.glob("Segmentation/**/*.*")), root / "images" / "good.png")
    (root / "csv_files" / "a.csv").write_text(
        "task_id,task_name,num_classes,image_path,mask_path\n"
        "lung,segmentation,2,../images/bad.png,../masks/bad.jpg\n"
        "lung,segmentation,2,../images/good.png,../../outside.png\n"
        "thyroid_nodule,segmentation,2,../images/good.png,../masks/bad.jpg\n"
    )
    return root


class Remembering:
    """An engine that computes each batch only once, for all the runs of this module."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.path, self.name, self.spec = engine, engine.path, engine.name, engine.spec
        self.batch_size, self.num_workers, self.checksum = engine.batch_size, engine.num_workers, engine.checksum
        self.known: dict[bytes, dict[TaskType, np.ndarray]] = {}

    def at(self, path: Path) -> Self:
        """The same engine, as if it had been loaded from `path`."""
        self.path, self.checksum = path, verify(path)
        return self

    def run(self, images: np.ndarray, rows: Mapping[TaskType, np.ndarray]) -> dict[TaskType, np.ndarray]:
        key = images.tobytes() + repr(rows).encode()
        if key not in self.known:
            self.known[key] = self.engine.run(images, rows)
        return self.known[key]


class Killed(BaseException):
    """Simulates SIGKILL in the process of a test."""


def interrupted(settings: RunSettings, batches: int = 2) -> Path:
    """Kill a run within a batch, after `batches` complete ones, and return its folder as it was then."""
    left = settings.output.with_name("left")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference.run, "progress", lambda items, total: _dying(items, settings.output, left, batches))
        with pytest.raises(Killed):
            run(replace(settings, resume=False))
    shutil.rmtree(settings.output)
    left.rename(settings.output)
    return settings.output


def _dying(items: Iterator[object], out: Path, left: Path, batches: int) -> Iterator[object]:
    for item in items:
        yield item
        if len((out / JOURNAL).read_bytes().splitlines()) > batches:
            yield next(items)
            yield next(items)
            (out / ".mask.part").write_bytes(b"half a ma")
            shutil.copytree(out, left)
            raise Killed


def command(settings: RunSettings, *flags: str) -> list[str]:
    places = ("--input", settings.input, "--output", settings.output, "--weights", settings.weights)
    fixed = ("--engine", "onnx", "--device", "cpu", "--batch-size", settings.batch_size)
    return [sys.executable, "-m", "inference", "run", *map(str, (*places, *fixed)), *flags]


def kill(settings: RunSettings, times: int, moments: random.Random, spread: float) -> None:
    """Kill a run that resumes `times` times, each within `spread` seconds after it began to write, then let it end."""
    while times:
        before = len(content(settings.output))
        with subprocess.Popen([*command(settings), "--resume"], stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and len(list(settings.output.rglob("*"))) <= before:
                time.sleep(0.002)
            time.sleep(moments.uniform(0, spread))
            process.kill()
        times -= process.returncode == -signal.SIGKILL
    subprocess.run([*command(settings), "--resume"], check=True, stdout=subprocess.DEVNULL)


def resumed(settings: RunSettings, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert run(settings) == 0
    return capsys.readouterr().out
