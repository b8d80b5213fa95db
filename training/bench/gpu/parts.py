"""The parts of the check of a GPU; each measures one thing, in a process of its own.

`python -m training.bench.gpu.parts PART DEVICE FOLDER` writes FOLDER/PART.json.
"""

import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from aurora.rows import read_rows
from aurora.runtime.hardware import library_versions, open_device, processors
from training.bench.encoder_cost import matmul_rate
from training.bench.gpu.agreement import bfloat16, float32, onnx, streams, tensorrt
from training.bench.gpu.learning import distributed, fit
from training.bench.gpu.part import Disagreement, Figure, Setup, Skipped, run_training
from training.bench.gpu.speed import encoder, whole_run


def versions(setup: Setup) -> list[Figure]:
    """Name the device, the driver and the libraries; raise `DeviceError` if PyTorch doesn't find the device."""
    device = open_device(setup.device)
    figures = [Figure("Python", platform.python_version()), Figure("processors", processors(), "processors")]
    figures += [Figure(name, version) for name, version in library_versions().items()]
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        figures += [
            Figure("device", properties.name),
            Figure("memory", properties.total_memory / 1e9, "GB"),
            Figure("multiprocessors", properties.multi_processor_count, "multiprocessors"),
            Figure("compute capability", f"{properties.major}.{properties.minor}"),
            Figure("driver", _driver()),
            Figure("CUDA of PyTorch", str(torch.version.cuda)),
            Figure("cuDNN", str(torch.backends.cudnn.version())),
            Figure("NCCL", ".".join(map(str, torch.cuda.nccl.version()))),
        ]
    return [*figures, Figure("bfloat16 matrix product", matmul_rate(device) / 1e12, "TFLOP/s")]


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.splitlines()[0]


def phantoms(setup: Setup) -> list[Figure]:
    """Draw the phantoms that the other parts use."""
    start = time.perf_counter()
    run_training("phantom", "--out", str(setup.phantoms), "--cases", "1" if setup.small else "8", "--seed", "0")
    return [Figure("drawing", len(list(read_rows(setup.phantoms).rows)) / (time.perf_counter() - start), "images/s")]


#: The function of every part in `training.bench.gpu_check.PARTS`.
FUNCTIONS: dict[str, Callable[[Setup], list[Figure]]] = {
    "versions": versions,
    "phantoms": phantoms,
    "agreement-float32": float32,
    "agreement-bfloat16": bfloat16,
    "agreement-onnx": onnx,
    "agreement-tensorrt": tensorrt,
    "streams": streams,
    "fit": fit,
    "distributed": distributed,
    "encoder-tiny": partial(encoder, preset="tiny"),
    "encoder-2b": partial(encoder, preset="qwen3-vl-2b"),
    "encoder-8b": partial(encoder, preset="qwen3-vl-8b"),
    "run-torch": partial(whole_run, engine="torch"),
    "run-onnx": partial(whole_run, engine="onnx"),
}


def main(name: str, device: str, folder: Path) -> None:
    """Run a part and write its status, reason and figures."""
    status, reason, figures = "ok", "", []
    try:
        figures = FUNCTIONS[name](Setup(device, folder))
    except Skipped as skipped:
        status, reason = "skipped", str(skipped)
    except Disagreement as disagreement:
        status, reason, figures = "failed", str(disagreement), list(disagreement.figures)
    result = {"status": status, "reason": reason, "figures": [figure._asdict() for figure in figures]}
    (folder / f"{name}.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
