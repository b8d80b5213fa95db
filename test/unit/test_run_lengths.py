"""Masks are decoded as COCO's own library decodes them."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from support.formats import disc

from training.exchange.run_lengths import region_of, runs_of

#: Masks that are empty, full, of single pixels and of long runs.
REGIONS = [
    np.zeros((5, 7), np.uint8),
    np.ones((5, 7), np.uint8),
    np.eye(9, 4, dtype=np.uint8),
    disc(),
    np.kron(np.random.default_rng(0).integers(0, 2, (3, 4), dtype=np.uint8), np.ones((400, 300), np.uint8)),
]


@pytest.mark.parametrize("region", REGIONS)
def test_a_mask_that_cocos_library_encoded_is_decoded(region: np.ndarray) -> None:
    text = coco_mask.encode(np.asfortranarray(region))["counts"].decode()
    assert np.array_equal(region_of(runs_of(text), region.shape), region)
