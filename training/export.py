"""A checkpoint in the forms that are shipped, ONNX for ONNX Runtime and float16 at half the size."""

import logging
import warnings
from os import SEEK_CUR
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import torch
from torch import Tensor, nn

from aurora.errors import WeightsError
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.checkpoint import ONNX_VERSION, Spec
from aurora.runtime import files
from aurora.tasks import TaskType, of_type

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

#: A graph of more bytes than this is stored without its tensors; at 2 GB protobuf's own limit would end it.
MOST_INSIDE = 500_000_000
PAGE = 4096


class _Positional(nn.Module):
    """The model with plain tensors in and out, as a graph needs it."""

    def __init__(self, model: Aurora, kinds: list[TaskType]) -> None:
        super().__init__()
        self.model, self.kinds = model, kinds

    def forward(self, images: Tensor, *rows: Tensor) -> tuple[Tensor, ...]:
        outputs = self.model(images, dict(zip(self.kinds, rows, strict=True)))
        return tuple(outputs[kind] for kind in self.kinds)


def export(weights: Path, out: Path) -> None:
    """Write `weights` to `out` as ONNX, or, if `out` ends in .safetensors, as a checkpoint in float16.

    The tensors of a large model go to a file of their own beside `out`, its name and ".data". Checksums are entered in
    the `SHA256SUMS` beside `out`. Raises `WeightsError` for unusable weights, and for those that answer no task.
    """
    model, spec = checkpoint.load(weights)
    if not spec.tasks:
        raise WeightsError(
            f"expected weights that answer tasks, found none in {weights}; train some first with "
            f"'python -m training fit' and start={weights}"
        )
    if out.suffix == ".safetensors":
        checkpoint.save(out, model, spec.provenance, half=True)
        return
    proto, tensors = to_onnx(model, spec), files.tensors_file(out)
    with files.checksummed(out) as beside:
        if proto.ByteSize() > MOST_INSIDE:
            with files.checksummed(tensors) as beside_tensors, beside_tensors.open("wb") as file:
                _move_tensors(proto.graph, file, tensors.name)
        else:
            files.forget_checksum(tensors)
            tensors.unlink(missing_ok=True)
        beside.write_bytes(proto.SerializeToString())


def to_onnx(model: Aurora, spec: Spec) -> "ModelProto":
    """The model as an ONNX graph that bears the checkpoint's description.

    The graph takes `images` (B, H, W, 3) uint8 and, for every type that the checkpoint answers,
    `<type>_rows` (R,) int64, the image of each row; it gives `<type>` (R, channels, ...) float32. B is free but at
    least 1, and so is every R, where 0 means that the type's head has nothing to compute. Weights that float16 holds
    exactly are stored as float16 and widened when the file is loaded.
    """
    kinds = [kind for kind in TaskType if of_type(spec.tasks, kind)]
    images = torch.zeros((3, *spec.config.image_size, 3), dtype=torch.uint8)
    rows = tuple(torch.arange(2 + i % 2) for i in range(len(kinds)))
    dynamic = ({0: torch.export.Dim("images")}, tuple({0: torch.export.Dim(f"{kind}_rows")} for kind in kinds))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _Positional(model, kinds),
            (images, *rows),
            input_names=["images", *(f"{kind}_rows" for kind in kinds)],
            output_names=[str(kind) for kind in kinds],
            dynamic_shapes=dynamic,
            dynamo=True,
            opset_version=20,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    proto.model_version = ONNX_VERSION
    _bear_no_rows(proto.graph)
    _halve(proto.graph)
    for key, value in spec.to_metadata().items():
        proto.metadata_props.add(key=key, value=value)
    return proto


def _bear_no_rows(graph: "GraphProto") -> None:
    """Make reshapes copy the number of images or rows, which they can't infer where it is 0."""
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


def _move_tensors(graph: "GraphProto", file: BinaryIO, name: str) -> None:
    """Write the graph's tensors to `file`, which will be called `name`, and leave in the graph where they lie."""
    from onnx.external_data_helper import set_external_data

    for tensor in graph.initializer:
        if len(tensor.raw_data) < PAGE:
            continue
        file.seek(-file.tell() % PAGE, SEEK_CUR)  # at whole pages, so that the runtime can map them into memory
        set_external_data(tensor, name, offset=file.tell(), length=len(tensor.raw_data))
        file.write(tensor.raw_data)
        tensor.ClearField("raw_data")


def _halve(graph: "GraphProto") -> None:
    """Store float32 constants that are exact in float16 as float16, with a cast that the runtime folds."""
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
