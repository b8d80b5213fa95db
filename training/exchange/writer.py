"""Write a source as input roots: images, masks and one CSV file per task."""

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from aurora.errors import ImageError
from aurora.images import encode_mask, read_image
from aurora.images.labels import classes_in
from aurora.rows.row import BOX
from aurora.runtime.folders import link_or_copy
from aurora.runtime.notes import Findings
from aurora.tasks import TaskType
from training.exchange.source import Item, Label, Source, Target, Unusable, stem


class RootWriter:
    """Write items into an input root, one image at a time.

    Args:
        root: the folder to create.
        task_id: the id of the task; a target's suffix is appended.
        patient: a pattern whose group is the patient in an image's name; None for no column `patient_id`.
        copy: whether images are copied instead of linked.
        findings: takes what can't be written.
    """

    def __init__(
        self, root: Path, task_id: str, patient: re.Pattern[str] | None, *, copy: bool, findings: Findings
    ) -> None:
        self.root, self.task_id, self.patient, self.copy, self.findings = root, task_id, patient, copy, findings
        self._masks: set[str] = set()
        #: The classes in the labels that were written, each with the number of its target; 0 of boxes and points.
        self.classes: set[tuple[int, int]] = set()

    def write(self, source: Source, items: Iterable[Item]) -> Mapping[str, int]:
        """Write the items of a split, and return the number of rows by task."""
        counts: Counter[str] = Counter()
        tables: dict[int, csv.DictWriter] = {}
        with ExitStack() as files:
            for item in items:
                for number, label in self._labels(item).items():
                    row = self._row(source.kind, source.targets[number], item, label)
                    if number not in tables:
                        tables[number] = self._table(files, row)
                    tables[number].writerow(row)
                    counts[row["task_id"]] += 1
                    self.classes |= {(number, class_id) for class_id in _classes(source.kind, label)}
        return counts

    def _table(self, files: ExitStack, row: Mapping[str, Any]) -> csv.DictWriter:
        """Open the CSV file of a row's task, and write the header."""
        path = self.root / "csv_files" / f"{row['task_id']}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        table = csv.DictWriter(files.enter_context(path.open("w", newline="", encoding="utf-8")), list(row))
        table.writeheader()
        return table

    def _labels(self, item: Item) -> Mapping[int, Label]:
        """Return the labels of an item; none, with a note, if it can't be used."""
        try:
            if any("\ud800" <= character <= "\udfff" for character in item.name):
                raise Unusable("the image has a name that isn't UTF-8")
            # The reader refuses links that lead out of a root, but a source may consist of links.
            path = Path(os.path.realpath(item.image))
            # Decoded as a whole, so that no damaged image is imported.
            image = read_image(path, path.parent)
            labels = item.read(image.pixels.shape[:2])
        except Unusable as error:
            self.findings.left_out.add(str(error), item.name)
            return {}
        except ImageError as error:
            self.findings.left_out.add(f"the image {error.reason}", item.name)
            return {}
        for warning in image.warnings if labels else ():
            self.findings.noted.add(f"the image: {warning}", item.name)
        if any(isinstance(label, np.ndarray) and not label.any() for label in labels.values()):
            self.findings.noted.add("the mask is empty, because the image has no object", item.name)
        return labels

    def _row(self, kind: TaskType, target: Target, item: Item, label: Label) -> dict[str, Any]:
        row: dict[str, Any] = {
            "task_id": self.task_id + target.suffix,
            "task_name": kind,
            "num_classes": len(target.names),
            "image_path": f"../images/{item.name}",
        }
        image = self.root / "images" / item.name
        if not image.exists():
            link_or_copy(item.image, image, copy=self.copy)
        row |= _CELLS[kind](label) if kind in _CELLS else {"mask_path": f"../{self._write_mask(item.name, label)}"}
        if self.patient:
            row["patient_id"] = self._patient(self.patient, item.name)
        return row

    def _patient(self, pattern: re.Pattern[str], name: str) -> str:
        found = pattern.search(name)
        if not found or not found[1]:
            self.findings.noted.add("--patient doesn't match, so the patient is unknown", name)
            return ""
        return found[1]

    def _write_mask(self, name: str, mask: Label) -> str:
        """Write a mask as PNG, and return its path in the root."""
        path = f"masks/{stem(name)}.png"
        if path.casefold() in self._masks:  # two images differ in their endings only
            path = f"masks/{name}.png"
        self._masks.add(path.casefold())
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(encode_mask(mask, path))  # type: ignore[arg-type]
        return path


def _classes(kind: TaskType, label: Any) -> Set[int]:
    """Return the class ids in a label."""
    if kind == TaskType.SEGMENTATION:
        return classes_in(label)
    return frozenset({label if kind == TaskType.CLASSIFICATION else 0})


def _points(points: Any) -> dict[str, str]:
    return {f"point_{number}_xy": json.dumps(list(point)) for number, point in enumerate(points, start=1)}


#: The label columns of each type whose labels aren't files.
_CELLS: Mapping[TaskType, Callable[[Any], dict[str, Any]]] = {
    TaskType.CLASSIFICATION: lambda label: {"mask": label},
    TaskType.DETECTION: lambda box: dict(zip(BOX, map(_plain, box), strict=True)),
    TaskType.REGRESSION: _points,
}


def _plain(value: float) -> float:
    """Return a coordinate without the noise of products of fractions."""
    return round(value, 4)
