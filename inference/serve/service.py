"""The model behind the HTTP interface: single images, and whole folders as the challenge's platform asks for them."""

import asyncio
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np

from aurora.api.cine import frames_of
from aurora.api.images import temporary_file
from aurora.api.model import Model, load
from aurora.api.results import MaskResult, Result
from aurora.engine.base import EngineName
from aurora.errors import ImageError, UsageError
from aurora.images import encode_mask
from aurora.images.cine import frame_numbers, open_cine
from aurora.runtime.cli import ShutdownRequest
from inference import run
from inference.plan import RunSettings
from inference.serve.metrics import Metrics

#: The predictions that may wait or be computed at once; more are refused.
WAITING = 64
#: The most frames that one request may choose.
MAX_FRAMES = 600
_JPEG_QUALITY = 90


class LoadingError(Exception):
    """The weights are still being loaded."""


class BusyError(Exception):
    """Too many predictions wait, or another invocation is running."""


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """The settings of `inference serve`, one per flag, whose help explains them."""

    input: Path
    output: Path
    host: str = "127.0.0.1"
    port: int = 4743
    weights: Path | None = None
    revision: str | None = None
    engine: EngineName | None = None
    device: str = "auto"
    token: str | None = None


class Service:
    """A model that is loaded in the background, and everything that it answers.

    Attributes:
        model: the model; None until it is loaded.
        metrics: what has been counted.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.model: Model | None = None
        self.metrics = Metrics(lambda: self.model.stage_seconds if self.model else {})
        self._waiting, self._counting = 0, Lock()
        self._invoking = Lock()

    def load(self) -> None:
        """Load and verify the weights; raise `AuroraError` if they can't be used."""
        settings = self.settings
        self.model = load(settings.weights, revision=settings.revision, engine=settings.engine, device=settings.device)

    async def predict(
        self, image: bytes, tasks: list[str], pixel_size: float | None, *, picture: bool
    ) -> list[dict[str, Any]]:
        """Predict one image for some tasks; return their records, masks as PNG in base64.

        Args:
            image: the content of a file.
            tasks: the ids of the tasks.
            pixel_size: the side of a pixel in mm; None for what the file says.
            picture: whether the first record also has the image as JPEG in base64, as it is shown.

        Raises:
            BusyError: too many predictions wait.
            UsageError: the weights don't know a task, or one is named twice.
            ImageError: the image can't be read.
        """
        self._require_place()
        _require_different(tasks)
        self._count(1)
        try:
            # The submission itself checks tasks only; everything else runs in the threads of the queue.
            use = partial(_records, picture=picture, require=True)
            return await asyncio.wrap_future(self.loaded().submit_for(use, image, tasks, pixel_size=pixel_size))
        finally:
            self._count(-1)

    def predict_frames(
        self, content: bytes, tasks: list[str], which: str, pixel_size: float | None, *, picture: bool
    ) -> Iterator[dict[str, Any]]:
        """Predict frames of a file; yield for each its number, the file's number of frames and rate, and the records.

        Args:
            content: the content of the file.
            tasks: the ids of the tasks.
            which: the frames, as `aurora.frames` takes them.
            pixel_size: see `predict`.
            picture: see `predict`, for each frame.

        Raises:
            BusyError: too many predictions wait.
            UsageError: the weights don't know a task, one is named twice, or `which` names no frames or too many.
            ImageError: the file has no frames.
        """
        self._require_place()
        _require_different(tasks)
        self._count(1)
        try:
            with temporary_file(content) as name:
                cine = open_cine(Path(name))
                numbers = frame_numbers(which, cine)
                if not 0 < len(numbers) <= MAX_FRAMES:
                    raise UsageError(
                        f"expected frames that choose from 1 to {MAX_FRAMES} of the {cine.count} in the file, found "
                        f"{which!r}, which chooses {len(numbers)}; choose others, such as every:10"
                    )
                frames = frames_of(cine, numbers)
                for results in self.loaded().predict_many(frames, tasks, pixel_size=pixel_size):
                    found = {"frame": results[0].frame, "frames": cine.count, "fps": cine.fps}
                    yield found | {"results": _records(results, picture=picture)}
        finally:
            self._count(-1)

    def invoke(self) -> str:
        """Predict the input folder into the output folder, as `inference run` does; return its last line.

        Raises:
            BusyError: another invocation is running.
            AuroraError: the input or the output can't be used.
        """
        if not self._invoking.acquire(blocking=False):
            raise BusyError("expected one invocation at a time, found another one running; wait for its response")
        try:
            settings = RunSettings(self.settings.input, self.settings.output)
            result = run.predict(settings, self.loaded().engine, ShutdownRequest())
            return result.summary.splitlines()[-1]
        finally:
            self._invoking.release()

    def loaded(self) -> Model:
        """Return the model; raise `LoadingError` until it is loaded."""
        if self.model is None:
            raise LoadingError("the weights are still being loaded; try again in a second")
        return self.model

    def _require_place(self) -> None:
        if self._waiting >= WAITING:
            self.metrics.refused.inc()
            raise BusyError(f"{WAITING} images are waiting already; try again in a second")

    def _count(self, change: int) -> None:
        with self._counting:
            self._waiting += change
        self.metrics.waiting.set(self._waiting)


def _require_different(tasks: list[str]) -> None:
    for task, count in Counter(tasks).items():
        if count > 1:
            raise UsageError(f"expected each task once, found {task} {count} times")


def _records(results: Iterable[Result], *, picture: bool, require: bool = False) -> list[dict[str, Any]]:
    """Return the records of an image; if they are required, raise `ImageError` for one that can't be read."""
    records: list[dict[str, Any]] = []
    for result in results:
        if require and result.fallback is not None:
            raise ImageError(result.fallback, result.source)
        record = result.to_record() | {"answer": result.answer, "source": None}
        if isinstance(result, MaskResult) and result.fallback is None:
            record["mask_png"] = b64encode(encode_mask(result.mask, "mask.png")).decode()
        if picture and not records and result.fallback is None:
            record["picture_jpeg"] = b64encode(_jpeg(result.image().pixels)).decode()
        records.append(record)
    return records


def _jpeg(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", pixels[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))[1].tobytes()
