"""Load unlabelled images, reading and augmenting them in threads while the network computes."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from aurora.errors import ImageError, InputError
from aurora.images import read_image
from aurora.images.transform import resize_to
from aurora.rows import image_file, read_rows
from aurora.runtime.notes import Notes
from aurora.runtime.prefetch import prefetch
from training.augment.geometry import random_affine, warp_image
from training.config import FitConfig
from training.data.prepare import first_lines

logger = logging.getLogger("aurora.training")

# Batches in flight while one is computed.
PREFETCH = 3


class ImageRef(NamedTuple):
    """An image file and its input root."""

    root: Path
    path: Path


def find_images(roots: Iterable[Path], on_bad_case: Literal["error", "skip"]) -> list[ImageRef]:
    """Return each image that a row of the roots names, once, with or without labels; log problems of the tables.

    Raises:
        ImageError: a row names no image, unless `on_bad_case` is "skip".
        InputError: no row names an image.
    """
    images: dict[Path, ImageRef] = {}
    problems = []
    for root in roots:
        rows = read_rows(root)
        problems += [f"{problem.source}: {problem.message}" for problem in rows.problems]
        for row in rows.rows:
            try:
                path = image_file(root, row)
            except ImageError as error:
                if on_bad_case == "error":
                    raise
                problems.append(f"left out: {error}")
            else:
                images.setdefault(path, ImageRef(root, path))
    for line in first_lines(problems):
        logger.info("%s", line)
    if not images:
        raise InputError("expected rows with images, found none; check the folder with 'python -m inference check'")
    return list(images.values())


class UnlabelledImages:
    """An endless stream of batches (B, H, W, 3) uint8 at the model's input size; each pass has every image once.

    The stream is deterministic for a given seed. An image that can't be read raises `ImageError` or, if the
    configuration skips bad cases, is left out, with the reason in `skipped`. What is unusual about the images that were
    drawn is in `warnings`, by path.
    """

    def __init__(self, images: Sequence[ImageRef], config: FitConfig) -> None:
        self.images, self.config = images, config
        self.skipped: dict[Path, str] = {}
        self.warnings: dict[Path, tuple[str, ...]] = {}

    def notes(self) -> Notes:
        """Count what is unusual about the images drawn so far."""
        notes = Notes()
        for path, warnings in sorted(self.warnings.items()):
            for warning in warnings:
                notes.add(warning, path.name)
        return notes

    def __iter__(self) -> Iterator[np.ndarray]:
        size = self.config.batch_size
        samples = prefetch(self._load, self._draws(), limit=PREFETCH * size, threads=self.config.num_workers)
        usable = (sample for sample in samples if sample is not None)
        while True:
            yield np.stack(list(islice(usable, size)))

    def _draws(self) -> Iterator[tuple[int, int]]:
        """Yield indices of images, each with the seed of its augmentation."""
        rng = np.random.default_rng(self.config.seed)
        while True:
            for index in rng.permutation(len(self.images)):
                yield int(index), int(rng.integers(2**63))
            if len(self.skipped) == len(self.images):
                raise InputError(f"expected images that can be read, found none among {len(self.images)}")

    def _load(self, draw: tuple[int, int]) -> np.ndarray | None:
        index, seed = draw
        root, path = self.images[index]
        try:
            image = read_image(path, root)
        except ImageError as error:
            if self.config.on_bad_case == "error":
                raise
            self.skipped[path] = str(error)
            return None
        if image.warnings:
            self.warnings[path] = image.warnings
        pixels = image.pixels
        if "geometry" not in self.config.augment:
            return resize_to(pixels, self.config.image_size)
        rng = np.random.default_rng(seed)
        affine = random_affine(rng, pixels.shape[:2], self.config.image_size, sided=False)
        return warp_image(resize_to(pixels, self.config.image_size), affine)
