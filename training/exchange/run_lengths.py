"""Decode masks that are run-length encoded as COCO does: column by column, zeros first."""

from collections.abc import Sequence

import numpy as np


def runs_of(text: str) -> list[int]:
    """Return the runs of a compressed mask: numbers of 5 bits per character.

    From the fourth on, they are differences from the last but one. The reference is `rleFrString` in COCO's maskApi.c.
    """
    runs: list[int] = []
    value = bits = 0
    for code in (ord(character) - 48 for character in text):
        value |= (code & 31) << bits
        bits += 5
        if not code & 32:
            value -= (code >> 4 & 1) << bits
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = bits = 0
    return runs


def region_of(runs: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Return the mask of some runs, (H, W) uint8 of 0 and 1; their sum is H x W."""
    # pycocotools.mask.decode gives the same, but its arrays don't follow NumPy 2, which warns of each.
    values = np.arange(len(runs), dtype=np.uint8) % 2
    return np.repeat(values, runs).reshape(size[::-1]).T
