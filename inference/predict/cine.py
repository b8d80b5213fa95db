"""Write what was predicted of a cine: the masks of its frames, and for each task a video and a picture of curves."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from aurora.api.results import MaskResult, Result
from aurora.errors import Stopped
from aurora.images import ImageSlice, encode_mask
from aurora.render.drawing import write
from aurora.runtime.c_stderr import caught_stderr
from inference.output.folder import PART, OutputFolder
from inference.predict.selection import Selection
from inference.predict.series import by_task, series_of, shown
from inference.render.curves import draw_curves

logger = logging.getLogger("aurora.inference")

# MPEG-4: OpenCV writes 336 frames of 600x800 per second on one core, of VP8 11 and of VP9 3.
_CODEC, _ENDING = "mp4v", ".mp4"
#: Frames per second of a video where the source doesn't say it.
FPS = 25.0


def save_cine(
    folder: OutputFolder,
    selection: Selection,
    groups: Iterable[list[Result]],
    tasks: Sequence[str],
    save: Sequence[str],
) -> list[dict[str, Any]]:
    """Write the masks, videos and curves of a cine, and return the records of its frames.

    Args:
        folder: the output folder.
        selection: the frames.
        groups: for each frame its results, one per task; they are taken one after another and not kept.
        tasks: the tasks' ids.
        save: the parts to write.

    Raises:
        Stopped: there are results for some of the frames only; no video is left.
    """
    records: list[dict[str, Any]] = []
    digits = max(4, len(str(selection.numbers[-1])))
    stems = [selection.source.stem(task) for task in tasks]
    with ExitStack() as stack:
        names = [f"overlays/{stem}{_ENDING}" for stem in stems] if "overlays" in save else []
        videos = [stack.enter_context(OverlayVideo(folder, name, selection.fps or FPS)) for name in names]
        for results in groups:
            for stem, result in zip(stems, results, strict=True):
                record = result.to_record() | {"answer": result.answer}
                if "masks" in save and isinstance(result, MaskResult):
                    record["mask"] = f"masks/{stem}/{result.frame:0{digits}}.png"
                    folder.write(record["mask"], encode_mask(result.mask, record["mask"]))
                if "nifti" in save and isinstance(result, MaskResult):
                    record["nifti"] = f"nifti/{stem}/{result.frame:0{digits}}.nii.gz"
                    image = ImageSlice(selection.source.path, selection.source.path.parent, result.frame)
                    folder.write(record["nifti"], encode_mask(result.mask, record["nifti"], image))
                records.append(record)
            for video, result in zip(videos, results, strict=False):
                video.add(result)
        if len(records) < len(selection.numbers) * len(tasks):
            raise Stopped("a signal came before the last frame")
    found = dict(zip(stems, by_task(records).values(), strict=True))
    if "overlays" in save:
        _name_in(found, "video", dict(zip(stems, names, strict=True)))
    if "curves" in save:
        _name_in(found, "curve", _save_curves(folder, selection, found))
    return records


def _name_in(found: Mapping[str, list[dict[str, Any]]], key: str, names: Mapping[str, str]) -> None:
    for stem, records in found.items():
        for record in records:
            record[key] = names.get(stem)


def _save_curves(
    folder: OutputFolder, selection: Selection, found: Mapping[str, list[dict[str, Any]]]
) -> dict[str, str]:
    """Write a picture of curves for each task whose records `found` has; return the pictures' names by those keys."""
    fps = selection.cine.fps if selection.cine else None
    names = {}
    for stem, records in found.items():
        if series := shown(series_of(records)):
            title = f"{selection.source.path.name}, {records[0]['task']}"
            names[stem] = f"curves/{stem}.svg"
            folder.write(names[stem], draw_curves(title, series, selection.numbers, fps))
    return names


class OverlayVideo:
    """A video of predictions drawn on their frames, written frame by frame.

    Its size is that of the first frame with a prediction, made even by repeating the last row or column. A frame
    without a prediction is black and says why.

    Args:
        folder: the output folder.
        name: the file's name in it.
        fps: frames per second.
    """

    def __init__(self, folder: OutputFolder, name: str, fps: float) -> None:
        self.fps = fps
        self._written = folder.written(name, f".{Path(name).stem}{PART}{Path(name).suffix}")
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._missing: list[Result] = []

    def __enter__(self) -> "OverlayVideo":
        self._path = self._written.__enter__()
        return self

    def add(self, result: Result) -> None:
        """Append a frame."""
        if result.fallback is not None:
            self._missing.append(result)
            if self._writer is None:
                return  # the size isn't known yet
        else:
            picture = result.overlay()
            if self._writer is None:
                self._open(picture)
        for missing in self._missing:
            self._write(_notice(missing, self._size))
        self._missing.clear()
        if result.fallback is None:
            self._write(picture)

    def _open(self, picture: np.ndarray) -> None:
        height, width = picture.shape[:2]
        self._size = (width + width % 2, height + height % 2)
        code = cv2.VideoWriter.fourcc(*_CODEC)
        with caught_stderr():
            self._writer = cv2.VideoWriter(str(self._path), cv2.CAP_FFMPEG, code, self.fps, self._size)
        if not self._writer.isOpened():
            logger.warning("no video is written, because this OpenCV has no encoder for MPEG-4")

    def _write(self, picture: np.ndarray) -> None:
        assert self._writer is not None
        width, height = self._size
        down, right = height - picture.shape[0], width - picture.shape[1]
        if {down, right} <= {0, 1}:
            picture = cv2.copyMakeBorder(picture, 0, down, 0, right, cv2.BORDER_REPLICATE)
        else:  # the pages of a file may differ in size
            picture = cv2.resize(picture, self._size)
        self._writer.write(np.ascontiguousarray(picture[..., ::-1]))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.release()
        self._written.__exit__(kind, error, trace)


def _notice(result: Result, size: tuple[int, int]) -> np.ndarray:
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    write(picture, f"frame {result.frame}: {result.fallback}", (8, size[1] // 2))
    return picture
