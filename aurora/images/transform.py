"""Between an image's own frame and the one the model sees, a rectangle of fixed size.

Coordinates in the model's frame are fractions of the image: 0 is the left or top edge of the image, 1 its
right or bottom edge. In pixels, whole numbers are the centres of pixels, so that the left edge lies at
-0.5. The image is stretched to the model's frame, whatever its proportions; the inverse is exact in both
directions.
"""

import cv2
import numpy as np


def resize_to(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (H, W, 3) 8-bit to a frame of `size` (height, width), averaging areas where a side shrinks."""
    if pixels.strides[2] == 0:  # one channel that is shown three times
        return cv2.cvtColor(_resized(pixels[..., 0], size), cv2.COLOR_GRAY2RGB)
    return _resized(pixels, size)


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = pixels.shape[:2]
    # In two steps, because OpenCV averages areas only where neither side grows; else it shifts the picture.
    small = (min(height, size[0]), min(width, size[1]))
    if small != (height, width):
        pixels = cv2.resize(pixels, small[::-1], interpolation=cv2.INTER_AREA)
    return pixels if small == size else cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR)


def to_fractions(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixel coordinates (..., 2) as x, y in an image of `size` (height, width) to fractions of it."""
    return (np.asarray(points, dtype=np.float64) + 0.5) / (size[1], size[0])


def to_pixels(fractions: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The inverse of `to_fractions`, held inside 0..width and 0..height."""
    extent = np.array((size[1], size[0]), dtype=np.float64)
    return np.clip(np.asarray(fractions, dtype=np.float64) * extent - 0.5, 0.0, extent)
