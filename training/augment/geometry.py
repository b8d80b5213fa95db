"""Geometric augmentation: one affine map for image, mask, box and points.

Points are pixel centres in pixel coordinates: the left edge of the frame is at -0.5. In fractions of the frame, 0 and
1 are its edges.
"""

import cv2
import numpy as np

MAX_ROTATION_DEGREES = 20.0
# For labels that depend on left and right: a large rotation could change them too.
MAX_SIDED_ROTATION_DEGREES = 8.0
SCALE_RANGE = (0.8, 1.3)
MAX_STRETCH = 1.15
# A fraction of the frame's sides.
MAX_SHIFT = 0.1

#: The points that stay inside the frame by default: its centre.
CENTRE = np.array([(0.5, 0.5)])


def random_affine(
    rng: np.random.Generator, size: tuple[int, int], frame: tuple[int, int], *, sided: bool, keep: np.ndarray = CENTRE
) -> np.ndarray:
    """Draw a map (2, 3) from pixels of the frame to pixels of the frame: mirror, rotation, scale, stretch, shift.

    The rotation is a rotation of the original image of `size` (height, width): its stretch to `frame` (height, width)
    is undone before and applied again after.

    Args:
        sided: whether the label depends on left and right; if so, there is no mirroring, and rotations are small.
        keep: points (N, 2) in fractions of the image, inside it. They stay inside the frame: scale and shift are
            reduced as needed.
    """
    limit = MAX_SIDED_ROTATION_DEGREES if sided else MAX_ROTATION_DEGREES
    angle = np.deg2rad(rng.uniform(-limit, limit))
    scale = np.exp(rng.uniform(*np.log(SCALE_RANGE)))
    stretch = np.exp(rng.uniform(-1, 1) * np.log(MAX_STRETCH) / 2)
    mirror = -1.0 if not sided and rng.random() < 0.5 else 1.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    sides = np.array((size[1], size[0]))
    linear = turn @ np.diag((mirror * scale * stretch, scale / stretch)) * sides / sides[:, None]
    linear /= max(1.0, np.ptp((keep - 0.5) @ linear.T, axis=0).max())
    kept = (keep - 0.5) @ linear.T
    shift = rng.uniform(*(np.clip(s, -0.5 - kept.min(0), 0.5 - kept.max(0)) for s in (-MAX_SHIFT, MAX_SHIFT)))
    extent = np.array((frame[1], frame[0]))
    linear = linear * extent[:, None] / extent
    centre = (extent - 1) / 2
    return np.column_stack([linear, centre - linear @ centre + shift * extent])


def warp_image(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Warp an image (H, W, 3) by `matrix`; pixels from outside the frame are black."""
    return cv2.warpAffine(image, matrix, image.shape[1::-1], flags=cv2.INTER_LINEAR)


def warp_masks(mask: np.ndarray, classes: int, matrix: np.ndarray, frame: tuple[int, int], cell: int) -> np.ndarray:
    """Warp a mask of class ids (H, W) uint8 of the original image and average it over the cells of the frame.

    Args:
        frame: height and width in pixels, multiples of `cell`.
        cell: side of a cell in pixels.

    Returns:
        The share of every class in every cell, (classes, height/cell, width/cell) float32; sums to 1 over the classes.
    """
    height, width = frame
    down, across = height / mask.shape[0], width / mask.shape[1]
    stretch = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2]])
    through = matrix[:, :2] @ stretch + np.column_stack([np.zeros((2, 2)), matrix[:, 2]])
    # A mask larger than the frame is averaged over the pixels that merge into one. An odd window does not shift it.
    window = [2 * max(0, round((1 / shrink - 1) / 2)) + 1 for shrink in (across, down)]
    shares = np.empty((classes, height // cell, width // cell), dtype=np.float32)
    for index in range(1, classes):
        layer = (mask == index) * np.uint8(255)
        layer = layer if max(window) == 1 else cv2.blur(layer, window)
        layer = cv2.warpAffine(layer, through, (width, height), flags=cv2.INTER_LINEAR).astype(np.float32)
        shares[index] = cv2.resize(layer, shares.shape[:0:-1], interpolation=cv2.INTER_AREA)
    # Rounded to 8 bits, the layers may sum to slightly more than 255.
    shares[1:] /= np.maximum(shares[1:].sum(axis=0), 255.0)
    shares[0] = np.maximum(1.0 - shares[1:].sum(axis=0), 0.0)
    return shares


def warp_points(fractions: np.ndarray, matrix: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """Map points (N, 2) by `matrix`, whose pixels are those of `frame` (height, width); both in fractions."""
    extent = np.array((frame[1], frame[0]))
    pixels = fractions * extent - 0.5
    return (pixels @ matrix[:, :2].T + matrix[:, 2] + 0.5) / extent


def warp_box(corners: np.ndarray, matrix: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """Map the box between two `corners` (2, 2) by `matrix` and return its extent (x1, y1, x2, y2), all in fractions.

    The ellipse inscribed in the box is mapped, because the extent of a rotated box is too large for a round object
    (Kalra et al., "Towards Rotation Invariance in Object Detection", ICCV 2021). Mapped by a matrix A, an ellipse with
    half axes r extends sqrt(sum_j (A_ij r_j)^2) to each side of its centre.
    """
    extent = np.array((frame[1], frame[0]))
    linear = matrix[:, :2] * extent / extent[:, None]
    centre = warp_points(corners.mean(axis=0, keepdims=True), matrix, frame)[0]
    reach = np.sqrt((linear**2) @ (np.diff(corners, axis=0)[0] / 2) ** 2)
    return np.concatenate([centre - reach, centre + reach])
