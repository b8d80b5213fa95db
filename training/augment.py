"""Augmentation of image and label together, in the model's frame.

Geometry is one affine map applied to image, masks, box and points alike. Photometric changes follow what
differs between ultrasound machines: gain, gamma, time-gain curve, speckle, blur and acoustic shadow.
"""

import cv2
import numpy as np

MAX_ROTATION_DEGREES = 20.0
# Where left and right decide the label, a large turn could change it too.
MAX_SIDED_ROTATION_DEGREES = 8.0
SCALE_RANGE = (0.8, 1.3)
MAX_STRETCH = 1.15
MAX_SHIFT = 0.1


def random_affine(
    rng: np.random.Generator, size: tuple[int, int], frame: tuple[int, int], *, sided: bool
) -> np.ndarray:
    """A random map (2, 3) from the frame's pixels to the frame's: mirror, rotation, scale, stretch, shift.

    Rotation is one in the original image of `size` (height, width), whose stretch to `frame` (height, width)
    is undone before and redone after. `sided` labels know left from right: no mirror, and small turns.
    """
    limit = MAX_SIDED_ROTATION_DEGREES if sided else MAX_ROTATION_DEGREES
    angle = np.deg2rad(rng.uniform(-limit, limit))
    scale = np.exp(rng.uniform(*np.log(SCALE_RANGE)))
    stretch = np.exp(rng.uniform(-1, 1) * np.log(MAX_STRETCH) / 2)
    mirror = -1.0 if not sided and rng.random() < 0.5 else 1.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    extent = np.array((frame[1], frame[0]))
    aspect = np.diag((size[1] / frame[1], size[0] / frame[0]))
    linear = np.linalg.inv(aspect) @ turn @ np.diag((mirror * scale * stretch, scale / stretch)) @ aspect
    centre = (extent - 1) / 2
    shift = centre - linear @ centre + rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2) * extent
    return np.column_stack([linear, shift])


def warp_image(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(H, W, 3) through `matrix`; what comes from outside is black."""
    return cv2.warpAffine(image, matrix, image.shape[1::-1], flags=cv2.INTER_LINEAR)


def warp_masks(mask: np.ndarray, classes: int, matrix: np.ndarray, frame: tuple[int, int], cell: int) -> np.ndarray:
    """Class ids of the original image to the share of every class in every cell of the frame (height, width).

    Returns (classes, height/cell, width/cell) float32 that sums to 1 over the classes.
    """
    height, width = frame
    down, across = height / mask.shape[0], width / mask.shape[1]
    stretch = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2]])
    through = matrix[:, :2] @ stretch + np.column_stack([np.zeros((2, 2)), matrix[:, 2]])
    shares = np.empty((classes, height // cell, width // cell), dtype=np.float32)
    for index in range(1, classes):
        layer = cv2.warpAffine((mask == index).astype(np.float32), through, (width, height), flags=cv2.INTER_LINEAR)
        shares[index] = cv2.resize(layer, shares.shape[:0:-1], interpolation=cv2.INTER_AREA)
    shares[0] = 1.0 - shares[1:].sum(axis=0)
    return shares


def warp_points(fractions: np.ndarray, matrix: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """Points (N, 2) in fractions of the image through `matrix` of a frame (height, width), in fractions again."""
    extent = np.array((frame[1], frame[0]))
    pixels = fractions * extent - 0.5
    return (pixels @ matrix[:, :2].T + matrix[:, 2] + 0.5) / extent


def jitter(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Photometric changes of an (H, W, 3) 8-bit image, each at random and none of them a mirror or shift."""
    height, width = image.shape[:2]
    x: np.ndarray = image.astype(np.float32) / 255.0
    if rng.random() < 0.8:
        x = x ** np.float32(np.exp(rng.uniform(-0.4, 0.4)))
    if rng.random() < 0.5:
        x *= _time_gain(rng, height)[:, None, None]
    if rng.random() < 0.5:
        grain_size = rng.integers(1, 4)
        grain = rng.standard_normal((height // grain_size, width // grain_size), dtype=np.float32)
        x *= 1.0 + rng.uniform(0.02, 0.2) * cv2.resize(grain, (width, height))[..., None]
    if rng.random() < 0.25:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.4, 1.6))
    if rng.random() < 0.2:
        x *= _shadow(rng, width)[None, :, None]
    x = x * np.float32(rng.uniform(0.75, 1.3)) + np.float32(rng.uniform(-0.05, 0.05))
    return (np.clip(x, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _time_gain(rng: np.random.Generator, height: int) -> np.ndarray:
    """A smooth gain (height,) over depth between about 0.6 and 1.6."""
    sliders = np.exp(rng.uniform(-0.45, 0.45, 5))
    return np.interp(np.linspace(0, 4, height), np.arange(5), sliders).astype(np.float32)


def _shadow(rng: np.random.Generator, width: int) -> np.ndarray:
    """A gain (width,) over columns with one soft-edged dark stripe."""
    centre, spread, depth = rng.uniform(0, width), rng.uniform(0.03, 0.12) * width, rng.uniform(0.3, 0.8)
    return (1.0 - depth * np.exp(-0.5 * ((np.arange(width) - centre) / spread) ** 2)).astype(np.float32)
