"""Similarities of thumbnails, and the links between near-duplicates."""

import cv2
import numpy as np
import pytest

from training.data.near_duplicates import MIN_SIMILARITY, SIDE, candidates, find_links, join, similarity, thumbprint


def thumb(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    layers = [cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE)), (0, 0), sigma) * sigma for sigma in (16, 4, 1)]
    return cv2.normalize(sum(layers), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def cropped(image: np.ndarray, margin: int) -> np.ndarray:
    return cv2.resize(image[margin:-margin, margin:-margin], (SIDE, SIDE))


def links(*thumbs: np.ndarray) -> list[list[int]]:
    return sorted(find_links(thumbs, np.arange(len(thumbs))).tolist())


def test_the_digest_knows_size_and_every_pixel() -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    other = pixels.copy()
    other[3, 5, 2] = 1
    digests = [thumbprint(image).digest for image in (pixels, other, pixels.reshape(6, 4, 3), pixels.copy())]
    assert len(set(digests)) == 3
    assert digests[0] == digests[3]


def test_hashes_find_a_mirror_image_and_crops_in_either_direction() -> None:
    one, other = thumb(0), thumb(1)
    assert candidates([one, other]).tolist() == []
    assert candidates([one, other, np.ascontiguousarray(one[:, ::-1])]).tolist() == [[0, 2, 1]]
    assert candidates([one, cropped(one, 5)]).tolist() == candidates([cropped(one, 5), one]).tolist() == [[0, 1, 0]]


@pytest.mark.parametrize("block_size", [1, 3, 14, 512])
def test_every_block_of_hashes_is_compared_with_every_other(block_size: int) -> None:
    thumbs = [thumb(seed % 7) for seed in range(14)]
    assert sorted(candidates(thumbs, block_size).tolist()) == [[k, k + 7, 0] for k in range(7)]


@pytest.mark.parametrize(("seed", "alike"), [(0, True), (3, False)])
def test_speckle_makes_images_similar_and_shape_does_not(seed: int, alike: bool) -> None:
    shape = cv2.GaussianBlur(thumb(9), (0, 0), 5).astype(np.float32)
    first, second = (
        shape + 0.5 * (thumb(s) - cv2.GaussianBlur(thumb(s), (0, 0), 3.0).astype(np.float32)) for s in (0, seed)
    )
    assert (similarity(first, np.roll(second, 2, axis=1)) >= MIN_SIMILARITY) is alike


def test_nothing_is_similar_to_an_empty_image() -> None:
    empty = np.zeros((SIDE, SIDE), np.uint8)
    assert similarity(empty, empty) == similarity(thumb(0), empty) == similarity(empty + 200, empty) == 0


def test_a_black_frame_does_not_count() -> None:
    framed = np.zeros((SIDE, SIDE), np.uint8)
    framed[20:70, 25:75] = thumb(0)[20:70, 25:75]
    copy = cv2.imdecode(cv2.imencode(".jpg", framed, [cv2.IMWRITE_JPEG_QUALITY, 80])[1], cv2.IMREAD_GRAYSCALE)
    assert similarity(framed, copy) >= MIN_SIMILARITY


def test_candidates_come_nearest_first() -> None:
    assert candidates([thumb(0), cropped(thumb(0), 2), cropped(thumb(0), 1)])[:, :2].tolist()[-1] == [0, 1]


def test_links_lead_from_each_picture_to_its_copies_alone() -> None:
    assert links(thumb(0), thumb(1), cropped(thumb(0), 2), thumb(2), cropped(thumb(1), 3)) == [[0, 2], [1, 4]]


def test_images_that_are_joined_are_not_compared_again() -> None:
    # Of 15 pairs among six copies, three links join the four components; a round of all pairs finds more.
    copies, labels = [thumb(0)] * 6, np.array([0, 0, 0, 1, 2, 3])
    assert len(find_links(copies, labels, round_size=1)) == 3
    assert len(find_links(copies, labels, round_size=100)) == 12
    assert len(np.unique(join(labels, find_links(copies, labels)))) == 1


def test_join_adds_links_to_components() -> None:
    labels = join(np.array([0, 1, 1, 2, 3]), np.array([[0, 2], [3, 3]]))
    assert labels[0] == labels[1] == labels[2]
    assert len(set(labels.tolist())) == 3
    assert join(np.empty(0, np.intp), np.empty((0, 2), np.intp)).size == 0
