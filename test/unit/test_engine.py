"""Both engines: their outputs, the files and devices they refuse, and the choice between them."""

import subprocess
import sys
from pathlib import Path
from threading import Thread

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from aurora.engine import pytorch
from aurora.engine import select as engine_module
from aurora.engine.onnx_runtime import OnnxEngine, choose_providers
from aurora.engine.pytorch import ModuleEngine, TorchEngine
from aurora.engine.select import DEFAULT_WEIGHTS, MODEL_FOLDER, default_weights, open_engine
from aurora.errors import DeviceError, WeightsError
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.config import EncoderConfig, ModelConfig
from aurora.runtime import files
from aurora.tasks import OFFICIAL, TYPES, TaskType
from training import export

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ModelConfig(EncoderConfig(4, 48, 96, 3), pyramid_width=16, image_size=(64, 64), novelty=True)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
EVERY = {task_type: np.array([0, 2]) for task_type in TYPES}
CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with its export in the same folder."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("engine") / "w.safetensors"
    model = Aurora(CONFIG, OFFICIAL)
    assert model.novelty is not None
    model.novelty.fit_(*torch.randn(2, 100, model.num_features), 0.9, 0.1)
    checkpoint.save(path, model, {})
    export.export(path, path.with_suffix(".onnx"))
    return path


def test_a_head_without_rows_computes_nothing(saved: Path) -> None:
    engine = OnnxEngine(saved.with_suffix(".onnx"), "cpu")
    feed = engine.feed(IMAGES, {TaskType.DETECTION: np.array([1, 1, 2])})
    rows = dict(zip([o.name for o in engine.session.get_outputs()], engine.session.run(None, feed), strict=True))
    lengths = {name: len(output) for name, output in rows.items()}
    assert lengths == dict.fromkeys(TYPES, 0) | {"detection": 3, "novelty": 3}


def test_tensors_file_the_graph_give_the_same_answers_and_are_verified(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "w.onnx"
    export.write_onnx(onnx.load(saved.with_suffix(".onnx")), out, max_embedded_bytes=0, page_size=512)
    tensors = files.tensors_file(out)
    inside = saved.with_suffix(".onnx")
    assert out.stat().st_size < inside.stat().st_size - tensors.stat().st_size / 2
    assert {line.split()[1] for line in (tmp_path / "SHA256SUMS").read_text().splitlines()} == {out.name, tensors.name}
    split, expected = OnnxEngine(out, "cpu"), OnnxEngine(inside, "cpu")
    assert split.checksum != expected.checksum
    for task_type, output in split.run(IMAGES, EVERY).items():
        assert np.array_equal(output, expected.run(IMAGES, EVERY)[task_type])
    damaged = bytearray(tensors.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    tensors.write_bytes(damaged)
    with pytest.raises(WeightsError, match=r"w\.onnx\.data is damaged"):
        OnnxEngine(out, "cpu")
    export.write_onnx(onnx.load(inside), out)
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
    device: str, tensorrt: bool, available: list[str], wanted: list[str] | str
) -> None:
    if isinstance(wanted, str):
        with pytest.raises(DeviceError, match=wanted):
            choose_providers(device, tensorrt=tensorrt, available=available, driver=True)
        return
    providers = choose_providers(device, tensorrt=tensorrt, available=available, driver=True)
    assert [name for name, _ in providers] == wanted
    index = device.partition(":")[2] or "0"
    assert all(options == {"device_id": index} for _, options in providers[:-1])


def test_without_a_driver_only_a_gpu_that_is_named_is_tried() -> None:
    available = [TENSORRT, CUDA, CPU]
    assert choose_providers("auto", tensorrt=False, available=available, driver=False) == [(CPU, {})]
    providers = choose_providers("cuda", tensorrt=False, available=available, driver=False)
    assert [name for name, _ in providers] == [CUDA, CPU]


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


def test_a_model_in_memory_computes_what_its_checkpoint_does(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytorch, "processors", torch.get_num_threads)  # sums depend on how they are divided
    model, spec = checkpoint.load(weights)
    height, width = spec.config.image_size
    images = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    engine = ModuleEngine(model, spec)
    expected = TorchEngine(weights, "cpu").run(images, EVERY)
    outputs = engine.run(images, EVERY)
    assert outputs.keys() == expected.keys()
    assert all(np.array_equal(output, expected[task_type]) for task_type, output in outputs.items())
    assert (engine.spec, engine.cpu_fallback()) == (spec, None)


@pytest.mark.parametrize("training", [True, False])
def test_a_model_in_memory_keeps_its_mode_and_drops_nothing(training: bool) -> None:
    torch.manual_seed(0)
    model = Aurora(CONFIG, OFFICIAL).train(training)
    engine = ModuleEngine(model, checkpoint.Spec(CONFIG, OFFICIAL, {}), batch_size=3)
    outputs = [engine.run(IMAGES, EVERY)[TaskType.CLASSIFICATION] for _ in range(2)]
    assert np.array_equal(*outputs), "dropout was active"
    assert {module.training for module in model.modules()} == {training}
    assert engine.batch_size == 3


def test_running_leaves_the_number_of_threads_as_it_was(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytorch, "processors", lambda: torch.get_num_threads() + 1)
    before = torch.get_num_threads()
    TorchEngine(saved, "cpu").run(IMAGES, EVERY)
    assert torch.get_num_threads() == before


def test_too_few_threads_for_openmp_are_an_error(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: Thread) -> None:
        raise RuntimeError("can't start new thread")

    engine = TorchEngine(saved, "cpu")
    monkeypatch.setattr(Thread, "start", start)
    with pytest.raises(DeviceError, match="can't start new thread; let this process have more threads"):
        engine.run(IMAGES, EVERY)


def test_bfloat16_as_on_a_gpu_gives_nearly_the_same(saved: Path) -> None:
    model, spec = checkpoint.load(saved)
    expected = ModuleEngine(model, spec).run(IMAGES, EVERY)
    for task_type, output in ModuleEngine(model, spec, autocast=True).run(IMAGES, EVERY).items():
        assert output.dtype == np.float32
        assert not np.array_equal(output, expected[task_type])
        assert np.abs(output - expected[task_type]).max() < 0.05 * np.abs(expected[task_type]).max()


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


def test_an_export_of_other_weights_does_not_replace_a_checkpoint(
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
