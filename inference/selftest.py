"""Check that weights and engine reproduce the golden predictions that ship with the weights."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
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
from inference.run import predict

#: The differences that rounding may cause, also in bfloat16 on a GPU: of probabilities and of coordinates as fractions,
#: of coordinates in pixels, and the fraction of a mask's pixels.
TOLERANCES = {"fractions": 0.02, "pixels": 4.0, "mask pixels": 0.01}
CASES, PREDICTIONS = "cases", "answers"


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest difference of one quantity, a key of `TOLERANCES`, and the case that has it."""

    quantity: str
    largest: float
    case: str

    @property
    def tolerable(self) -> bool:
        """Whether rounding can explain it."""
        return self.largest <= TOLERANCES[self.quantity]


def selftest(weights: Path | None, engine: EngineName | None, device: str) -> tuple[str, list[Difference]]:
    """Predict the golden cases; return the run's title and the largest difference of every quantity.

    Raises:
        WeightsError: there are no golden cases next to the weights.
        DeviceError: a golden case got a fallback.
    """
    golden = (weights or default_weights()).parent / "golden"
    if not (golden / CASES).is_dir():
        raise WeightsError(
            f"expected golden cases next to the weights, found no {golden / CASES}; take the shipped weights"
        )
    with TemporaryDirectory() as folder:
        out = Path(folder)
        result = predict(RunSettings(golden / CASES, out, weights=weights, engine=engine, device=device))
        if not result.flawless:
            raise DeviceError(f"expected a prediction of every golden case, found fallbacks:\n{result.summary}")
        differences = list(_differences(golden / PREDICTIONS, out))
    worst = {quantity: Difference(quantity, 0.0, "") for quantity in TOLERANCES}
    for difference in differences:
        if difference.largest >= worst[difference.quantity].largest:
            worst[difference.quantity] = difference
    return result.title, list(worst.values())


def _differences(golden: Path, out: Path) -> Iterator[Difference]:
    """Yield the differences between the predictions in two folders, record by record and mask by mask."""
    for name in prediction_files().values():
        expected, actual = (json.loads((folder / name).read_text(encoding="utf-8")) for folder in (golden, out))
        for first, second in zip(expected, actual, strict=True):
            yield from _record_differences(first, second)
    for path in sorted(golden.rglob("*.png")):
        name = str(path.relative_to(golden))
        yield Difference("mask pixels", float((read_mask(path) != read_mask(out / name)).mean()), name)


def _record_differences(expected: dict[str, Any], actual: dict[str, Any]) -> Iterator[Difference]:
    for key, value in expected.items():
        if isinstance(value, list):
            quantity = "pixels" if key.endswith("pixels") else "fractions"
            largest = float(np.abs(np.subtract(value, actual[key])).max())
            yield Difference(quantity, largest, f"{expected['task_id']} {expected['image_path']}")


def as_text(title: str, differences: list[Difference]) -> str:
    """Format a line per quantity, then the verdict."""
    lines = [
        f"{worst.quantity}: {worst.largest:.2g} at most, {TOLERANCES[worst.quantity]:g} is tolerable [{worst.case}]"
        for worst in differences
    ]
    reproduced = all(worst.tolerable for worst in differences)
    verdict = "the golden predictions are reproduced" if reproduced else "the predictions differ from the golden ones"
    return "\n".join([title, *lines, verdict])
