"""Whole runs with faults, and the content of their predictions."""

import json
import runpy
import signal
from pathlib import Path

import pytest
from faults.catalogue.bench import Bench
from faults.catalogue.stopping import COPIES, stopped

from aurora.kinds import prediction_files

verify = runpy.run_path(str(Path(__file__).parents[1] / "contract" / "reader.py"))["verify"]


def answers(out: Path) -> list[dict]:
    return [entry for name in prediction_files().values() for entry in json.loads((out / name).read_bytes())]


def test_a_run_without_faults_writes_a_valid_set(bench: Bench) -> None:
    ended = bench.run("--strict")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[-1].startswith("predicted 4 of 4 rows in ")
    assert verify(bench.root, bench.out) == []


def test_an_unreadable_image_costs_only_its_own_prediction(bench: Bench) -> None:
    bench.image(b"no image")
    ended = bench.run()
    assert "predicted 5 of 5 rows, 1 of them by a fallback" in ended.out
    assert verify(bench.root, bench.out) == []
    assert bench.run("--strict").code == 10


def test_an_unknown_task_gets_fallbacks_of_its_own_type_and_number(bench: Bench) -> None:
    bench.rows(
        "new_cls,classification,4,../images/0.png,",
        "new_seg,segmentation,2,../images/0.png,../masks/n.png",
        "new_reg,Regression,5,../images/0.png,",
        "new_det,detection,1,../images/0.png,",
    )
    assert bench.run().code == 0
    assert [e["predicted_probs"] for e in answers(bench.out) if e["task_id"] == "new_cls"] == [[0.25] * 4]
    assert verify(bench.root, bench.out) == []


def test_another_number_of_classes_than_the_weights_have_is_met(bench: Bench) -> None:
    bench.rows(
        "breast_2cls,classification,4,../images/0.png,",
        "organ_cls,classification,2,../images/0.png,",
        "FUGC,Regression,5,../images/0.png,",
        "cardiac_multi,segmentation,2,../images/0.png,../masks/c.png",
    )
    assert bench.run("--strict").code == 0
    assert verify(bench.root, bench.out) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_stopped_leaves_whole_files(bench: Bench, number: int) -> None:
    ended = stopped(bench, number)
    done = len([path for path in (bench.out / "masks").iterdir() if path.name.startswith("copy")])
    assert f"predicted {done + 4} of {COPIES + 4} rows" in ended.out
    assert 0 < done < COPIES
    assert [entry["task_id"] for entry in answers(bench.out)] == ["breast_3cls", "thyroid_nodule_det", "IUGC"]
    assert [path.name for path in bench.out.rglob("*.part")] == [".aurora-run.part"]
