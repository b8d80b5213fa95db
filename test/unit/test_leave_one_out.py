"""Each source is left out once: no row of it is trained on, and the table says what that costs it."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from aurora.errors import InputError, UsageError
from aurora.model import checkpoint
from aurora.tasks import TYPES, TaskType
from training.ablation.leave_one_out import LeaveOneOutResult, as_markdown, leave_one_out
from training.cli import main
from training.config import load_config
from training.data.cases import load_cases
from training.evaluation.evaluate import evaluate
from training.fit.distributed import ProcessGroup
from training.phantom import generate

CONFIG = Path(__file__).resolve().parents[2] / "training" / "configs" / "ablation.yaml"
QUICK = ["preset=micro", "steps=7", "image_size=64", "batch_size=8", "warmup_steps=1", "device=cpu"]
TASKS = ["fetal_head", "breast_2cls", "uterine_fibroid_det", "FUGC"]
SETTINGS = load_config(CONFIG, QUICK)
GROUP = ProcessGroup(torch.device("cpu"))
SCANNERS = ["linear_portable", "sector_cardiac"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sources")
    for scanner in SCANNERS:
        for split, seed in (("train", 1), ("val", 2)):
            root = folder / scanner / split
            generate(root, cases=3, seed=seed, tasks=TASKS, scanner=scanner, split=split, size_scale=0.4)
    return [folder / scanner for scanner in SCANNERS]


def test_a_run_learns_from_the_others_alone_and_is_scored_on_all(sources: list[Path], tmp_path: Path) -> None:
    runs = leave_one_out(SETTINGS, sources, tmp_path, GROUP)
    assert [run.without for run in runs] == SCANNERS
    for run, other in zip(runs, reversed(sources), strict=True):
        weights = tmp_path / f"without-{run.without}" / "best.safetensors"
        model, spec = checkpoint.load(weights)
        assert spec.provenance["data"] == [other.name]
        for source in sources:
            own = evaluate(model, load_cases([source / "val"]))
            types = {kind: own[name]["composite"] for kind, name in zip(TYPES, TASKS, strict=True)}
            assert run.scores[source.name] == pytest.approx(types)
    assert runs[0].scores[SCANNERS[0]] != runs[1].scores[SCANNERS[0]]


def test_what_is_trained_is_only_scored(sources: list[Path], tmp_path: Path) -> None:
    first = leave_one_out(SETTINGS, sources, tmp_path, GROUP)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/best.safetensors")}
    assert len(written) == len(SCANNERS)
    assert leave_one_out(SETTINGS, sources, tmp_path, GROUP) == first
    assert {path: path.stat().st_mtime_ns for path in written} == written


@pytest.mark.parametrize("names", [["one"], ["one", "one"], ["one", "two/../one"]], ids=" ".join)
def test_one_source_is_none_to_leave_out(names: list[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected two sources or more, of different names, found: .*one"):
        leave_one_out(SETTINGS, [tmp_path / name for name in names], tmp_path / "out", GROUP)


def test_a_task_that_no_other_source_trains_is_named(sources: list[Path], tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    for split in ("train", "val"):
        generate(alone / split, cases=2, seed=5, tasks=["IUGC"], scanner=SCANNERS[0], split=split, size_scale=0.4)
    with pytest.raises(
        InputError, match=r"other sources than alone have too, found IUGC \(num_classes 3\); .* in tasks=\[\.\.\.\]"
    ):
        leave_one_out(SETTINGS, [alone, sources[0]], tmp_path / "out", GROUP)
    assert not (tmp_path / "out").exists()


def test_the_table_compares_each_source_with_the_runs_that_saw_it() -> None:
    def types(segmentation: float, detection: float) -> dict[TaskType, float]:
        return {TaskType.SEGMENTATION: segmentation, TaskType.DETECTION: detection}

    runs = [
        LeaveOneOutResult("a", {"a": types(0.5, 0.3), "b": types(0.8, 0.6), "c": types(0.9, 0.7)}),
        LeaveOneOutResult("b", {"a": types(0.7, 0.5), "b": types(0.6, 0.6), "c": types(0.7, 0.5)}),
        LeaveOneOutResult("c", {"a": types(0.9, 0.5), "b": types(0.8, 0.8), "c": types(0.8, 0.6)}),
    ]
    assert as_markdown(runs).splitlines() == [
        "| source | seen | unseen | difference | segmentation | detection |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| a | 0.650 | 0.400 | -0.250 | -0.300 | -0.200 |",
        "| b | 0.750 | 0.600 | -0.150 | -0.200 | -0.100 |",
        "| c | 0.700 | 0.700 | +0.000 | +0.000 | +0.000 |",
        "| mean | 0.700 | 0.567 | -0.133 | -0.167 | -0.100 |",
    ]


def test_a_type_counts_for_the_sources_that_have_cases_of_it() -> None:
    segmentation, detection = TaskType.SEGMENTATION, TaskType.DETECTION
    one = {segmentation: 0.5}
    both = {segmentation: 0.8, detection: 0.6}
    runs = [
        LeaveOneOutResult("a", {"a": one, "b": both}),
        LeaveOneOutResult("b", {"a": {segmentation: 0.7}, "b": {segmentation: 0.6, detection: 0.2}}),
    ]
    assert as_markdown(runs).splitlines()[2:] == [
        "| a | 0.700 | 0.500 | -0.200 | -0.200 |  |",
        "| b | 0.700 | 0.400 | -0.300 | -0.200 | -0.400 |",
        "| mean | 0.700 | 0.450 | -0.250 | -0.200 | -0.400 |",
    ]


def test_the_command_prints_the_table(sources: list[Path], tmp_path: Path) -> None:
    arguments = [*(word for source in sources for word in ("--source", str(source))), "--out", str(tmp_path)]
    found = CliRunner().invoke(main, ["leave-one-out", "--config", str(CONFIG), *arguments, *QUICK])
    assert found.exit_code == 0, found.output
    assert [line.split("|")[1].strip() for line in found.output.splitlines()[-4:]] == ["---", *SCANNERS, "mean"]
