"""What can be wrong with a published checkpoint: each fault is one sentence that names it, and no file is left."""

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.qwen import make_checkpoint

from aurora.errors import WeightsError
from training.qwen.importer import import_encoder

INDEX = "model.safetensors.index.json"
QKV = "model.visual.blocks.3.attn.qkv.weight"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("published"), shard_size="2MB")


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "Qwen3-VL"))


def shard_of(folder: Path, name: str) -> Path:
    return folder / json.loads((folder / INDEX).read_text())["weight_map"][name]


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def edit_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the tensors of the shard that holds QKV."""
    tensors = load_file(shard := shard_of(folder, QKV))
    change(tensors)
    save_file(tensors, shard)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def only(folder: Path, name: str, content: bytes) -> None:
    """Leave no weights but one file of another kind."""
    for path in folder.glob("model*"):
        path.unlink()
    (folder / name).write_bytes(content)


def config(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / "config.json", lambda record: record.update(changes))


def vision(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / "config.json", lambda record: record["vision_config"].update(changes))


def index(change: Callable[[dict[str, str]], object]) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / INDEX, lambda record: change(record["weight_map"]))


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    return lambda folder: edit_tensors(folder, change)


def rename_all(names: dict[str, str]) -> None:
    for name in list(names):
        names["thinker." + name] = names.pop(name)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "corrupt shard": (
        lambda f: shard_of(f, QKV).write_bytes(b"\xff" * 5000),
        r"model-0000\d.* not a whole safetensors",
    ),
    "cut shard": (lambda f: cut(shard_of(f, QKV)), r"model-0000\d-of-\d+\.safetensors is not a whole safetensors file"),
    "a pointer instead of a shard": (
        lambda f: shard_of(f, QKV).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        r"is a Git LFS pointer, not the weights themselves; fetch them with 'git lfs pull'",
    ),
    "missing shard": (
        lambda f: shard_of(f, QKV).unlink(),
        r"expected model-0000\d-of-\d+\.safetensors in Qwen3-VL, found",
    ),
    "truncated index": (lambda f: cut(f / INDEX), rf"{INDEX} is not a complete index of shards"),
    "index of another shape": (lambda f: (f / INDEX).write_text("[]"), rf"{INDEX} is not a complete index of shards"),
    "wrong prefix": (index(rename_all), r"expected tensors named model\.visual\.\* or visual\.\*, found thinker\."),
    "tensor missing in the index": (index(lambda names: names.pop(QKV)), rf"misses 1 tensors .*: {QKV}"),
    "tensor missing in its shard": (
        tensors(lambda t: t.pop(QKV)),
        rf"lists {QKV} in model-0000\d.* which has no such tensor",
    ),
    "unexpected tensor": (
        index(lambda names: names.update({"model.visual.blocks.6.norm1.bias": "model-00001-of-00007.safetensors"})),
        r"has unexpected 1 tensors .*: model\.visual\.blocks\.6\.norm1\.bias",
    ),
    "misshapen tensor": (
        tensors(lambda t: t.update({QKV: t[QKV][:-1].contiguous()})),
        rf"tensor {QKV} should have shape \(576, 192\), found \(575, 192\)",
    ),
    "tensor of another type": (
        tensors(lambda t: t.update({QKV: t[QKV].to(torch.int8)})),
        rf"expected {QKV} in F32, F16, BF16, found I8",
    ),
    "tensor that is not finite": (
        tensors(lambda t: t[QKV][5, 5:6].fill_(float("nan"))),
        rf"tensor {QKV} holds values that aren't",
    ),
    "Qwen2-VL": (config(model_type="qwen2_vl", architectures=["Qwen2VLModel"]), r"found qwen2_vl \(Qwen2VLModel\)"),
    "Qwen2.5-VL": (config(model_type="qwen2_5_vl"), r"expected a Qwen3-VL model .*found qwen2_5_vl"),
    "text-only model": (
        config(model_type="qwen3", architectures=["Qwen3ForCausalLM"]),
        r"found qwen3 \(Qwen3ForCausalLM\)",
    ),
    "no vision_config": (config(vision_config=None), r"config\.json, vision_config: .*found None"),
    "another patch size": (vision(patch_size=14), r"vision_config\.patch_size: input should be 16, found 14"),
    "another activation": (vision(hidden_act="quick_gelu"), r"vision_config\.hidden_act: .*found 'quick_gelu'"),
    "another rotation": (vision(rope_parameters={"rope_theta": 1e6}), r"rope_theta should be 10000"),
    "heads that don't divide the width": (vision(num_heads=5), r"hidden_size must be a multiple of 4 x num_heads"),
    "depth beyond the weights": (vision(depth=7), r"misses 12 tensors of a Qwen3-VL tower of 7 blocks"),
    "truncated config.json": (lambda f: cut(f / "config.json"), r"config\.json is not a complete JSON file"),
    "config.json is a list": (
        lambda f: (f / "config.json").write_text("[]"),
        r"expected a Qwen3-VL model .*found None",
    ),
    "no config.json": (
        lambda f: (f / "config.json").unlink(),
        r"expected config\.json in Qwen3-VL, found .*generation_config",
    ),
    "pickle": (
        lambda f: only(f, "pytorch_model.bin", pickle.dumps({})),
        r"found .*pytorch_model\.bin; pickled weights are never",
    ),
    "pickle under another name": (
        lambda f: only(f, "model.safetensors", pickle.dumps({})),
        r"not a whole safetensors file",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_in_one_sentence(folder: Path, tmp_path: Path, fault: str) -> None:
    make, message = FAULTS[fault]
    make(folder)
    with pytest.raises(WeightsError, match=message) as caught:
        import_encoder(str(folder), tmp_path / "out" / "encoder.safetensors")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_on_the_command_line_it_is_the_last_line_and_exit_code_4(folder: Path, tmp_path: Path) -> None:
    shard_of(folder, QKV).unlink()
    command = [sys.executable, "-m", "training", "import-encoder", "--from", str(folder), "--out", str(tmp_path / "e")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 4
    assert done.stderr.startswith("error: expected model-0000")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no folder that refuses every writer")
def test_a_place_that_cannot_be_written_is_named(folder: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "training",
        "import-encoder",
        "--from",
        str(folder),
        "--out",
        "/proc/e.safetensors",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 5
    assert done.stderr.startswith("error: can't write /proc/e.safetensors: ")
    assert done.stderr.count("\n") == 1
