"""Which images are one picture: copies that were re-saved, resized, cropped, brightened, marked or mirrored.

Two stages. A perceptual hash names the pairs that may be one picture: the signs of the lowest frequencies of the
discrete cosine transform, as differences from their median (C. Zauner, Implementation and Benchmarking of Perceptual
Image Hash Functions, 2010, section 3.2.1). The hearts of two patients can be nearer in it than a picture and its
crop. So the two of a pair are then laid on one another (G. D. Evangelidis and E. Z. Psarakis, IEEE TPAMI
30(10):1858-1865, 2008), and are one picture where the speckle agrees: it does in every copy, and in no two patients.
"""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

#: Side of a thumbnail in pixels, and of the block of lowest frequencies whose signs are the hash.
SIDE = 96
LOW = 16
#: The most of the LOW * LOW bits that may differ between the hashes of a pair that is looked at.
BITS = 64
#: The least likeness of one picture.
MIN_SIMILARITY = 0.85

#: What the hash of a tight view leaves out on each side: it meets crops that are too tight for the plain hash.
_MARGIN = 4
#: Mirroring an image changes the signs of the odd columns of its cosine transform, and nothing else.
_MIRRORED = np.where(np.arange(LOW) % 2, -1, 1).astype(np.float32)
_BLOCK = 512  # hashes in one matrix product
_ROUND = 256  # pairs looked at before what they joined is taken out
_WINDOW = (9, 9)
_NOISE = 4.0  # variance of grey values below which a window shows nothing
_ALL = np.ones((SIDE, SIDE), np.uint8)
_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-3)


@dataclass(frozen=True, slots=True)
class Thumbprint:
    """What is kept of an image: the `digest` of its pixels, and a grey `thumb` (SIDE, SIDE) uint8."""

    digest: bytes
    thumb: np.ndarray


def look(pixels: np.ndarray) -> Thumbprint:
    """The look of (H, W, 3) uint8 RGB pixels. Two digests are equal where the size and every pixel are."""
    digest = hashlib.blake2b(str(pixels.shape).encode() + pixels.tobytes(), digest_size=16).digest()
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return Thumbprint(digest, cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def join(labels: np.ndarray, links: np.ndarray) -> np.ndarray:
    """The component 0, 1, ... of each of N items, once `links` (M, 2) of items are added to the components `labels`."""
    one, other = labels[links.reshape(-1, 2).T]
    count = int(labels.max(initial=-1)) + 1
    graph = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(count, count))
    return connected_components(graph, directed=False)[1][labels] if count else labels


def find_links(thumbs: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """The links (M, 2) between N thumbnails of one picture that join what the components `labels` (N,) leave apart.

    With `join` they give the components of all pairs that are one picture; a pair that others have joined already is
    never looked at, so the many frames of a still probe cost no more than they have to.
    """
    pairs, links = candidates(thumbs), [np.empty((0, 2), np.intp)]
    with ThreadPoolExecutor() as pool:
        while len(pairs := pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]]):
            now, pairs = pairs[:_ROUND], pairs[_ROUND:]
            views = [thumbs[j][:, ::-1] if mirrored else thumbs[j] for _, j, mirrored in now]
            alike = (
                np.fromiter(pool.map(similarity, [thumbs[i] for i in now[:, 0]], views), np.float64) >= MIN_SIMILARITY
            )
            links.append(now[alike, :2])
            labels = join(labels, links[-1])
    return np.concatenate(links)


def candidates(thumbs: Sequence[np.ndarray]) -> np.ndarray:
    """The pairs of N thumbnails whose hashes are near: (M, 3) of i < j and whether j is mirrored, the nearest first.

    Every hash is compared with every other, a block at a time and as one matrix product: the time grows with the
    square of N, the memory with N and the pairs found.
    """
    plain = _spectra(thumbs)
    tight = _spectra(cv2.resize(thumb[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN], (SIDE, SIDE)) for thumb in thumbs)
    codes = _codes(plain)
    found = [
        _near(codes, codes, mirrored=False, symmetric=True),
        _near(_codes(plain * _MIRRORED), codes, mirrored=True, symmetric=True),
        _near(_codes(tight), codes, mirrored=False, symmetric=False),
    ]
    i, j, mirrored, far = np.concatenate(found, axis=1)
    order = np.argsort(far, kind="stable")
    pairs = np.stack([i, j, mirrored], axis=1)[order]
    # The views may name a pair twice; its first place is its nearest.
    first = np.unique((pairs[:, 0] * len(codes) + pairs[:, 1]) * 2 + pairs[:, 2], return_index=True)[1]
    return pairs[np.sort(first)]


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """How alike two thumbnails are once laid on one another: the median over windows of their correlation, -1..1.

    The median passes over writing and calipers. 0 where no affine map is found, and where less than a tenth of the
    windows shows anything in both.
    """
    a, b = one.astype(np.float32), other.astype(np.float32)
    try:
        _, affine = cv2.findTransformECC(a, b, np.eye(2, 3, dtype=np.float32), cv2.MOTION_AFFINE, _STOP, _ALL, 5)
    except cv2.error:
        return 0.0  # it found no map
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(b, affine, (SIDE, SIDE), flags=flags)
    inside = cv2.warpAffine(np.ones_like(b), affine, (SIDE, SIDE), flags=flags) > 0.99
    mean_a, mean_b = cv2.blur(a, _WINDOW), cv2.blur(laid, _WINDOW)
    var_a, var_b = cv2.blur(a * a, _WINDOW) - mean_a**2, cv2.blur(laid * laid, _WINDOW) - mean_b**2
    covariance = cv2.blur(a * laid, _WINDOW) - mean_a * mean_b
    shown = (cv2.erode(inside.astype(np.uint8), np.ones(_WINDOW)) > 0) & (np.maximum(var_a, var_b) > _NOISE)
    if shown.mean() < 0.1:
        return 0.0
    correlation = covariance / np.sqrt(np.maximum(var_a, _NOISE) * np.maximum(var_b, _NOISE))
    return float(np.median(correlation[shown]))


def _spectra(thumbs: Iterable[np.ndarray]) -> np.ndarray:
    """(N, LOW, LOW) lowest frequencies of the thumbnails, columns along the image's width."""
    spectra = [cv2.dct(thumb.astype(np.float32))[:LOW, :LOW].copy() for thumb in thumbs]
    return np.array(spectra, np.float32).reshape(-1, LOW, LOW)


def _codes(spectra: np.ndarray) -> np.ndarray:
    """(N, LOW * LOW) hashes with a bit as -1 or 1, so that a product of two counts the bits in which they agree."""
    flat = spectra.reshape(-1, LOW * LOW)
    return np.where(flat > np.median(flat, axis=1, keepdims=True), np.float32(1), np.float32(-1))


def _near(views: np.ndarray, codes: np.ndarray, mirrored: bool, symmetric: bool) -> np.ndarray:
    """(4, M) of i < j, `mirrored` and the bits that differ, of views and codes that are near; half the work where
    view i and code j are as far apart as view j and code i."""
    found = [np.empty((4, 0), np.int64)]
    for start in range(0, len(codes), _BLOCK):
        first = start if symmetric else 0
        product = views[start : start + _BLOCK] @ codes[first:].T
        one, other = np.nonzero(product >= LOW * LOW - 2 * BITS)
        far = (LOW * LOW - product[one, other]) / 2
        one, other = one + start, other + first
        keep = one < other if symmetric else one != other
        low, high = np.minimum(one, other), np.maximum(one, other)
        found.append(np.stack([low, high, np.full_like(low, mirrored), far.astype(np.int64)])[:, keep])
    return np.concatenate(found, axis=1)
