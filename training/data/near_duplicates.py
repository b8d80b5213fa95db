"""Find near-duplicate images: copies that were re-encoded, resized, cropped, brightened, annotated or mirrored.

First, a perceptual hash proposes pairs: the signs of the lowest frequencies of the discrete cosine transform, relative
to their median (C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, section 3.2.1).
Its distance alone is not decisive: hearts of two patients can be closer than an image and its crop. Second, the images
of each pair are therefore aligned (G. D. Evangelidis and E. Z. Psarakis, IEEE TPAMI 30(10):1858-1865, 2008). They are
near-duplicates if their speckle agrees, as it does in copies but not between patients.
"""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from aurora.runtime.hardware import processors

#: Side of a thumbnail in pixels, and of the block of lowest frequencies whose signs are the hash.
SIDE = 96
LOW = 16
#: The largest number of bits, out of LOW * LOW, that may differ between the hashes of a proposed pair.
BITS = 64
#: The least similarity of near-duplicates.
MIN_SIMILARITY = 0.85

#: Pixels that the hash of a tight view leaves out on each side; it matches crops too tight for the plain hash.
_MARGIN = 4
#: Mirroring an image flips the signs of the odd columns of its cosine transform and changes nothing else.
_MIRROR_SIGNS = np.where(np.arange(LOW) % 2, -1, 1).astype(np.float32)
_WINDOW = (9, 9)
_NOISE = 4.0  # variance of grey values below which a window has no contrast
_ALL = np.ones((SIDE, SIDE), np.uint8)
_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-3)


@dataclass(frozen=True, slots=True)
class Thumbprint:
    """A summary of an image: the `digest` of its size and pixels, and a grey `thumbnail` (SIDE, SIDE) uint8."""

    digest: bytes
    thumbnail: np.ndarray


def thumbprint(pixels: np.ndarray) -> Thumbprint:
    """Return the thumbprint of (H, W, 3) uint8 RGB pixels.

    Example:
        >>> black = np.zeros((4, 6, 3), np.uint8)
        >>> thumbprint(black).digest == thumbprint(black.reshape(6, 4, 3)).digest
        False
    """
    digest = hashlib.blake2b(str(pixels.shape).encode() + pixels.tobytes(), digest_size=16).digest()
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return Thumbprint(digest, cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def join(labels: np.ndarray, links: np.ndarray) -> np.ndarray:
    """Return the component 0, 1, ... of each of N items after adding `links` (M, 2) to the components `labels` (N,)."""
    one, other = labels[links.reshape(-1, 2).T]
    count = int(labels.max(initial=-1)) + 1
    graph = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(count, count))
    return connected_components(graph, directed=False)[1][labels] if count else labels


def find_links(thumbnails: Sequence[np.ndarray], labels: np.ndarray, round_size: int = 256) -> np.ndarray:
    """Return links (M, 2) between near-duplicates among N thumbnails that are in different components `labels` (N,).

    Passed to `join`, they give the components of all near-duplicate pairs. A pair whose images are already joined is
    not compared, so that long runs of still frames stay cheap.

    Args:
        round_size: number of pairs that are compared before the components are updated.
    """
    pairs, links = candidates(thumbnails), [np.empty((0, 2), np.intp)]
    with ThreadPoolExecutor(processors()) as pool:
        while len(pairs := pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]]):
            batch, pairs = pairs[:round_size], pairs[round_size:]
            firsts = [thumbnails[i] for i in batch[:, 0]]
            seconds = [thumbnails[j][:, ::-1] if mirrored else thumbnails[j] for _, j, mirrored in batch]
            similarities = np.fromiter(pool.map(similarity, firsts, seconds), np.float64)
            links.append(batch[similarities >= MIN_SIMILARITY, :2])
            labels = join(labels, links[-1])
    return np.concatenate(links)


def candidates(thumbnails: Sequence[np.ndarray], block_size: int = 512) -> np.ndarray:
    """Return the pairs of N thumbnails with similar hashes: (M, 3) of i < j and whether j is mirrored, nearest first.

    All hashes are compared with all others, as matrix products of `block_size` rows: time grows with N squared, memory
    with N and the number of pairs.
    """
    plain = _spectra(thumbnails)
    tight = _spectra(cv2.resize(image[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN], (SIDE, SIDE)) for image in thumbnails)
    codes = _codes(plain)
    views = [
        _near(codes, codes, block_size, mirrored=False, symmetric=True),
        _near(_codes(plain * _MIRROR_SIGNS), codes, block_size, mirrored=True, symmetric=True),
        _near(_codes(tight), codes, block_size, mirrored=False, symmetric=False),
    ]
    i, j, mirrored, distance = np.concatenate(views, axis=1)
    order = np.argsort(distance, kind="stable")
    pairs = np.stack([i, j, mirrored], axis=1)[order]
    # Two views may propose the same pair: keep the nearest.
    first = np.unique((pairs[:, 0] * len(codes) + pairs[:, 1]) * 2 + pairs[:, 2], return_index=True)[1]
    return pairs[np.sort(first)]


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Return the similarity, -1 to 1, of two thumbnails after alignment: the median correlation over windows.

    The median ignores text and calipers. 0 if the images can't be aligned, or if less than a tenth of the windows has
    any contrast.
    """
    a, b = one.astype(np.float32), other.astype(np.float32)
    try:
        _, affine = cv2.findTransformECC(a, b, np.eye(2, 3, dtype=np.float32), cv2.MOTION_AFFINE, _STOP, _ALL, 5)
    except cv2.error:
        return 0.0  # no convergence
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    aligned = cv2.warpAffine(b, affine, (SIDE, SIDE), flags=flags)
    inside = cv2.warpAffine(np.ones_like(b), affine, (SIDE, SIDE), flags=flags) > 0.99
    mean_a, mean_b = cv2.blur(a, _WINDOW), cv2.blur(aligned, _WINDOW)
    var_a, var_b = cv2.blur(a * a, _WINDOW) - mean_a**2, cv2.blur(aligned * aligned, _WINDOW) - mean_b**2
    covariance = cv2.blur(a * aligned, _WINDOW) - mean_a * mean_b
    shown = (cv2.erode(inside.astype(np.uint8), np.ones(_WINDOW)) > 0) & (np.maximum(var_a, var_b) > _NOISE)
    if shown.mean() < 0.1:
        return 0.0
    correlation = covariance / np.sqrt(np.maximum(var_a, _NOISE) * np.maximum(var_b, _NOISE))
    return float(np.median(correlation[shown]))


def _spectra(thumbnails: Iterable[np.ndarray]) -> np.ndarray:
    """Return the lowest frequencies of the thumbnails (N, LOW, LOW); columns run along the image's width."""
    spectra = [cv2.dct(thumbnail.astype(np.float32))[:LOW, :LOW].copy() for thumbnail in thumbnails]
    return np.array(spectra, np.float32).reshape(-1, LOW, LOW)


def _codes(spectra: np.ndarray) -> np.ndarray:
    """Return hashes (N, LOW * LOW) with bits -1 and 1, so that a product of two counts the bits that agree."""
    flat = spectra.reshape(-1, LOW * LOW)
    return np.where(flat > np.median(flat, axis=1, keepdims=True), np.float32(1), np.float32(-1))


def _near(views: np.ndarray, codes: np.ndarray, block_size: int, *, mirrored: bool, symmetric: bool) -> np.ndarray:
    """Return (4, M) of i < j, `mirrored` and the number of differing bits, for views and codes with similar hashes.

    `symmetric` halves the work: view i and code j are as far apart as view j and code i.
    """
    blocks = [np.empty((4, 0), np.int64)]
    for start in range(0, len(codes), block_size):
        first = start if symmetric else 0
        product = views[start : start + block_size] @ codes[first:].T
        one, other = np.nonzero(product >= LOW * LOW - 2 * BITS)
        distance = (LOW * LOW - product[one, other]) / 2
        one, other = one + start, other + first
        keep = one < other if symmetric else one != other
        low, high = np.minimum(one, other), np.maximum(one, other)
        blocks.append(np.stack([low, high, np.full_like(low, mirrored), distance.astype(np.int64)])[:, keep])
    return np.concatenate(blocks, axis=1)
