"""Measure encoders and whole runs on the device."""

from dataclasses import replace

from aurora.engine.base import EngineName
from aurora.engine.select import default_weights
from aurora.model.config import PRESETS
from aurora.runtime.hardware import open_device
from training.bench.encoder_cost import matmul_rate, measure
from training.bench.gpu.part import Figure, Setup, require_provider
from training.bench.inputs import many_rows
from training.bench.runs import Subject, time_model, time_run


def encoder(setup: Setup, preset: str) -> list[Figure]:
    """Measure a preset's encoder with random weights at 448 pixels, or two of its blocks in a rehearsal."""
    device, config = open_device(setup.device), PRESETS[preset].encoder
    side, batch = (64, 2) if setup.small else (448, 16)
    config = replace(config, depth=2) if setup.small else config
    ceiling = matmul_rate(device)
    figures = [
        Figure("image", side, "px"),
        Figure("batch", batch, "images"),
        Figure("matrix product", ceiling / 1e12, "TFLOP/s"),
    ]
    for work, speed in measure(config, (side, side), device, batch, ceiling).items():
        figures += [
            Figure(work, speed.images_per_second, "images/s"),
            Figure(f"{work}, share of the matrix product", 100 * speed.share_of_ceiling, "%"),
            Figure(f"{work}, peak memory", speed.peak_memory / 1e6, "MB"),
        ]
    return figures


def whole_run(setup: Setup, engine: EngineName) -> list[Figure]:
    """Measure `inference run` and the model alone."""
    if engine == "onnx":
        require_provider("CPU" if setup.small else "CUDA")
    root = setup.folder / f"many-{engine}"
    many_rows(setup.phantoms, root, 27 if setup.small else 4000)
    subject = Subject(engine, setup.device, default_weights())
    alone, run = time_model(subject, root), time_run(subject, root)
    inside = run.rows / run.at_work
    return [
        Figure("rows", run.rows, "rows"),
        Figure("whole process", run.rows / run.seconds, "rows/s"),
        Figure("from the first image to the last prediction", inside, "rows/s"),
        Figure("model alone", alone["rows_per_second"], "rows/s"),
        Figure("share of the model alone", 100 * inside / alone["rows_per_second"], "%"),
        Figure("processors used", run.processor_seconds / run.seconds, "processors"),
        Figure("peak memory of the process", run.peak_memory / 1e6, "MB"),
    ]
