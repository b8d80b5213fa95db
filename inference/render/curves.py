"""Draw curves of measurements over the frames of a cine, as an SVG picture."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from aurora.render.drawing import COLOURS
from inference.render.html import render

WIDTH, HEIGHT = 480, 160
_UNITS = {"mm2": "mm²", "px2": "px²", "deg": "°"}
# Only these say more with the zero on the axis.
_FROM_ZERO = ("", "mm2", "px2")
_CONFIDENCE = "#404040"
_MARGIN = 0.05


class Curve(Protocol):
    """What is drawn: the values of a quantity in some of the frames."""

    name: str
    structure: int | None
    unit: str
    frames: list[int]
    values: list[float]

    @property
    def label(self) -> str:
        """The quantity, in plain words."""


@dataclass(frozen=True, slots=True)
class Line:
    """A drawn curve; `path` is its SVG path, with a gap where frames have no value."""

    label: str
    colour: str
    dashed: bool
    path: str


@dataclass(frozen=True, slots=True)
class Panel:
    """The curves of one unit; probabilities and confidence, which have none, share a panel.

    `ticks` are places on the vertical axis, in the picture's units, and their labels.
    """

    label: str
    ticks: list[tuple[float, str]]
    lines: list[Line]


def draw_curves(title: str, curves: Sequence[Curve], numbers: range, fps: float | None) -> bytes:
    """Draw curves, one panel for each unit.

    Args:
        title: the title.
        curves: at least one.
        numbers: the numbers of all predicted frames.
        fps: frames per second of the source; without it the horizontal axis is the number of the frame.

    Returns:
        The SVG file.
    """
    rate = fps or 1.0
    first, last = numbers[0] / rate, numbers[-1] / rate
    across = [((place - first) / (last - first) * WIDTH, text) for place, text in _ticks(first, last, 8)]
    units = dict.fromkeys(curve.unit for curve in curves)
    panels = [_panel(unit, [curve for curve in curves if curve.unit == unit], numbers) for unit in units]
    axis = "time in s" if fps else "frame"
    return render("curves.svg", title=title, panels=panels, ticks=across, axis=axis, width=WIDTH, height=HEIGHT)


def _panel(unit: str, curves: Sequence[Curve], numbers: range) -> Panel:
    values = [value for curve in curves for value in curve.values]
    low = 0.0 if unit in _FROM_ZERO else min(values)
    high = max(values) if unit else 1.0
    margin = _MARGIN * (high - low) or 1.0
    low, high = low - margin * (unit not in _FROM_ZERO), high + margin * (unit != "")
    ticks = [((high - place) / (high - low) * HEIGHT, text) for place, text in _ticks(low, high, 5)]
    lines = []
    for number, curve in enumerate(curves):
        path = "".join(_steps(curve, numbers, low, high))
        # The confidence of a class is its probability, whose curve shows between the dashes.
        dashed = number >= len(COLOURS) or curve.name == "confidence"
        lines.append(Line(curve.label, _colour(curve, number), dashed, path))
    label = _UNITS.get(unit, unit) or ", ".join(dict.fromkeys(curve.name for curve in curves))
    return Panel(label, ticks, lines)


def _steps(curve: Curve, numbers: range, low: float, high: float) -> Iterator[str]:
    """Yield the steps of a curve's path."""
    span = numbers[-1] - numbers[0]
    points = [
        f"{(number - numbers[0]) / span * WIDTH:.1f},{(high - value) / (high - low) * HEIGHT:.1f}"
        for number, value in zip(curve.frames, curve.values, strict=True)
    ]
    yield f"M{points[0]}h0"  # which shows a point without neighbours as a dot
    for (before, number), point in zip(pairwise(curve.frames), points[1:], strict=True):
        yield f"L{point}" if number - before == numbers.step else f"M{point}h0"


def _colour(curve: Curve, number: int) -> str:
    """Return the colour that the same class or landmark has on pictures, otherwise the next."""
    if curve.name == "confidence":
        return _CONFIDENCE
    index = number if curve.structure is None else curve.structure - (curve.name == "area")
    return "#{:02x}{:02x}{:02x}".format(*COLOURS[index % len(COLOURS)])


def _ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Return at most `most` + 1 round numbers from `low` to `high`, and their texts."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if (high - low) / (power * factor) <= most)
    places = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return [(place * step, f"{place * step:.10g}") for place in places]
