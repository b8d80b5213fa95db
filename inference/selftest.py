"""Whether the weights answer here as they did where they were made: golden cases that lie beside them."""

import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from aurora.engine.base import EngineName
from aurora.engine.select import default_weights
from aurora.errors import DeviceError, WeightsError
from aurora.images import read_mask
from aurora.kinds import prediction_files
from inference.plan import RunSettings
from inference.run import run

#: What rounding may change, in bfloat16 on a GPU too: a probability or a fraction, pixels, a share of a mask's pixels.
TOLERANCES = {"fractions": 0.02, "pixels": 4.0, "mask pixels": 0.01}
CASES, ANSWERS = "cases", "answers"


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest difference of one kind that was found, and the answer it was found in."""

    kind: str
    largest: float
    place: str

    @property
    def tolerable(self) -> bool:
        """Whether it is no more than rounding may change."""
        return self.largest <= TOLERANCES[self.kind]


def selftest(weights: Path | None, engine: EngineName | None, device: str) -> tuple[str, list[Difference]]:
    """Answer the golden cases; returns what the engine calls itself, and the largest difference of every kind.

    Raises:
        WeightsError: no golden cases lie beside the weights.
        DeviceError: a golden case got a fallback.
    """
    golden = (weights or default_weights()).parent / "golden"
    if not (golden / CASES).is_dir():
        raise WeightsError(
            f"expected golden cases beside the weights, found no {golden / CASES}; take the shipped weights"
        )
    with TemporaryDirectory() as place, redirect_stdout(StringIO()) as said:
        out = Path(place)
        settings = RunSettings(golden / CASES, out, weights=weights, engine=engine, device=device, strict=True)
        code = run(settings)
        found = list(_differences(golden / ANSWERS, out))
    if code:
        raise DeviceError(f"expected an answer to every golden case, found fallbacks:\n{said.getvalue()}")
    worst = {kind: Difference(kind, 0.0, "") for kind in TOLERANCES}
    for difference in found:
        if difference.largest >= worst[difference.kind].largest:
            worst[difference.kind] = difference
    return said.getvalue().partition("\n")[0], list(worst.values())


def _differences(expected: Path, found: Path) -> Iterator[Difference]:
    for name in prediction_files().values():
        wanted, got = (json.loads((folder / name).read_text(encoding="utf-8")) for folder in (expected, found))
        for first, second in zip(wanted, got, strict=True):
            yield from _of_records(first, second)
    for path in sorted(expected.rglob("*.png")):
        masks = read_mask(path), read_mask(found / path.relative_to(expected))
        yield Difference("mask pixels", float((masks[0] != masks[1]).mean()), str(path.relative_to(expected)))


def _of_records(first: dict[str, Any], second: dict[str, Any]) -> Iterator[Difference]:
    for key, value in first.items():
        if isinstance(value, list):
            kind = "pixels" if key.endswith("pixels") else "fractions"
            largest = float(np.abs(np.subtract(value, second[key])).max())
            yield Difference(kind, largest, f"{first['task_id']} {first['image_path']}")


def as_text(name: str, differences: list[Difference]) -> str:
    """A line per kind, then the verdict."""
    lines = [name]
    for found in differences:
        lines.append(
            f"{found.kind}: {found.largest:.2g} at most, {TOLERANCES[found.kind]:g} is tolerable [{found.place}]"
        )
    sound = all(found.tolerable for found in differences)
    return "\n".join([*lines, "the golden answers are reproduced" if sound else "the answers are not the golden ones"])
