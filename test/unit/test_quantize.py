"""Exports in int8: close to float32, independent of the batch, and refused where they would overflow."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

from aurora.engine import onnx_runtime
from aurora.engine.onnx_runtime import OnnxEngine
from aurora.engine.select import DEFAULT_WEIGHTS, open_engine
from aurora.errors import DeviceError, InputError, UsageError, WeightsError
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.config import EncoderConfig, ModelConfig
from aurora.runtime.hardware import has_exact_int8
from aurora.tasks import OFFICIAL, TYPES
from training.cli import main
from training.data.cases import load_cases
from training.export import export, to_onnx
from training.phantom import generate
from training.quantize import CALIBRATION_IMAGES, CHECK_IMAGES, KEPT_SHARE, calibration_images, quantize

CONFIG = ModelConfig(EncoderConfig(2, 48, 96, 3), pyramid_width=16, image_size=(64, 64), stem_width=8)
TASKS = ["breast_lesion", "FUGC"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with its exports in float32 and int8, calibrated on phantoms."""
    if not has_exact_int8():
        pytest.skip("this processor has no VNNI, so weights in int8 are refused")
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("int8")
    path = folder / "w.safetensors"
    checkpoint.save(path, Aurora(CONFIG, OFFICIAL), {"seed": 3})
    export(path, folder / "w.onnx")
    generate(folder / "data", cases=(CALIBRATION_IMAGES + CHECK_IMAGES) // 2, seed=1, tasks=TASKS, size_scale=0.2)
    words = ["--weights", path, "--out", folder / "w.int8.onnx", "--precision", "int8", "--data", folder / "data"]
    result = CliRunner().invoke(main, ["export", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0
    return path


@pytest.fixture(scope="module")
def shipped() -> OnnxEngine:
    if not has_exact_int8():
        pytest.skip("this processor has no VNNI, so weights in int8 are refused")
    return OnnxEngine(DEFAULT_WEIGHTS.with_suffix(".int8.onnx"), "cpu")


@pytest.mark.slow
def test_outputs_are_close_to_float32_and_the_description_is_the_same(saved: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 64, 64, 3), dtype=np.uint8)
    plain, int8 = (OnnxEngine(saved.with_suffix(suffix), "cpu") for suffix in (".onnx", ".int8.onnx"))
    assert int8.spec == plain.spec
    assert int8.name == f"{plain.name} in int8"
    rows = dict.fromkeys(TYPES, np.arange(9))
    expected, found = plain.run(images, rows), int8.run(images, rows)
    for task_type in TYPES:
        assert not np.array_equal(found[task_type], expected[task_type])
        error = np.linalg.norm(found[task_type] - expected[task_type])
        assert error < 0.1 * np.linalg.norm(expected[task_type] - expected[task_type].mean())


def test_the_shipped_weights_describe_themselves_as_those_in_float32(shipped: OnnxEngine) -> None:
    plain = OnnxEngine(DEFAULT_WEIGHTS.with_suffix(".onnx"), "cpu")
    assert shipped.spec == plain.spec
    assert shipped.name == f"{plain.name} in int8"


def test_a_range_stands_for_the_relu6_after_a_convolution_in_int8() -> None:
    graphs = [onnx.load(DEFAULT_WEIGHTS.with_suffix(suffix)).graph for suffix in (".onnx", ".int8.onnx")]
    producers = [{name: node.op_type for node in graph.node for name in node.output} for graph in graphs]
    clipped = [
        [made[node.input[0]] for node in graph.node if node.op_type == "Clip" and made[node.input[0]] != "Sub"]
        for graph, made in zip(graphs, producers, strict=True)
    ]
    assert len(clipped[0]) > 30
    assert set(clipped[0]) == {"Conv"}
    assert 0 < len(clipped[1]) < 5
    assert set(clipped[1]) == {"Conv"}  # in float32


def test_an_engine_of_its_own_finds_the_file_beside_the_checkpoint(shipped: OnnxEngine, tmp_path: Path) -> None:
    for weights in (None, shipped.path):
        assert open_engine(weights, "onnx-int8", "cpu").checksum == shipped.checksum
    with pytest.raises(UsageError, match=r"in int8 for the onnx-int8 engine, found .*tiny\.onnx; name one"):
        open_engine(DEFAULT_WEIGHTS.with_suffix(".onnx"), "onnx-int8", "cpu")
    copy = tmp_path / DEFAULT_WEIGHTS.name
    copy.symlink_to(DEFAULT_WEIGHTS)
    with pytest.raises(WeightsError, match=r"onnx-int8 engine needs .*int8\.onnx, .* --precision int8 --data DATA'"):
        open_engine(copy, "onnx-int8", "cpu")


def test_an_answer_does_not_depend_on_the_batch(shipped: OnnxEngine) -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, *shipped.spec.config.image_size, 3), dtype=np.uint8)
    together = shipped.run(images, dict.fromkeys(TYPES, np.arange(9)))
    for place in (0, 4, 8):
        alone = shipped.run(images[place : place + 1], dict.fromkeys(TYPES, np.zeros(1, np.int64)))
        for task_type in TYPES:
            assert np.array_equal(alone[task_type][0], together[task_type][place])


@pytest.mark.slow
def test_the_worst_layers_stay_in_float32(saved: Path) -> None:
    model, spec = checkpoint.load(saved)
    cases = load_cases([saved.parent / "data"])
    proto, layers = quantize(to_onnx(model, spec), calibration_images(cases, (64, 64)))
    errors = [sum(layer.errors.values()) for layer in layers]
    assert errors == sorted(errors, reverse=True)
    kept = [layer.name for layer in layers if layer.kept]
    assert len(kept) == round(KEPT_SHARE * len(layers))
    scales = {name for node in proto.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    for node in proto.graph.node:
        if node.op_type in ("Conv", "MatMul", "Gemm"):
            assert (node.input[1] in scales) is (node.name not in kept)
    # It is what the command wrote, apart from the storage of the weights.
    written = onnx.load(saved.with_suffix(".int8.onnx"))
    names = [node.name for node in written.graph.node if node.op_type == "QuantizeLinear"]
    assert names == [node.name for node in proto.graph.node if node.op_type == "QuantizeLinear"]


def test_a_processor_that_would_overflow_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_runtime, "has_exact_int8", lambda: False)
    OnnxEngine(DEFAULT_WEIGHTS.with_suffix(".onnx"), "cpu")
    with pytest.raises(DeviceError, match=r"int8\.onnx needs a processor .*VNNI.*; use the weights in float32"):
        OnnxEngine(DEFAULT_WEIGHTS.with_suffix(".int8.onnx"), "cpu")


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("flags\t\t: fpu avx2 avx512f\n", False),
        ("flags : fpu avx_vnni\n", True),
        ("Features : asimd\n", True),
        (None, True),
    ],
)
def test_processors_are_told_apart_by_their_flags(tmp_path: Path, text: str | None, exact: bool) -> None:
    if text is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc" / "cpuinfo").write_text(f"processor : 0\n{text}")
    assert has_exact_int8(tmp_path) is exact


def test_int8_needs_data_and_enough_of_it(tmp_path: Path) -> None:
    generate(tmp_path / "data", cases=7, seed=1, tasks=["FUGC"], size_scale=0.2)
    for name, roots in (("w.onnx", []), ("w.safetensors", [tmp_path / "data"])):
        with pytest.raises(UsageError, match="--precision int8 needs --data"):
            export(DEFAULT_WEIGHTS, tmp_path / name, precision="int8", data=roots)
    with pytest.raises(InputError, match="expected at least 160 images to calibrate on, found 7; give more --data"):
        calibration_images(load_cases([tmp_path / "data"]), (64, 64))
