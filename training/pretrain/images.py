"""The images of input roots, labelled or not, read and augmented in threads ahead of the network."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from aurora.errors import ImageError, InputError
from aurora.images import read_image
from aurora.images.transform import resize_to
from aurora.rows import image_file, read_rows
from aurora.runtime.prefetch import prefetch
from training.augment.geometry import random_affine, warp_image
from training.config import FitConfig
from training.data.prepare import tell

# Batches on their way while one is computed.
PREFETCH = 3

#: An input root and the file of an image inside it.
Picture = tuple[Path, Path]


def find_pictures(roots: Iterable[Path], bad_cases: str) -> list[Picture]:
    """Each image that a row of the roots names, once, whatever its labels are.

    Says on the terminal what is wrong with the tables. Raises `ImageError` for a row that names no image unless
    `bad_cases` is "skip", `InputError` if no row does.
    """
    found: dict[Path, Path] = {}
    problems = []
    for root in roots:
        rows = read_rows(root)
        problems += [f"{problem.source}: {problem.message}" for problem in rows.problems]
        for row in rows.rows:
            try:
                found.setdefault(image_file(root, row), root)
            except ImageError as error:
                if bad_cases == "error":
                    raise
                problems.append(f"left out: {error}")
    tell(problems)
    if not found:
        raise InputError("expected rows with images, found none; check the folder with 'python -m inference check'")
    return [(root, path) for path, root in found.items()]


class UnlabelledImages:
    """Endless batches (B, H, W, 3) uint8 of pictures in the model's frame, each once before any comes again.

    The same for the same seed. Images that can't be read end it with an `ImageError`, or, where the configuration
    skips bad cases, are left out and named in `skipped`.
    """

    def __init__(self, pictures: Sequence[Picture], config: FitConfig) -> None:
        self.pictures, self.config = pictures, config
        self.skipped: dict[Path, str] = {}

    def __iter__(self) -> Iterator[np.ndarray]:
        size = self.config.batch_size
        samples = prefetch(self._load, self._draws(), limit=PREFETCH * size, threads=self.config.loader_threads)
        usable = (sample for sample in samples if sample is not None)
        while True:
            yield np.stack(list(islice(usable, size)))

    def _draws(self) -> Iterator[tuple[int, int]]:
        """Pictures by index, each with the seed of its augmentation."""
        rng = np.random.default_rng(self.config.seed)
        while True:
            for index in rng.permutation(len(self.pictures)):
                yield int(index), int(rng.integers(2**63))
            if len(self.skipped) == len(self.pictures):
                raise InputError(f"expected images to learn from, found none that can be read of {len(self.pictures)}")

    def _load(self, draw: tuple[int, int]) -> np.ndarray | None:
        index, seed = draw
        root, path = self.pictures[index]
        try:
            pixels = read_image(path, root).pixels
        except ImageError as error:
            if self.config.bad_cases == "error":
                raise
            self.skipped[path] = str(error)
            return None
        image = resize_to(pixels, self.config.image_size)
        if "geometry" not in self.config.augment:
            return image
        rng = np.random.default_rng(seed)
        return warp_image(image, random_affine(rng, pixels.shape[:2], self.config.image_size, sided=False))
