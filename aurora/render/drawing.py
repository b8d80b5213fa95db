"""Draw predictions and labels on images."""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from aurora.kinds import Drawing

Colour = tuple[int, int, int]
# RGB, distinguishable also with a colour-vision deficiency (Okabe and Ito, 2008).
COLOURS: tuple[Colour, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
LINE = 2
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.4
_BAR, _BAR_LENGTH, _BARS = 14, 60, 4


def fitted(pixels: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """Return a copy of an image (H, W, 3), scaled so that its longer side is `side` pixels, and the factor."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(pixels), size, interpolation=interpolation), scale


def draw(
    picture: np.ndarray,
    drawing: Drawing,
    scale: float,
    colours: Sequence[Colour] = COLOURS,
    names: Sequence[str] = (),
) -> None:
    """Draw a label or a prediction on a picture (h, w, 3) RGB, which is `scale` times the original image.

    `names` are those of the classes or landmarks, which are then named in the upper left corner, or are empty.
    """
    if drawing.mask is not None:
        draw_mask(picture, drawing.mask, colours)
    if drawing.box is not None:
        draw_box(picture, drawing.box, scale, colours[0])
    if drawing.points is not None:
        draw_points(picture, drawing.points, scale, colours)
    if drawing.probabilities is not None:
        draw_classes(picture, drawing.probabilities, names)
    elif names:
        draw_legend(picture, _shown(drawing, names), colours)


def draw_mask(picture: np.ndarray, mask: np.ndarray, colours: Sequence[Colour] = COLOURS) -> None:
    """Outline every foreground class of a mask (H, W) on a picture (h, w, 3) RGB of the image at another size."""
    for label in range(1, int(mask.max(initial=0)) + 1):
        region = cv2.resize((mask == label).astype(np.uint8), picture.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        contours, _ = cv2.findContours(region, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, colours[(label - 1) % len(colours)], LINE)


def draw_box(picture: np.ndarray, box: Sequence[float], scale: float, colour: Colour = COLOURS[0]) -> None:
    """Draw a box x1, y1, x2, y2, in pixels of the original image, on a picture `scale` times its size."""
    x1, y1, x2, y2 = (round(value * scale) for value in box)
    cv2.rectangle(picture, (x1, y1), (x2, y2), colour, LINE)


def draw_points(picture: np.ndarray, points: np.ndarray, scale: float, colours: Sequence[Colour] = COLOURS) -> None:
    """Draw points (K, 2), x and y in pixels of the original image, as crosses; see `draw_box`."""
    for index, (x, y) in enumerate(points):
        centre = round(float(x) * scale), round(float(y) * scale)
        cv2.drawMarker(picture, centre, colours[index % len(colours)], cv2.MARKER_CROSS, 14, LINE)


def _shown(drawing: Drawing, names: Sequence[str]) -> list[str]:
    """Return the names of what is drawn, by the number of its colour; "" for a class that doesn't occur."""
    if drawing.mask is None:
        return list(names)
    present = set(np.flatnonzero(np.bincount(drawing.mask.ravel())).tolist())
    return [name if number in present else "" for number, name in enumerate(names[1:], start=1)]


def draw_legend(picture: np.ndarray, names: Sequence[str], colours: Sequence[Colour] = COLOURS) -> None:
    """Write names from the top, each beside a square of its colour, on a picture (h, w, 3) RGB; "" takes no line."""
    lines = [(name, colours[index % len(colours)]) for index, name in enumerate(names) if name]
    band = picture[: _BAR * len(lines), : 24 + _width([name for name, _ in lines])]
    band[:] = band // 4
    for position, (name, colour) in enumerate(lines):
        bottom = (position + 1) * _BAR - 3
        cv2.rectangle(picture, (4, bottom - 8), (12, bottom), colour, cv2.FILLED)
        write(picture, name, (18, bottom))


def _width(texts: Sequence[str]) -> int:
    """Return the width in pixels of the longest of some lines as `write` draws them."""
    return max((cv2.getTextSize(_plain(text), _FONT, _FONT_SCALE, 1)[0][0] for text in texts), default=0)


def draw_classes(picture: np.ndarray, probabilities: Sequence[float], names: Sequence[str] = ()) -> None:
    """Draw a bar for each of the likeliest classes, from the top, on a picture (h, w, 3) RGB.

    The bars bear the names of their classes, or their numbers if `names` is empty.
    """
    order = np.argsort(probabilities, kind="stable")[::-1][:_BARS]
    labels = [names[label] if names else str(label) for label in order]
    left = 14 + _width(labels)
    band = picture[: _BAR * len(order), : left + _BAR_LENGTH + 35]
    band[:] = band // 4
    for position, label in enumerate(order):
        top, share = position * _BAR, probabilities[label]
        end = (left + round(_BAR_LENGTH * share), top + _BAR - 4)
        cv2.rectangle(picture, (left, top + 3), end, COLOURS[int(label) % len(COLOURS)], cv2.FILLED)
        write(picture, labels[position], (4, top + _BAR - 3))
        write(picture, f"{share:.0%}", (end[0] + 3, top + _BAR - 3))


def draw_scale_bar(picture: np.ndarray, pixel_width: float) -> float:
    """Draw a horizontal bar with its length into the lower left corner of a picture (h, w, 3) RGB.

    Args:
        picture: the picture.
        pixel_width: the width of a pixel of the picture in mm.

    Returns:
        The length in mm: the longest of 1, 2, 5, 10, ... that takes at most a third of the width.
    """
    longest = picture.shape[1] * pixel_width / 3
    power = 10 ** math.floor(math.log10(longest))
    length = max(step * power for step in (1, 2, 5) if step * power <= longest)
    left, bottom = 8, picture.shape[0] - 8
    right = left + round(length / pixel_width)
    cv2.rectangle(picture, (left - 1, bottom - 4), (right + 1, bottom + 1), (0, 0, 0), cv2.FILLED)
    cv2.rectangle(picture, (left, bottom - 3), (right, bottom), (255, 255, 255), cv2.FILLED)
    write(picture, f"{length:g} mm", (left, bottom - 8))
    return length


def write(picture: np.ndarray, text: str, origin: tuple[int, int]) -> None:
    """Write a line in white from its lower left corner (x, y); characters outside ASCII become '?'."""
    cv2.putText(picture, _plain(text), origin, _FONT, _FONT_SCALE, (255, 255, 255), 1, cv2.LINE_AA)


def _plain(text: str) -> str:
    return text.encode("ascii", "replace").decode()
