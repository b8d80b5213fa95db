"""Compare what the engines predict on the device with ONNX Runtime on the CPU."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from aurora.engine.base import Engine, EngineName
from aurora.engine.pytorch import ModuleEngine, TorchEngine
from aurora.engine.select import default_weights, open_engine
from aurora.kinds import Prediction, Record
from aurora.model import checkpoint
from aurora.predict.pipeline import predictions, read_from
from aurora.predict.request import Job, request_of
from aurora.rows import read_rows
from aurora.runtime.hardware import open_device, peak_memory
from aurora.tasks import TaskType
from training.bench.gpu.part import Disagreement, Figure, Setup, require_provider
from training.bench.model import read_batches


def float32(setup: Setup) -> list[Figure]:
    """Compare PyTorch in float32 with ONNX Runtime on the CPU."""
    model, spec = checkpoint.load(default_weights())
    return agreement(setup, ModuleEngine(model.to(open_device(setup.device)), spec), limit=0.001)


def bfloat16(setup: Setup) -> list[Figure]:
    """Compare PyTorch in bfloat16 with ONNX Runtime on the CPU."""
    model, spec = checkpoint.load(default_weights())
    device = open_device(setup.device)
    return agreement(setup, ModuleEngine(model.to(device), spec, autocast=True), limit=0.01)


def onnx(setup: Setup) -> list[Figure]:
    """Compare ONNX Runtime on the device with ONNX Runtime on the CPU."""
    return agreement(setup, _onnx_engine(setup, "onnx", "CUDA"), limit=0.001)


def tensorrt(setup: Setup) -> list[Figure]:
    """Compare TensorRT with ONNX Runtime on the CPU."""
    return agreement(setup, _onnx_engine(setup, "tensorrt", "Tensorrt"), limit=0.001)


def _onnx_engine(setup: Setup, name: EngineName, provider: str) -> Engine:
    require_provider("CPU" if setup.small and name == "onnx" else provider)
    return open_engine(None, name, setup.device)


def agreement(setup: Setup, engine: Engine, limit: float) -> list[Figure]:
    """Compare an engine's predictions of the phantoms with those of ONNX Runtime on the CPU.

    Raises `Disagreement` if more than `limit` of the masks' pixels, or ten times that share of the rows, differ.
    """
    require_provider("CPU")
    expected, found = (_predict(setup, one) for one in (open_engine(None, "onnx", "cpu"), engine))
    pairs = list(zip(expected, found, strict=True))
    masks = [(a, b) for a, b in pairs if isinstance(a, np.ndarray)]
    pixels = sum(np.count_nonzero(a != b) for a, b in masks) / sum(a.size for a, _ in masks)
    gaps = np.array([np.abs(_numbers(a) - _numbers(b)).max() for a, b in pairs if isinstance(a, Record)])
    rows = float((gaps > 0.01).mean())
    figures = [
        Figure("mask pixels that differ", 100 * pixels, "%"),
        Figure("other rows that differ by more than 0.01", 100 * rows, "%"),
        Figure("median difference of probabilities and fractions of the image", float(np.median(gaps)), "1"),
        Figure("largest difference of probabilities and fractions of the image", float(gaps.max()), "1"),
    ]
    if pixels > limit or rows > 10 * limit:
        raise Disagreement(
            f"expected at most {limit:.1%} of mask pixels and {10 * limit:.0%} of other rows to differ from ONNX "
            f"Runtime on the CPU, found {pixels:.2%} and {rows:.1%}",
            figures,
        )
    return figures


def _predict(setup: Setup, engine: Engine) -> list[Prediction]:
    jobs = [Job([request_of(row, engine.spec.tasks)]) for row in read_rows(setup.phantoms).rows]
    read = read_from(setup.phantoms, engine)
    return list(predictions(engine, jobs, read, engine.batch_size, lambda predicted: predicted.prediction))


def _numbers(record: Any) -> np.ndarray:
    """Return a record's probabilities, or its coordinates in fractions of the image."""
    lists = [v for name, v in record.model_dump().items() if isinstance(v, list) and not name.endswith("_pixels")]
    return np.concatenate([np.array(values, dtype=float) for values in lists])


def streams(setup: Setup) -> list[Figure]:
    """Compare batches from one thread with batches from two, which on a GPU have a stream each."""
    engine = TorchEngine(default_weights(), setup.device)
    batches = read_batches(setup.phantoms, engine)[:2] * (2 if setup.small else 40)

    def run(threads: int) -> tuple[list[dict[TaskType, np.ndarray]], float]:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda batch: engine.run(*batch), batches[:4]))  # warms up each thread's stream
            start = time.perf_counter()
            outputs = list(pool.map(lambda batch: engine.run(*batch), batches))
            return outputs, sum(len(images) for images, _ in batches) / (time.perf_counter() - start)

    (one, alone), (two, together) = run(1), run(2)
    gap = max(float(np.abs(a[name] - b[name]).max()) for a, b in zip(one, two, strict=True) for name in a)
    size = max(float(np.abs(output).max()) for outputs in one for output in outputs.values())
    figures = [
        Figure("one thread", alone, "images/s"),
        Figure("two threads", together, "images/s"),
        Figure("largest difference of outputs", gap, "1"),
        Figure("largest output", size, "1"),
        Figure("peak memory", peak_memory(engine.device) / 1e6, "MB"),
    ]
    if gap > 0.02 * size:
        raise Disagreement("expected the same outputs from one and two threads, found others", figures)
    return figures
