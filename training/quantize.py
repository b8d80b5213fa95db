"""Quantize an ONNX export to int8 with fixed ranges, so that an answer doesn't depend on what else is in the batch.

Convolutions and matrix products get int8 weights, one scale per output channel, and uint8 activations whose ranges are
those on calibration images. A range of 0 to 6 does what ReLU6 does, so the ReLU6 after a convolution is left out. The
layers that change the outputs most stay in float32.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort

from aurora.errors import InputError
from aurora.images.reader import ModelInput, load_model_input
from aurora.model.checkpoint import PRECISION
from aurora.runtime.hardware import processors
from aurora.runtime.prefetch import prefetch
from training.data.cases import Case, distinct_images

if TYPE_CHECKING:
    from onnx import ModelProto

logger = logging.getLogger("aurora.training")

#: Images that ranges are measured on, and other ones that the layers' errors are measured on.
CALIBRATION_IMAGES, CHECK_IMAGES = 128, 32
#: The share of the layers that stay in float32. docs/speed.md has the errors and rates of others.
KEPT_SHARE = 1 / 20
_BATCH = 8
_LAYERS = ("Conv", "MatMul", "Gemm")
_QUANTIZED = (*_LAYERS, "Clip")


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer, and what it does to the outputs if it alone is quantized.

    Attributes:
        name: the name of its node in the graph.
        errors: by output, the root of the squared error relative to the output's standard deviation.
        kept: whether it stays in float32.
    """

    name: str
    errors: Mapping[str, float]
    kept: bool


def calibration_images(cases: Sequence[Case], size: tuple[int, int]) -> np.ndarray:
    """Return images (N, H, W, 3), uint8, evenly taken from those of the cases that can be read.

    Raises:
        InputError: fewer than `CALIBRATION_IMAGES` + `CHECK_IMAGES` can be read.
    """
    wanted = CALIBRATION_IMAGES + CHECK_IMAGES

    def read(case: Case) -> ModelInput:
        return load_model_input(case.root, case.row, size)

    images = distinct_images(cases)
    places = np.linspace(0, len(images), min(wanted, len(images)), endpoint=False).astype(int)
    loaded = prefetch(read, [images[place] for place in places], 2 * _BATCH, processors(), low_priority=True)
    pixels = [image.pixels for image in loaded if image.pixels is not None]
    if len(pixels) < wanted:
        raise InputError(f"expected at least {wanted} images to calibrate on, found {len(pixels)}; give more --data")
    return np.stack(pixels)


def quantize(proto: "ModelProto", images: np.ndarray) -> tuple["ModelProto", list[Layer]]:
    """Return a graph in int8 with the same inputs, outputs and metadata, and what became of its layers, worst first.

    Args:
        proto: an export; see `training.export.to_onnx`.
        images: (CALIBRATION_IMAGES + CHECK_IMAGES, H, W, 3), uint8; one in five is used to measure errors.

    Example:
        >>> int8, layers = quantize(to_onnx(model, spec), calibration_images(cases, (192, 192)))  # doctest: +SKIP
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, create_calibrator
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.shape_inference import quant_pre_process

    names = [value.name for value in proto.graph.input]
    check = np.arange(len(images)) % (len(images) // CHECK_IMAGES) == 0

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = _feeds(images[~check], names)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    with TemporaryDirectory() as folder:
        source, plain, ranged = (Path(folder) / f"{name}.onnx" for name in ("source", "plain", "ranged"))
        source.write_bytes(proto.SerializeToString())
        quant_pre_process(source, plain, skip_symbolic_shape=True)
        calibrator = create_calibrator(plain, _QUANTIZED, str(ranged))
        calibrator.collect_data(Reader())
        ranges = calibrator.compute_data()

        def quantized(*, only: Sequence[str] = (), without: Sequence[str] = ()) -> "ModelProto":
            quantizer = QDQQuantizer(
                onnx.load(plain),
                per_channel=True,
                reduce_range=False,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QUInt8,
                tensors_range=ranges,
                nodes_to_quantize=list(only),
                nodes_to_exclude=list(without),
                op_types_to_quantize=list(_QUANTIZED),
                extra_options={},
            )
            quantizer.quantize_model()
            model: ModelProto = quantizer.model.model
            return model

        (feed,) = _feeds(images[check], names, batch=CHECK_IMAGES)
        outputs = [value.name for value in proto.graph.output]
        expected = _run(onnx.load(plain), feed)
        nodes = onnx.load(plain).graph.node
        clips = {node.input[0]: node.name for node in nodes if node.op_type == "Clip"}
        layers = []
        for node in nodes:
            if node.op_type in _LAYERS:
                alone = [name for name in (node.name, clips.get(node.output[0])) if name]
                errors = _errors(expected, _run(quantized(only=alone), feed))
                layers.append((node.name, dict(zip(outputs, errors, strict=True))))
        layers.sort(key=lambda layer: -sum(layer[1].values()))
        kept = round(KEPT_SHARE * len(layers))
        result = quantized(without=[name for name, _ in layers[:kept]])
    del result.metadata_props[:]
    result.metadata_props.extend(proto.metadata_props)
    result.metadata_props.add(key=PRECISION, value="int8")
    return result, [Layer(name, errors, place < kept) for place, (name, errors) in enumerate(layers)]


def _feeds(images: np.ndarray, names: Sequence[str], batch: int = _BATCH) -> Iterator[dict[str, np.ndarray]]:
    """Yield the inputs of batches in which every image has a row of every type."""
    for begin in range(0, len(images), batch):
        part = images[begin : begin + batch]
        rows = np.arange(len(part))
        yield {name: part if name == "images" else rows for name in names}


def _run(proto: "ModelProto", feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = processors()
    return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, feed)


def _errors(expected: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> list[float]:
    return [
        float(np.linalg.norm(other - one) / (np.linalg.norm(one - one.mean()) + 1e-12))
        for one, other in zip(expected, found, strict=True)
    ]


def table(layers: Sequence[Layer]) -> str:
    """Return a line per layer: its error in each output if it alone is quantized, and whether it is kept."""
    names = list(layers[0].errors)
    lines = [f"{'layer':<20}" + "".join(f"{name:>16}" for name in names)]
    for layer in layers:
        errors = "".join(f"{layer.errors[name]:>16.4f}" for name in names)
        lines.append(f"{layer.name:<20}{errors}  {'float32' if layer.kept else 'int8'}")
    return "\n".join(lines)
