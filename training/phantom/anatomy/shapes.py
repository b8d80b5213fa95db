"""Outlines and curves as (N, 2) float arrays of x, y in pixels."""

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]


def ellipse(x: float, y: float, a: float, b: float, angle: float = 0.0, points: int = 72) -> Curve:
    """Return an ellipse with half axes `a` (along `angle`, degrees from x towards y) and `b`."""
    t = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.add(turn(np.column_stack([a * np.cos(t), b * np.sin(t)]), angle), (x, y))


def blob(
    rng: np.random.Generator,
    x: float,
    y: float,
    a: float,
    b: float,
    angle: float = 0.0,
    rough: float = 0.08,
    spikes: float = 0.0,
) -> Curve:
    """Draw a closed outline around an ellipse: `rough` bends it smoothly, `spikes` adds spicules (both relative)."""
    t = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    order = np.arange(2, 7)[:, None]
    waves = np.cos(order * t + rng.uniform(0, 2 * np.pi, order.shape)) * rng.uniform(0.3, 1, order.shape) / order
    radius = 1 + 1.6 * rough * waves.sum(axis=0)
    if spikes:
        count = rng.integers(9, 14)
        comb = np.abs(np.sin(count / 2 * t + rng.uniform(0, np.pi))) ** 4
        radius += spikes * comb * np.interp(t, np.linspace(0, 2 * np.pi, 14), rng.uniform(0.2, 1, 14))
    return np.add(turn(np.column_stack([a * radius * np.cos(t), b * radius * np.sin(t)]), angle), (x, y))


def wave(rng: np.random.Generator, left: float, right: float, y: float, height: float, points: int = 24) -> Curve:
    """Draw a line from `left` to `right` around depth `y` that deviates by at most `height` pixels."""
    t = np.linspace(0, 1, points)
    phase = rng.uniform(0, 2 * np.pi, 2)
    bend = 0.6 * np.sin(2 * np.pi * rng.uniform(0.3, 0.9) * t + phase[0]) + 0.4 * np.sin(2 * np.pi * 2 * t + phase[1])
    return np.column_stack([left + (right - left) * t, y + height * bend])


def arc(start: tuple[float, float], end: tuple[float, float], sag: float, points: int = 24) -> Curve:
    """Return a parabola from `start` to `end` whose middle is `sag` pixels to the right, seen in its direction."""
    a, b = np.array(start, float), np.array(end, float)
    t = np.linspace(0, 1, points)[:, None]
    along = b - a
    normal = np.array([-along[1], along[0]]) / (np.hypot(*along) + 1e-9)
    return a + t * along + 4 * sag * t * (1 - t) * normal


def ribbon(curve: Curve, width: float | NDArray[np.float64]) -> Curve:
    """Return the outline of a band along `curve`; `width` is one number, or one per point."""
    along = np.gradient(curve, axis=0)
    normal = np.column_stack([-along[:, 1], along[:, 0]]) / np.hypot(*along.T)[:, None]
    half = np.broadcast_to(np.asarray(width, float) / 2, len(curve))[:, None] * normal
    return np.vstack([curve + half, (curve - half)[::-1]])


def turn(curve: Curve, angle: float, about: tuple[float, float] = (0.0, 0.0)) -> Curve:
    """Rotate `curve` by `angle` degrees (from x towards y) about a point."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return (curve - about) @ np.array([[c, s], [-s, c]]) + about


def polar(x: float, y: float, radius: float, angle: float) -> tuple[float, float]:
    """Return the point `radius` pixels from (x, y) in the direction `angle` (degrees from x towards y)."""
    return x + radius * float(np.cos(np.radians(angle))), y + radius * float(np.sin(np.radians(angle)))
