"""A service with small weights, in this process and in one of its own."""

import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from support.small_weights import TASKS, save_small_weights

from training.phantom import generate


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights for one task of each type."""
    return save_small_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An input folder with three images of each task."""
    root = tmp_path_factory.mktemp("cases") / "input"
    generate(root, cases=3, seed=1, tasks=list(TASKS), size_scale=0.4, split="test")
    return root


@pytest.fixture(scope="session")
def scan() -> bytes:
    """A PNG file of 60 x 80 pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80)).astype(np.uint8)
    return cv2.imencode(".png", cv2.GaussianBlur(pixels, (0, 0), 3))[1].tobytes()


@pytest.fixture(scope="session")
def animation() -> bytes:
    """A GIF file of five frames of 60 x 80 pixels."""
    y, x = np.mgrid[:60, :80]
    frames = [Image.fromarray(np.uint8(200 * (np.hypot(x - 40, y - 30) < 10 + 3 * step))) for step in range(5)]
    content = BytesIO()
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:], duration=40)
    return content.getvalue()


@contextmanager
def running(*flags: object) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start `inference serve`; yield its address, once it is ready, and its process. If it ends, fail with its log."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "inference", "serve", "--port", str(port), *map(str, flags)]
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            for _ in range(600):
                if process.poll() is not None:
                    log.seek(0)
                    raise AssertionError(log.read())
                with suppress(OSError), urllib.request.urlopen(f"{address}/health"):
                    break
                time.sleep(0.05)
            yield address, process
        finally:
            process.kill()
            process.wait()
