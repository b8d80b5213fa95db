"""Geometry of augmentation: one affine map in the model's frame for image, mask, box and points.

Grey values change in `photometry`, the field of view in `view`, and burned-in graphics are drawn in `graphics`.
"""

import cv2
import numpy as np

MAX_ROTATION_DEGREES = 20.0
# Where left and right decide the label, a large turn could change it too.
MAX_SIDED_ROTATION_DEGREES = 8.0
SCALE_RANGE = (0.8, 1.3)
MAX_STRETCH = 1.15
# As a share of the frame's sides.
MAX_SHIFT = 0.1

#: Where nothing is held, the centre is: it stays inside whatever is drawn.
CENTRE = np.array([(0.5, 0.5)])


def random_affine(
    rng: np.random.Generator, size: tuple[int, int], frame: tuple[int, int], *, sided: bool, keep: np.ndarray = CENTRE
) -> np.ndarray:
    """A random map (2, 3) from the frame's pixels to the frame's: mirror, rotation, scale, stretch, shift.

    Rotation is one in the original image of `size` (height, width), whose stretch to `frame` (height, width)
    is undone before and redone after. `sided` labels know left from right: no mirror, and small turns. The
    points `keep` (N, 2), in fractions of the image and inside it, stay inside: the scale is lowered and the
    shift held back as far as that takes.
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
    """(H, W, 3) through `matrix`; what comes from outside is black."""
    return cv2.warpAffine(image, matrix, image.shape[1::-1], flags=cv2.INTER_LINEAR)


def warp_masks(mask: np.ndarray, classes: int, matrix: np.ndarray, frame: tuple[int, int], cell: int) -> np.ndarray:
    """Class ids (uint8) of the original image to the share of every class in every cell of the frame (height, width).

    Returns (classes, height/cell, width/cell) float32 that sums to 1 over the classes.
    """
    height, width = frame
    down, across = height / mask.shape[0], width / mask.shape[1]
    stretch = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2]])
    through = matrix[:, :2] @ stretch + np.column_stack([np.zeros((2, 2)), matrix[:, 2]])
    # A mask larger than the frame is averaged over about what becomes one pixel: a window of odd sides moves nothing.
    window = [2 * max(0, round((1 / shrink - 1) / 2)) + 1 for shrink in (across, down)]
    shares = np.empty((classes, height // cell, width // cell), dtype=np.float32)
    for index in range(1, classes):
        layer = (mask == index) * np.uint8(255)
        layer = layer if max(window) == 1 else cv2.blur(layer, window)
        layer = cv2.warpAffine(layer, through, (width, height), flags=cv2.INTER_LINEAR).astype(np.float32)
        shares[index] = cv2.resize(layer, shares.shape[:0:-1], interpolation=cv2.INTER_AREA)
    # In 8 bits the layers may come to slightly more than the whole.
    shares[1:] /= np.maximum(shares[1:].sum(axis=0), 255.0)
    shares[0] = np.maximum(1.0 - shares[1:].sum(axis=0), 0.0)
    return shares


def warp_points(fractions: np.ndarray, matrix: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """Points (N, 2) in fractions of the image through `matrix` of a frame (height, width), in fractions again."""
    extent = np.array((frame[1], frame[0]))
    pixels = fractions * extent - 0.5
    return (pixels @ matrix[:, :2].T + matrix[:, 2] + 0.5) / extent


def warp_box(corners: np.ndarray, matrix: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """The extent (x1, y1, x2, y2) of what two `corners` (2, 2) box in, through `matrix`; all in fractions.

    The ellipse inscribed in the box is mapped, since the box of a turned box is too large for what is round
    (Kalra et al., "Towards Rotation Invariance in Object Detection", ICCV 2021). An ellipse of half axes r
    reaches sqrt(sum_j (A_ij r_j)^2) to each side once it is mapped by A.
    """
    extent = np.array((frame[1], frame[0]))
    linear = matrix[:, :2] * extent / extent[:, None]
    centre = warp_points(corners.mean(axis=0, keepdims=True), matrix, frame)[0]
    reach = np.sqrt((linear**2) @ (np.diff(corners, axis=0)[0] / 2) ** 2)
    return np.concatenate([centre - reach, centre + reach])
