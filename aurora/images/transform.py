"""Map between the pixels of an image and the model's input, which has a fixed size.

The image is stretched to the input size, regardless of its aspect ratio. Coordinates of the model are fractions of the
image: 0 is its left or top edge, 1 its right or bottom edge. In pixel coordinates, whole numbers are pixel centres, so
the left edge is at -0.5. The mapping is exactly invertible.
"""

import cv2
import numpy as np


def resize_to(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (H, W, 3) uint8 to `size` (height, width), averaging areas along sides that shrink."""
    if pixels.strides[2] == 0:  # one channel, repeated three times
        return cv2.cvtColor(_resized(pixels[..., 0], size), cv2.COLOR_GRAY2RGB)
    return _resized(pixels, size)


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = pixels.shape[:2]
    # In two steps, because OpenCV averages areas only if neither side grows; otherwise it shifts the image.
    small = (min(height, size[0]), min(width, size[1]))
    if small != (height, width):
        pixels = cv2.resize(pixels, small[::-1], interpolation=cv2.INTER_AREA)
    return pixels if small == size else cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR)


def to_fractions(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Convert pixel coordinates (..., 2), x and y in an image of `size` (height, width), to fractions of the image."""
    return (np.asarray(points, dtype=np.float64) + 0.5) / (size[1], size[0])


def to_pixels(fractions: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Convert fractions (..., 2) to pixel coordinates, clipped to 0..width and 0..height; inverts `to_fractions`."""
    extent = np.array((size[1], size[0]), dtype=np.float64)
    return np.clip(np.asarray(fractions, dtype=np.float64) * extent - 0.5, 0.0, extent)
