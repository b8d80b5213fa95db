"""Answers and labels drawn on their images."""

from collections.abc import Sequence

import cv2
import numpy as np

from aurora.kinds import Drawing

Colour = tuple[int, int, int]
# RGB, told apart also with a colour-vision deficiency (Okabe and Ito, 2008).
COLOURS: tuple[Colour, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
LINE = 2
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.4
_BAR, _BAR_LENGTH, _BARS = 14, 60, 4


def fitted(pixels: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """An image (H, W, 3) enlarged or reduced to `side` at its longer side, as a copy, and the factor."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(pixels), size, interpolation=kind), scale


def draw(shown: np.ndarray, drawing: Drawing, scale: float, colours: Sequence[Colour] = COLOURS) -> None:
    """Draw a label or a prediction on (h, w, 3) RGB, which is `scale` times the original image."""
    if drawing.mask is not None:
        draw_mask(shown, drawing.mask, colours)
    if drawing.box is not None:
        draw_box(shown, drawing.box, scale, colours[0])
    if drawing.points is not None:
        draw_points(shown, drawing.points, scale, colours)
    if drawing.probabilities is not None:
        draw_classes(shown, drawing.probabilities)


def draw_mask(shown: np.ndarray, mask: np.ndarray, colours: Sequence[Colour] = COLOURS) -> None:
    """Outline every class of a mask (H, W) but background on (h, w, 3) RGB, the same image at another size."""
    for label in range(1, int(mask.max(initial=0)) + 1):
        region = cv2.resize((mask == label).astype(np.uint8), shown.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        contours, _ = cv2.findContours(region, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(shown, contours, -1, colours[(label - 1) % len(colours)], LINE)


def draw_box(shown: np.ndarray, box: Sequence[float], scale: float, colour: Colour = COLOURS[0]) -> None:
    """Draw a box x1, y1, x2, y2, in pixels of the original, on (h, w, 3) RGB, `scale` times the original."""
    x1, y1, x2, y2 = (round(value * scale) for value in box)
    cv2.rectangle(shown, (x1, y1), (x2, y2), colour, LINE)


def draw_points(shown: np.ndarray, points: np.ndarray, scale: float, colours: Sequence[Colour] = COLOURS) -> None:
    """Draw points (K, 2), x and y in pixels of the original, as crosses; see `draw_box`."""
    for index, (x, y) in enumerate(points):
        place = round(float(x) * scale), round(float(y) * scale)
        cv2.drawMarker(shown, place, colours[index % len(colours)], cv2.MARKER_CROSS, 14, LINE)


def draw_classes(shown: np.ndarray, probabilities: Sequence[float]) -> None:
    """Draw a bar for each of the likeliest classes, from above, on (h, w, 3) RGB."""
    order = np.argsort(probabilities, kind="stable")[::-1][:_BARS]
    band = shown[: _BAR * len(order), : _BAR_LENGTH + 65]
    band[:] = band // 4
    for place, label in enumerate(order):
        top, share = place * _BAR, probabilities[label]
        end = (30 + round(_BAR_LENGTH * share), top + _BAR - 4)
        cv2.rectangle(shown, (30, top + 3), end, COLOURS[int(label) % len(COLOURS)], cv2.FILLED)
        write(shown, str(label), (4, top + _BAR - 3))
        write(shown, f"{share:.0%}", (end[0] + 3, top + _BAR - 3))


def write(shown: np.ndarray, text: str, place: tuple[int, int]) -> None:
    """Write a line in white from its lower left corner (x, y); letters that the font hasn't become '?'."""
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(shown, plain, place, _FONT, _FONT_SCALE, (255, 255, 255), 1, cv2.LINE_AA)
