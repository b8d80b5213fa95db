"""The bench of the fault catalogue: a good input folder, one fault, and the end of the run."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from aurora.images import read_mask
from aurora.kinds import prediction_files
from aurora.predict.batch import UNLIKE_TRAINING
from aurora.runtime.write_errors import user_name
from inference.__main__ import entrypoint

ROOT = Path(__file__).resolve().parents[3]
HEAD = "task_id,task_name,num_classes,image_path,mask_path\n"
GOOD = (
    "lung,segmentation,2,../images/0.png,../masks/0.png\n"
    "breast_3cls,classification,3,../images/1.png,\n"
    "thyroid_nodule_det,detection,1,../images/2.png,\n"
    "IUGC,Regression,3,../images/2.png,\n"
)
# The beginnings of the output lines that report something unusual.
ODD = (
    *("fallbacks (", "unwritten (", "warnings (", "the memory", "the GPU's", "the output folder holds", "stopped"),
    *("task mine: ", "no validation rows"),  # those of `fit`
)


class Ended(NamedTuple):
    """The end of a run: its exit code and output, with the bench's folders renamed as on the page."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> list[str]:
        """Return the last line of a failure, or else every line that reports something unusual.

        The images of a bench are noise, which the shipped weights rightly call unlike the training images.
        """
        last = self.err.splitlines()[-1:]
        odd = [line for line in self.out.splitlines() if line.startswith(ODD)]
        return last or [line for line in odd if UNLIKE_TRAINING not in line]


@dataclass
class Bench:
    """Folders for one fault.

    `root` is an input folder with four good rows on three images; runs write into `out`, with `weights`.
    """

    folder: Path
    weights: Path
    patch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root, self.out = self.folder / "in", self.folder / "out"
        (self.root / "csv_files").mkdir(parents=True)
        (self.root / "images").mkdir()
        self.csv("a.csv", HEAD + GOOD)
        for number in range(3):
            pixels = np.random.default_rng(number).integers(0, 255, (30 + number, 50, 3), dtype=np.uint8)
            cv2.imwrite(str(self.root / "images" / f"{number}.png"), pixels)
        user, uid = user_name(), os.geteuid()
        self.names = {
            **{str(self.root): "/input", str(self.out): "/output", str(self.folder): "/data", str(ROOT): "."},
            **{f"{user} (uid {uid})": "root (uid 0)", f"uid {uid} with": "uid 0 with"},
            f"--user {uid}:{os.getegid()}": "--user 0:0",
        }

    def csv(self, name: str, content: str | bytes) -> None:
        """Write a CSV file."""
        data = content if isinstance(content, bytes) else content.encode()
        (self.root / "csv_files" / name).write_bytes(data)

    def rows(self, *rows: str) -> None:
        """Add rows, as b.csv."""
        self.csv("b.csv", HEAD + "".join(f"{row}\n" for row in rows))

    def image(self, content: bytes | np.ndarray, name: str = "bad.png") -> Path:
        """Add an image and a row that asks for its mask."""
        path = self.root / "images" / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            cv2.imwrite(str(path), content)
        self.rows(f"lung,segmentation,2,../images/{name},../masks/bad.png")
        return path

    def flags(self, *flags: object, **places: Path) -> list[str]:
        """Return the arguments of `run`, by default from `root` to `out`."""
        known = {"input": self.root, "output": self.out, "weights": self.weights} | places
        named = [word for name, place in known.items() for word in (f"--{name}", str(place))]
        return ["run", *named, "--engine", "onnx", "--device", "cpu", *map(str, flags)]

    def run(self, *flags: object, **places: Path) -> Ended:
        """Run `python -m inference run` in this process."""
        self.patch.setattr(sys, "argv", ["inference", *self.flags(*flags, **places)])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            entrypoint()
        assert isinstance(ended.value.code, int)
        return self.ended(ended.value.code, *self.capsys.readouterr())

    def process(self, *flags: object, before: tuple[object, ...] = (), env: Mapping[str, str] | None = None) -> Ended:
        """Run it in a process of its own, with the command `before` in front."""
        command = [*map(str, before), sys.executable, "-m", "inference", *self.flags(*flags)]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)
        return self.ended(ended.returncode, ended.stdout, ended.stderr)

    def ended(self, code: int, out: str, err: str) -> Ended:
        for place, name in self.names.items():
            out, err = out.replace(place, name), err.replace(place, name)
        return Ended(code, out, err)

    def open_to_all(self) -> None:
        """Let any user look into the bench's folders."""
        folders = [self.folder, *self.folder.parents]
        for folder in folders[: folders.index(Path(tempfile.gettempdir()).resolve())]:
            folder.chmod(0o755)

    def as_nobody(self, *flags: object, **places: Path) -> Ended:
        """Run as a user who owns nothing here."""
        needs(os.geteuid() == 0, "only root can become somebody else")
        self.open_to_all()
        os.seteuid(65534)
        try:
            return self.run(*flags, **places)
        finally:
            os.seteuid(0)

    def predictions(self) -> int:
        """Return the number of predictions in `out`, all of which must be complete files."""
        entries = [
            entry
            for name in prediction_files().values()
            for entry in json.loads((self.out / name).read_bytes(), parse_constant=_refuse)
        ]
        masks = [
            path for path in self.out.rglob("*") if path.is_file() and path.name not in prediction_files().values()
        ]
        for path in masks:
            if path.suffix == ".gz":
                read_mask(path)
                continue
            assert path.read_bytes().startswith(b"\x89PNG"), path
            assert path.read_bytes().endswith(b"IEND\xaeB`\x82"), path
        return len(entries) + len(masks)


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} in JSON")


class Fault(NamedTuple):
    """A fault with its section of the page; `make` makes it on a bench and runs."""

    section: str
    make: Callable[[Bench], Ended]


FAULTS: dict[str, Fault] = {}


def fault(section: str, name: str) -> Callable[[Callable[[Bench], Ended]], Callable[[Bench], Ended]]:
    """Register a function as a fault."""

    def enter(make: Callable[[Bench], Ended]) -> Callable[[Bench], Ended]:
        assert name not in FAULTS, name
        FAULTS[name] = Fault(section, make)
        return make

    return enter


def needs(condition: bool, reason: str) -> None:
    """Skip the fault where it can't be made."""
    if not condition:
        pytest.skip(reason)
