"""Pictures of answers: the first case of every task with its answer drawn on it, on one sheet."""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from aurora.answers import Answer, ClassificationAnswer, DetectionAnswer, RegressionAnswer
from aurora.errors import ImageError, OutputError
from aurora.images import read_image
from aurora.rows import Row, image_file

TILE = 220
CAPTION = 22
COLUMNS = 6
# RGB, told apart also with a colour-vision deficiency (Okabe and Ito, 2008).
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167))


@dataclass(slots=True)
class Preview:
    """Collects the first answer of every task and draws them when the run is done."""

    folder: Path
    root: Path
    first: dict[str, tuple[Row, Answer]] = field(default_factory=dict)

    def offer(self, row: Row, answer: Answer) -> None:
        """Keep the answer if it is the first of its task."""
        self.first.setdefault(row.task_id, (row, answer))

    def write(self) -> Path:
        """Draw the sheet; returns where it lies. Raises `OutputError` if it can't be written."""
        tiles = [tile(row, answer, self._pixels(row)) for row, answer in self.first.values()]
        blank = np.zeros_like(tiles[0]) if tiles else np.zeros((TILE + CAPTION, TILE, 3), np.uint8)
        columns = min(COLUMNS, max(len(tiles), 1))
        tiles += [blank] * (-len(tiles) % columns)
        rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
        path = self.folder / "preview.png"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode(".png", np.vstack(rows or [blank])[..., ::-1])[1].tobytes())
        except OSError as error:
            raise OutputError(f"can't write {path}: {error.strerror}; name another folder with --preview") from error
        return path

    def _pixels(self, row: Row) -> np.ndarray:
        try:
            return read_image(image_file(self.root, row), self.root).pixels
        except ImageError:
            return np.zeros((TILE, TILE, 3), np.uint8)


def tile(row: Row, answer: Answer, pixels: np.ndarray) -> np.ndarray:
    """One case (TILE + CAPTION, TILE, 3) RGB: the image, the answer on it, the task's name below."""
    height, width = pixels.shape[:2]
    scale = TILE / max(height, width)
    shown = cv2.resize(pixels, (max(1, round(width * scale)), max(1, round(height * scale))))
    text = draw(shown, answer, scale)
    canvas = np.zeros((TILE + CAPTION, TILE, 3), np.uint8)
    canvas[: shown.shape[0], : shown.shape[1]] = shown
    caption = f"{row.task_id} {text}".encode("ascii", "replace").decode()
    cv2.putText(canvas, caption, (3, TILE + 15), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return canvas


def draw(shown: np.ndarray, answer: Answer, scale: float) -> str:
    """Draw an answer on (h, w, 3) RGB, `scale` times the original; returns what the caption adds."""
    if isinstance(answer, np.ndarray):
        for label in range(1, int(answer.max()) + 1):
            region = cv2.resize((answer == label).astype(np.uint8), shown.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            contours, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(shown, contours, -1, COLOURS[(label - 1) % len(COLOURS)], 2)
        return ""
    if isinstance(answer, ClassificationAnswer):
        return f"= {answer.predicted_class} ({max(answer.predicted_probs):.0%})"
    if isinstance(answer, DetectionAnswer):
        x1, y1, x2, y2 = (round(value * scale) for value in answer.bbox_pixels)
        cv2.rectangle(shown, (x1, y1), (x2, y2), COLOURS[0], 2)
        return ""
    assert isinstance(answer, RegressionAnswer)
    points = np.reshape(answer.predicted_points_pixels, (-1, 2))
    for index, (x, y) in enumerate(points):
        place, colour = (round(x * scale), round(y * scale)), COLOURS[index % len(COLOURS)]
        cv2.drawMarker(shown, place, colour, cv2.MARKER_CROSS, 14, 2)
    return ""
