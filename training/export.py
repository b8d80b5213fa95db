"""Convert a checkpoint to the forms that are shipped: ONNX for ONNX Runtime, also in int8, and float16."""

import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from os import SEEK_CUR
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
import torch
from torch import Tensor, nn

from aurora.errors import UsageError, WeightsError
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.checkpoint import ONNX_VERSION, Spec
from aurora.runtime import files
from aurora.tasks import NOVELTY, TYPES, TaskType, of_type

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

logger = logging.getLogger("aurora.training")

#: An ONNX file of more bytes than this has its tensors in a separate file; protobuf itself allows less than 2 GB.
MAX_EMBEDDED_BYTES = 500_000_000
#: Bytes of a memory page. Large tensors start at whole pages, so that the runtime can map them into memory.
PAGE_SIZE = 4096
#: An absolute path, one that begins in a home folder or leads up, or any path of weights; not a name on the hub.
_IS_PATH = re.compile(r"[/\\~]|\.\.?[/\\]|[A-Za-z]:[/\\]|.*[/\\].*\.(safetensors|pth|onnx)$", re.DOTALL)


class _Positional(nn.Module):
    """The model with tensors instead of dictionaries as inputs and outputs, as a graph needs it."""

    def __init__(self, model: Aurora, task_types: list[TaskType]) -> None:
        super().__init__()
        self.model, self.task_types = model, task_types
        self.names = [*task_types, *([NOVELTY] if model.novelty else [])]

    def forward(self, images: Tensor, *rows: Tensor) -> tuple[Tensor, ...]:
        outputs = self.model(images, dict(zip(self.task_types, rows, strict=True)))
        return tuple(outputs[name] for name in self.names)


def export(weights: Path, out: Path, *, precision: Literal["fp32", "int8"] = "fp32", data: Sequence[Path] = ()) -> None:
    """Write a checkpoint to `out` as ONNX, or, if `out` ends in .safetensors, as one in float16 for others.

    The checkpoint for others names files of this machine without their folders.

    Args:
        weights: the checkpoint, `.safetensors`.
        out: the file to write.
        precision: what an ONNX graph computes in; the layers of one in int8 are logged, see `training.quantize`.
        data: labelled input roots whose images int8 is calibrated on.

    Raises:
        UsageError: int8 is asked for without data, or of a checkpoint.
        InputError: the data can't be used.
        WeightsError: the weights can't be used, or have no task.
        OutputError: `out` can't be written.
    """
    if precision == "int8" and (not data or out.suffix == ".safetensors"):
        raise UsageError("--precision int8 needs --data to calibrate on, and an --out that ends in .onnx; name both")
    if precision == "int8" and find_spec("onnxruntime") is None:
        raise UsageError("--precision int8 needs onnxruntime, which isn't installed: pip install onnxruntime")
    model, spec = checkpoint.load(weights)
    if not spec.tasks:
        raise WeightsError(
            f"expected weights with tasks, found none in {weights}; train some first with "
            f"'python -m training fit' and init_from={weights}"
        )
    if out.suffix == ".safetensors":
        checkpoint.save(out, model, without_folders(spec.provenance), half=True)
    else:
        proto = to_onnx(model, spec)
        if precision == "int8":
            # Only int8 needs ONNX Runtime.
            from training.data.cases import load_cases
            from training.quantize import calibration_images, quantize, table

            proto, layers = quantize(proto, calibration_images(load_cases(data), spec.config.image_size))
            _store_as_half(proto.graph)
            logger.info("%s", table(layers))
        write_onnx(proto, out)


def without_folders(value: Any) -> Any:
    """Return a provenance, or a part of one, in which paths of the machine are the names of their files.

    Example:
        >>> without_folders({"init_from": "/home/me/runs/a.safetensors", "source": "Qwen/Qwen3-VL-2B-Instruct"})
        {'init_from': 'a.safetensors', 'source': 'Qwen/Qwen3-VL-2B-Instruct'}
    """
    if isinstance(value, Mapping):
        return {key: without_folders(found) for key, found in value.items()}
    if isinstance(value, list):
        return [without_folders(found) for found in value]
    if isinstance(value, str) and _IS_PATH.match(value):
        return PureWindowsPath(value).name  # it takes both / and \\
    return value


def to_onnx(model: Aurora, spec: Spec) -> "ModelProto":
    """Convert a model to an ONNX graph whose metadata is the checkpoint's description.

    Inputs are `images` (B, H, W, 3) uint8 and, for every type of the checkpoint's tasks, `<type>_rows` (R,) int64, the
    image of each row; outputs are `<type>` (R, channels, ...) float32, and, if the model has it, `novelty` (B,). B may
    be any number from 1, and every R any number from 0. Weights that float16 represents exactly are stored as float16,
    and widened when the file is loaded.
    """
    task_types = [task_type for task_type in TYPES if of_type(spec.tasks, task_type)]
    images = torch.zeros((3, *spec.config.image_size, 3), dtype=torch.uint8)
    rows = tuple(torch.arange(2 + i % 2) for i in range(len(task_types)))
    dynamic = ({0: torch.export.Dim("images")}, tuple({0: torch.export.Dim(f"{name}_rows")} for name in task_types))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        network = _Positional(model, task_types)
        program = torch.onnx.export(
            network,
            (images, *rows),
            input_names=["images", *(f"{name}_rows" for name in task_types)],
            output_names=[str(name) for name in network.names],
            dynamic_shapes=dynamic,
            dynamo=True,
            opset_version=20,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    proto.model_version = ONNX_VERSION
    _allow_empty_rows(proto.graph)
    _store_as_half(proto.graph)
    _forget_sources(proto.graph)
    for key, value in spec.to_metadata().items():
        proto.metadata_props.add(key=key, value=value)
    return proto


def _forget_sources(graph: "GraphProto") -> None:
    """Remove what the exporter notes of each part of a graph, such as the files and lines of code on this machine."""
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def write_onnx(
    proto: "ModelProto", out: Path, *, max_embedded_bytes: int = MAX_EMBEDDED_BYTES, page_size: int = PAGE_SIZE
) -> None:
    """Write an ONNX graph to `out`, and enter its checksum in the folder's `SHA256SUMS`.

    If the graph has more than `max_embedded_bytes`, its tensors of at least `page_size` bytes are moved out of `proto`
    to another file, whose name is that of `out` and ".data".

    Raises:
        OutputError: a file can't be written.
    """
    tensors = files.tensors_file(out)
    with files.checksummed(out) as tmp:
        if proto.ByteSize() > max_embedded_bytes:
            with files.checksummed(tensors) as tensors_tmp, tensors_tmp.open("wb") as file:
                _move_tensors(proto.graph, file, tensors.name, page_size)
        else:
            files.forget_checksum(tensors)
            tensors.unlink(missing_ok=True)
        tmp.write_bytes(proto.SerializeToString())


def _allow_empty_rows(graph: "GraphProto") -> None:
    """Make reshapes copy the number of images or rows, which they can't infer if it is 0."""
    from onnx import numpy_helper

    sizes = {value.name: value.type.tensor_type.shape.dim for value in (*graph.value_info, *graph.output)}
    for node in graph.node:
        if node.op_type != "Reshape":
            continue
        before, after = (sizes.get(name, []) for name in (node.input[0], node.output[0]))
        if before and after and before[0].dim_param and before[0] == after[0]:
            shape = np.array([0, *(size.dim_value for size in after[1:])])
            if shape[1:].all():
                graph.initializer.append(numpy_helper.from_array(shape, f"{node.name}_shape"))
                node.input[1] = graph.initializer[-1].name
                del node.attribute[:]  # without `allowzero` a 0 copies
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _move_tensors(graph: "GraphProto", file: BinaryIO, name: str, page_size: int) -> None:
    """Move the graph's large tensors to `file`; the graph gets references to a file called `name` instead."""
    from onnx.external_data_helper import set_external_data

    for tensor in graph.initializer:
        if len(tensor.raw_data) < page_size:
            continue
        file.seek(-file.tell() % page_size, SEEK_CUR)
        set_external_data(tensor, name, offset=file.tell(), length=len(tensor.raw_data))
        file.write(tensor.raw_data)
        tensor.ClearField("raw_data")


def _store_as_half(graph: "GraphProto") -> None:
    """Store float32 constants that float16 represents exactly as float16, with a cast that the runtime folds."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        half = values.astype(np.float16)
        if values.size < 1024 or not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, name + "_half"))
        casts.append(helper.make_node("Cast", [name + "_half"], [name], to=TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])
