"""Both engines: what they compute, what they refuse, and where their weights lie."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from aurora.engine import onnx_runtime, pytorch
from aurora.engine import select as engine_module
from aurora.engine.onnx_runtime import OnnxEngine
from aurora.engine.pytorch import TorchEngine
from aurora.engine.select import DEFAULT_WEIGHTS, MODEL_FOLDER, default_weights, open_engine
from aurora.errors import DeviceError, WeightsError
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.config import EncoderConfig, ModelConfig
from aurora.runtime import files
from aurora.tasks import OFFICIAL, TaskType
from training import export

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ModelConfig(EncoderConfig(4, 48, 96, 3), pyramid_width=16, image_size=(64, 64))
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
EVERY = {kind: np.array([0, 2]) for kind in TaskType}
CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint and, beside it, its export."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("engine") / "w.safetensors"
    checkpoint.save(path, Aurora(CONFIG, OFFICIAL), {})
    export.export(path, path.with_suffix(".onnx"))
    return path


def test_a_head_that_no_row_wants_computes_nothing(saved: Path) -> None:
    engine = OnnxEngine(saved.with_suffix(".onnx"), "cpu")
    feed = engine.feed(IMAGES, {TaskType.DETECTION: np.array([1, 1, 2])})
    rows = dict(zip([o.name for o in engine.session.get_outputs()], engine.session.run(None, feed), strict=True))
    assert {name: len(output) for name, output in rows.items()} == dict.fromkeys(TaskType, 0) | {"detection": 3}


def test_tensors_beside_the_graph_give_the_same_answers_and_are_verified(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "w.onnx"
    monkeypatch.setattr(export, "MOST_INSIDE", 0)
    monkeypatch.setattr(export, "PAGE", 512)
    export.export(saved, out)
    tensors = files.tensors_beside(out)
    inside = saved.with_suffix(".onnx")
    assert out.stat().st_size < inside.stat().st_size - tensors.stat().st_size / 2
    assert {line.split()[1] for line in (tmp_path / "SHA256SUMS").read_text().splitlines()} == {out.name, tensors.name}
    found, expected = OnnxEngine(out, "cpu"), OnnxEngine(inside, "cpu")
    assert found.checksum != expected.checksum
    for kind, output in found.run(IMAGES, EVERY).items():
        assert np.array_equal(output, expected.run(IMAGES, EVERY)[kind])
    damaged = bytearray(tensors.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    tensors.write_bytes(damaged)
    with pytest.raises(WeightsError, match=r"w\.onnx\.data is damaged"):
        OnnxEngine(out, "cpu")
    monkeypatch.undo()
    export.export(saved, out)
    assert not tensors.exists()
    assert OnnxEngine(out, "cpu").checksum == expected.checksum


def test_an_export_of_another_version_is_refused(saved: Path, tmp_path: Path) -> None:
    graph = onnx.load(saved.with_suffix(".onnx"))
    graph.model_version = 1
    onnx.save(graph, tmp_path / "old.onnx")
    with pytest.raises(WeightsError, match="an export of version 1, expected 2; make it again"):
        OnnxEngine(tmp_path / "old.onnx", "cpu")


@pytest.mark.parametrize(
    ("device", "tensorrt", "available", "wanted"),
    [
        ("cpu", False, [CUDA, CPU], [CPU]),
        ("auto", False, [CPU], [CPU]),
        ("auto", False, [TENSORRT, CUDA, CPU], [CUDA, CPU]),
        ("cuda:1", False, [TENSORRT, CUDA, CPU], [CUDA, CPU]),
        ("auto", True, [TENSORRT, CUDA, CPU], [TENSORRT, CUDA, CPU]),
        ("cuda", False, [CPU], "'cuda' was asked for, but this onnxruntime has no CUDA; install onnxruntime-gpu"),
        ("auto", True, [CUDA, CPU], "this onnxruntime has no Tensorrt; install onnxruntime-gpu"),
        ("cpu", True, [TENSORRT, CUDA, CPU], "TensorRT needs a GPU"),
    ],
)
def test_the_provider_asked_for_is_the_one_requested(
    monkeypatch: pytest.MonkeyPatch, device: str, tensorrt: bool, available: list[str], wanted: list[str] | str
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    monkeypatch.setattr(onnx_runtime, "nvidia_driver", lambda: True)
    if isinstance(wanted, str):
        with pytest.raises(DeviceError, match=wanted):
            onnx_runtime._providers(device, tensorrt)
        return
    found = onnx_runtime._providers(device, tensorrt)
    assert [name for name, _ in found] == wanted
    assert {options.get("device_id", "none") for _, options in found[:-1]} <= {device.partition(":")[2] or "0"}


def test_without_a_driver_nothing_is_tried_that_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setattr(onnx_runtime, "nvidia_driver", lambda: False)
    assert onnx_runtime._providers("auto", False) == [(CPU, {})]
    assert [name for name, _ in onnx_runtime._providers("cuda", False)] == [CUDA, CPU]


@pytest.mark.parametrize("tensorrt", [False, True])
def test_a_provider_that_silently_was_not_started_is_an_error(
    saved: Path, monkeypatch: pytest.MonkeyPatch, tensorrt: bool
) -> None:
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda path, options, providers: real(path, options, [CPU]))
    with pytest.raises(DeviceError, match=f"{TENSORRT if tensorrt else CUDA} was asked for, .* only start {CPU}"):
        OnnxEngine(saved.with_suffix(".onnx"), "cuda", tensorrt=tensorrt)


def test_a_folder_in_the_environment_goes_before_the_shipped_weights(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert default_weights() == DEFAULT_WEIGHTS
    monkeypatch.setenv(MODEL_FOLDER, str(tmp_path / "model"))
    assert default_weights() == DEFAULT_WEIGHTS
    monkeypatch.setenv(MODEL_FOLDER, str(saved.parent))
    assert default_weights() == saved
    assert open_engine(None, "onnx", "cpu").path == saved.with_suffix(".onnx")
    (tmp_path / "a.onnx").touch()
    (tmp_path / "b.onnx").touch()
    monkeypatch.setenv(MODEL_FOLDER, str(tmp_path))
    with pytest.raises(WeightsError, match=r"expected one checkpoint in .*, found a\.onnx, b\.onnx"):
        open_engine(None, None, "cpu")


def test_bfloat16_as_on_a_gpu_gives_nearly_the_same(saved: Path) -> None:
    engine = TorchEngine(saved, "cpu")
    expected = engine.run(IMAGES, EVERY)
    engine.half = True
    for kind, output in engine.run(IMAGES, EVERY).items():
        assert output.dtype == np.float32
        assert not np.array_equal(output, expected[kind])
        assert np.abs(output - expected[kind]).max() < 0.05 * np.abs(expected[kind]).max()


def test_loading_leaves_the_slow_parts_of_pytorch_asleep(saved: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from aurora.engine.pytorch import TorchEngine;"
        f"TorchEngine(Path({str(saved)!r}), 'cpu'); print({{'torch._dynamo', 'sympy'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")


@pytest.fixture
def outdated(saved: Path, tmp_path: Path) -> Path:
    """A checkpoint that was trained further after its export was made."""
    for suffix in (".safetensors", ".onnx"):
        (tmp_path / "w").with_suffix(suffix).write_bytes(saved.with_suffix(suffix).read_bytes())
    checkpoint.save(tmp_path / "w.safetensors", Aurora(CONFIG, OFFICIAL), {"step": 2})
    return tmp_path / "w.safetensors"


def test_an_export_of_other_weights_does_not_answer_for_a_checkpoint(
    saved: Path, outdated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(open_engine(saved, None, "cpu"), OnnxEngine)
    assert isinstance(open_engine(outdated, None, "cpu"), TorchEngine)
    rejection = r"expected an export of .*w\.safetensors in .*w\.onnx, found one of other weights; make it again"
    with pytest.raises(WeightsError, match=rejection):
        open_engine(outdated, "onnx", "cpu")
    assert isinstance(open_engine(outdated.with_suffix(".onnx"), None, "cpu"), OnnxEngine)
    monkeypatch.setattr(engine_module, "find_spec", lambda name: None if name == "torch" else True)
    with pytest.raises(WeightsError, match=rejection):
        open_engine(outdated, None, "cpu")
    outdated.write_bytes(b"\xff" * 100)
    with pytest.raises(WeightsError, match=rejection):
        open_engine(outdated, None, "cpu")
    outdated.unlink()
    with pytest.raises(WeightsError, match="no weights file"):
        open_engine(outdated, None, "cpu")


def test_whichever_gpu_computes_an_engine_is_called_the_same(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = set()
    for index in (0, 1):
        monkeypatch.setattr(pytorch, "open_device", lambda _, index=index: torch.device("cpu", index))
        names.add(TorchEngine(saved, "auto").name)
    assert len(names) == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_nearly_what_the_cpu_gives(saved: Path) -> None:
    expected, found = (TorchEngine(saved, device).run(IMAGES, EVERY) for device in ("cpu", "cuda"))
    for task_type, output in found.items():
        assert output.dtype == np.float32
        assert np.abs(output - expected[task_type]).max() < 0.05 * np.abs(expected[task_type]).max()
