"""Measure how unlike the training images an image is."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Novelty(nn.Module):
    """Squared Mahalanobis distance of an image's features from those of the training images, as a share of a limit.

    Images above the limit, 1, are unlike the training images. A single normal distribution is fitted, by `fit_`, as in
    Lee et al., *A simple unified framework for detecting out-of-distribution samples and adversarial attacks*,
    NeurIPS 2018.

    Args:
        features: the number of features.
    """

    centre: Tensor
    whitening: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("whitening", torch.zeros(features, features))

    def forward(self, features: Tensor) -> Tensor:
        """Return the novelty (B,) of images by their features (B, features)."""
        return ((features - self.centre) @ self.whitening).square().sum(1)

    @torch.no_grad()
    def fit_(self, training: Tensor, validation: Tensor, limit_share: float, shrinkage: float) -> None:
        """Fit the distribution to training images, and the limit to validation images.

        Args:
            training: the features of training images, (N, features).
            validation: the features of validation images, (M, features).
            limit_share: the share of the validation images, in (0, 1), that the limit includes.
            shrinkage: the share of a diagonal matrix in the covariance, in (0, 1); more for few images.
        """
        deviation = training.std(0).clamp_min(1e-6)
        centred = (training - training.mean(0)) / deviation
        covariance = centred.T @ centred / len(centred)
        shrunk = (1 - shrinkage) * covariance + shrinkage * torch.eye(len(covariance))
        variances, directions = torch.linalg.eigh(shrunk.double())
        self.centre.copy_(training.mean(0))
        self.whitening.copy_(directions / variances.sqrt() / deviation[:, None])
        self.whitening /= self(validation).quantile(limit_share).sqrt()


def channel_statistics(maps: Sequence[Tensor]) -> Tensor:
    """Return the mean and the deviation of every channel of every map (B, C, rows, columns): (B, 2 x sum of C)."""
    statistics = []
    for values in maps:
        mean = values.float().mean((2, 3), keepdim=True)
        deviation = (values.float() - mean).square().mean((2, 3)).sqrt()
        statistics += [mean.flatten(1), deviation]
    return torch.cat(statistics, dim=1)
