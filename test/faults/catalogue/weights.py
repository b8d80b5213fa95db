"""Checkpoints that are missing, damaged, foreign or dangerous."""

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from faults.catalogue.bench import Bench, Ended, fault
from safetensors.numpy import load_file, save_file

from aurora.model.checkpoint import KEY, read_metadata

SECTION = "Weights"


class Trap:
    """An object whose unpickling creates a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.place),)


def onnx(change: Callable[[bytes], bytes]) -> Callable[[Bench], Ended]:
    """Run with the shipped ONNX export, its bytes changed, without a checksum next to it."""

    def make(bench: Bench) -> Ended:
        path = bench.folder / "w.onnx"
        path.write_bytes(change(bench.weights.read_bytes()))
        return bench.run(weights=path)

    return make


def flipped(at: int, mark: str = " ") -> Callable[[Bench], Ended]:
    """Run with one flipped bit in the byte `at`; `mark` precedes the file name in SHA256SUMS, "*" for binary mode."""

    def make(bench: Bench) -> Ended:
        path, content = bench.folder / "w.onnx", bytearray(bench.weights.read_bytes())
        (bench.folder / "SHA256SUMS").write_text(f"{hashlib.sha256(content).hexdigest()} {mark}{path.name}\n")
        content[at] ^= 1
        path.write_bytes(content)
        return bench.run(weights=path)

    return make


def torch(change: Callable[[dict[str, np.ndarray], dict], None]) -> Callable[[Bench], Ended]:
    """Run with PyTorch on the shipped checkpoint, its tensors or its description changed."""

    def make(bench: Bench) -> Ended:
        shipped, path = bench.weights.with_suffix(".safetensors"), bench.folder / "w.safetensors"
        tensors, record = load_file(shipped), json.loads(read_metadata(shipped)[KEY])
        change(tensors, record)
        save_file(tensors, path, {KEY: json.dumps(record)} if record else None)
        return bench.run("--engine", "torch", weights=path)

    return make


FILES = {
    "an empty weights file": onnx(lambda data: b""),
    "weights cut in half": onnx(lambda data: data[: len(data) // 2]),
    "weights without their last kilobyte": onnx(lambda data: data[:-1024]),
    "text for weights": onnx(lambda data: b"not the weights\n"),
    "a Git LFS pointer for weights": onnx(lambda data: b"version https://git-lfs.github.com/spec/v1\n"),
    "one flipped bit near the beginning of the weights": flipped(1000),
    "one flipped bit near the end of the weights": flipped(-1000),
    "one flipped bit, with checksums in the form of `sha256sum -b`": flipped(-1000, mark="*"),
    "a checkpoint of another program": torch(lambda tensors, record: record.clear()),
    "a checkpoint of a later format": torch(lambda tensors, record: record.update(format=99)),
    "a checkpoint that lacks a tensor": torch(lambda tensors, record: tensors.pop("encoder.blocks.0.norm1.weight")),
    "a checkpoint with a tensor too many": torch(lambda tensors, record: tensors.update(extra=np.zeros(3))),
    "a checkpoint of another width": torch(lambda tensors, record: record["config"].update(pyramid_width=32)),
}
for name, make in FILES.items():
    fault(SECTION, name)(make)


@fault(SECTION, "no weights file")
def missing(bench: Bench) -> Ended:
    return bench.run(weights=bench.folder / "none.onnx")


@fault(SECTION, "weights that the user may not read")
def forbidden(bench: Bench) -> Ended:
    path = bench.folder / "w.onnx"
    shutil.copy(bench.weights, path)
    path.chmod(0)
    bench.out.mkdir()
    bench.out.chmod(0o777)
    return bench.as_nobody(weights=path)


@fault(SECTION, "a folder for weights")
def folder(bench: Bench) -> Ended:
    return bench.run(weights=bench.folder)


@fault(SECTION, "a pickle for weights")
def pickled(bench: Bench) -> Ended:
    path = bench.folder / "w.pt"
    path.write_bytes(pickle.dumps(Trap(bench.folder / "sprung")))
    ended = bench.run("--engine", "torch", weights=path)
    assert not (bench.folder / "sprung").exists()
    return ended


@fault(SECTION, "an ONNX model of another program")
def foreign(bench: Bench) -> Ended:
    from onnx import TensorProto, helper, save

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", value[:1], value[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), bench.folder / "w.onnx")
    return bench.run(weights=bench.folder / "w.onnx")


@fault(SECTION, "a checkpoint without its ONNX export")
def no_export(bench: Bench) -> Ended:
    shutil.copy(bench.weights.with_suffix(".safetensors"), bench.folder / "w.safetensors")
    return bench.run(weights=bench.folder / "w.safetensors")


@fault(SECTION, "a checkpoint next to the ONNX export of another")
def other_export(bench: Bench) -> Ended:
    shutil.copy(bench.weights, bench.folder / "w.onnx")
    spec = json.loads(read_metadata(bench.weights.with_suffix(".safetensors"))[KEY])
    metadata = {KEY: json.dumps(spec | {"provenance": spec["provenance"] | {"step": 1}})}
    save_file(load_file(bench.weights.with_suffix(".safetensors")), bench.folder / "w.safetensors", metadata)
    return bench.run(weights=bench.folder / "w.safetensors")


@fault(SECTION, "checksums that aren't text")
def odd_checksums(bench: Bench) -> Ended:
    shutil.copy(bench.weights, bench.folder / "w.onnx")
    (bench.folder / "SHA256SUMS").write_bytes(b"\xff\xfe\x00")
    return bench.run(weights=bench.folder / "w.onnx")


@fault(SECTION, "a line of checksums that can't be understood")
def odd_line(bench: Bench) -> Ended:
    shutil.copy(bench.weights, bench.folder / "w.onnx")
    (bench.folder / "SHA256SUMS").write_text("w.onnx: 0123abcd\n")
    return bench.run(weights=bench.folder / "w.onnx")
