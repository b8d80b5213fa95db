"""A checkpoint describes itself, loads as it was saved, and is refused when it is damaged."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from aurora.errors import OutputError, WeightsError
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.config import EncoderConfig, ModelConfig
from aurora.tasks import OFFICIAL, TYPES, TaskType

CONFIG = ModelConfig(EncoderConfig(4, 48, 96, 3), pyramid_width=16, image_size=(64, 64))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, Aurora(CONFIG, OFFICIAL), {"seed": 7})
    return path


def test_model_and_description_come_back(saved: Path) -> None:
    model, spec = checkpoint.load(saved)
    assert (spec.config, dict(spec.tasks), spec.provenance) == (CONFIG, dict(OFFICIAL), {"seed": 7})
    torch.manual_seed(0)
    expected = Aurora(CONFIG, OFFICIAL).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    assert not model.training


def test_everybody_may_read_it(saved: Path) -> None:
    assert saved.stat().st_mode & 0o777 == 0o644


def test_half_precision_is_half_the_size_and_close(saved: Path) -> None:
    model, _ = checkpoint.load(saved)
    half = saved.with_name("half.safetensors")
    checkpoint.save(half, model, {}, half=True)
    assert half.stat().st_size < 0.6 * saved.stat().st_size
    again, _ = checkpoint.load(half)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, atol=1e-3, rtol=1e-3)


def test_one_flipped_bit_is_noticed(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[-100] ^= 1
    saved.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged"):
        checkpoint.load(saved)


def test_the_header_is_read_without_the_library(saved: Path) -> None:
    header, start = checkpoint.read_header(saved)
    name = "encoder.patch_embed.proj.bias"
    first, last = header[name]["data_offsets"]
    values = np.frombuffer(saved.read_bytes()[start + first : start + last], np.float32)
    assert np.array_equal(values, load_file(saved)[name].numpy())
    assert header["__metadata__"] == checkpoint.read_metadata(saved)


@pytest.mark.parametrize("content", [b"", b"\x10", b"\xff" * 20, b"\2" + bytes(7) + b"[]", b"\2" + bytes(7) + b"??"])
def test_what_has_no_header_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        checkpoint.read_header(tmp_path / "w.safetensors")


@pytest.mark.parametrize("content", [b"", b"\x10", pickle.dumps({"weights": [1.0]})])
def test_what_is_not_safetensors_is_refused_unopened(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        checkpoint.load(path)


def test_a_cut_file_is_refused(saved: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(saved.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        checkpoint.load(cut)


def test_another_projects_safetensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"w": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="not an AURORA checkpoint"):
        checkpoint.load(path)


@pytest.mark.parametrize("change", ["missing", "unexpected", "misshapen"])
def test_a_wrong_tensor_is_named(saved: Path, change: str) -> None:
    spec, tensors = checkpoint.read_spec(saved), load_file(saved)
    name = "encoder.blocks.0.attn.qkv.weight"
    if change == "missing":
        del tensors[name]
    elif change == "unexpected":
        name = "encoder.extra"
        tensors[name] = torch.zeros(1)
    else:
        tensors[name] = tensors[name][:-1]
    wrong = saved.with_name("wrong.safetensors")
    save_file(tensors, wrong, spec.to_metadata())
    with pytest.raises(WeightsError, match=name):
        checkpoint.load(wrong)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights file .*none\.safetensors"):
        checkpoint.load(tmp_path / "none.safetensors")


@pytest.mark.parametrize(("size", "stem_width"), [((64, 64), 0), ((64, 96), 8)])
def test_export_gives_the_same_outputs(tmp_path: Path, size: tuple[int, int], stem_width: int) -> None:
    from aurora.engine.onnx_runtime import OnnxEngine
    from aurora.engine.pytorch import TorchEngine
    from training.export import export

    torch.manual_seed(0)
    saved = tmp_path / "model.safetensors"
    checkpoint.save(saved, Aurora(replace(CONFIG, image_size=size, stem_width=stem_width), OFFICIAL), {"seed": 7})
    export(saved, tmp_path / "model.onnx")
    onnx, torch_engine = OnnxEngine(tmp_path / "model.onnx", "cpu"), TorchEngine(saved, "cpu")
    assert onnx.spec == torch_engine.spec
    images = np.random.default_rng(0).integers(0, 256, (3, *size, 3), dtype=np.uint8)
    for rows in (
        {kind: np.array([0, 2]) for kind in TYPES},
        {TaskType.DETECTION: np.array([1])},
    ):
        expected, found = torch_engine.run(images, rows), onnx.run(images, rows)
        assert expected.keys() == found.keys()
        for kind in rows:
            np.testing.assert_allclose(found[kind], expected[kind], atol=1e-4)


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="name another place with --out"):
        checkpoint.save(tmp_path / "file" / "w.safetensors", Aurora(CONFIG, OFFICIAL), {})
