"""Fit the novelty of images: how unlike the training images they are."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from aurora.images.reader import ModelInput, load_model_input
from aurora.model.aurora import Aurora, normalise
from aurora.model.novelty import Novelty
from aurora.runtime.hardware import processors
from aurora.runtime.prefetch import prefetch
from training.data.cases import Case, distinct_images

logger = logging.getLogger("aurora.training")

#: The fewest training and validation images to fit to.
MIN_IMAGES = 10
#: Training images to fit the distribution to, evenly taken from all.
MAX_IMAGES = 4000
#: The share of the validation images that are to be like the training images.
LIMIT_SHARE = 0.985
#: The share of a diagonal matrix in the covariance.
SHRINKAGE = 0.01


def fit_novelty(model: Aurora, training: Sequence[Case], validation: Sequence[Case], batch_size: int) -> None:
    """Give the model a `Novelty` that is fitted to the cases' images; images that can't be read are left out.

    With fewer than `MIN_IMAGES` of either, the model has none.
    """
    images = distinct_images(training)
    known, unseen = (
        image_features(model, chosen, batch_size)
        for chosen in (images[:: -(-len(images) // MAX_IMAGES)], distinct_images(validation))
    )
    if min(len(known), len(unseen)) < MIN_IMAGES:
        logger.info("%d and %d images are too few to tell which are unlike them", len(known), len(unseen))
        model.novelty, model.config = None, replace(model.config, novelty=False)
        return
    model.novelty, model.config = Novelty(known.shape[1]), replace(model.config, novelty=True)
    model.novelty.fit_(known, unseen, LIMIT_SHARE, SHRINKAGE)


@torch.inference_mode()
def image_features(model: Aurora, cases: Iterable[Case], batch_size: int) -> Tensor:
    """Return the features (N, features) of the images that can be read; see `Aurora.features`."""

    def read(case: Case) -> ModelInput:
        return load_model_input(case.root, case.row, model.config.image_size)

    loaded = prefetch(read, cases, 2 * batch_size, processors(), low_priority=True)
    pixels = (image.pixels for image in loaded if image.pixels is not None)
    features = [model.features(normalise(torch.from_numpy(np.stack(batch)))) for batch in _batches(pixels, batch_size)]
    return torch.cat(features) if features else torch.empty(0, 0)


def _batches(items: Iterator[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    while batch := list(islice(items, size)):
        yield batch
