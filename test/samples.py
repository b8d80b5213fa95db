"""Makes `test/cases`, the sample input, and the shipped weights' answers to it, `test/golden`, and to fewer and smaller
cases that ship with them, `weights/golden`.

    PYTHONPATH=. python test/samples.py cases golden

The cases are phantoms without labels, two of every official task, as at test time: one folder's name has
spaces, a comma and unicode in it, and one image is used by two tasks. They change only with the phantoms,
the golden answers with the weights.
"""

import csv
import shutil
import sys
from pathlib import Path

from aurora.tasks import OFFICIAL
from inference.plan import RunSettings
from inference.run import run
from inference.selftest import CASES, PREDICTIONS
from training.phantom import generate

HERE = Path(__file__).resolve().parent
SEED = 2026
SHIPPED = HERE.parent / "weights" / "golden"
SHIPPED_TASKS = ("cardiac_multi", "cervix", "fetal_plane_cls", "organ_cls", "thyroid_nodule_det", "IUGC")
AWKWARD = {"spinal_cord_injury_loc": "Ultrasound spinal cord dataset_2,245 – Rückenmark"}  # noqa: RUF001


def make_cases(out: Path) -> None:
    """Write the sample input to `out`, in place of what is there."""
    shutil.rmtree(out, ignore_errors=True)
    plain = [name for name in OFFICIAL if name not in AWKWARD]
    generate(out, cases=2, seed=SEED, split="test", tasks=plain)
    for name, folder in AWKWARD.items():
        generate(out, cases=2, seed=SEED, split="test", tasks=[name], dataset=folder)
    _share_first_image(out / "csv_files", "breast_2cls", "breast_3cls")


def _share_first_image(folder: Path, source: str, user: str) -> None:
    """Add a row of task `user` for the first image of task `source`."""
    with (folder / f"{source}.csv").open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    row |= {"task_id": user, "num_classes": str(OFFICIAL[user].num_classes)}
    with (folder / f"{user}.csv").open("a", encoding="utf-8", newline="") as file:
        csv.DictWriter(file, fieldnames=list(row)).writerow(row)


def make_golden(cases: Path, out: Path) -> None:
    """Answer an input with the shipped weights and ONNX Runtime, in place of what is there."""
    shutil.rmtree(out, ignore_errors=True)
    run(RunSettings(input=cases, output=out, engine="onnx", device="cpu"))


if __name__ == "__main__":
    if "cases" in sys.argv[1:]:
        make_cases(HERE / "cases")
    if "golden" in sys.argv[1:]:
        make_golden(HERE / "cases", HERE / "golden")
        shutil.rmtree(SHIPPED, ignore_errors=True)
        generate(SHIPPED / CASES, cases=1, seed=SEED, split="test", tasks=SHIPPED_TASKS, size_scale=0.5)
        make_golden(SHIPPED / CASES, SHIPPED / PREDICTIONS)
