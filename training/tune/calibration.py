"""Fit what a model's confidences are worth on validation cases, and draw it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aurora.runtime.files import replacing
from aurora.scoring.reliability import calibration_error, reliability_bins

# Temperatures are searched among these, which are equally spaced in their logarithm. A task without a mistake on the
# validation cases would ask for 0.
_TEMPERATURES = np.geomspace(0.25, 8.0, 101)
#: Parts of a cross-validation.
FOLDS = 5


class Confidences(NamedTuple):
    """Confidences of N cases before and after calibration, and the `scores` that they state, (N,) in [0, 1] each.

    A score is whether a class is right, or the score of a mask, box or set of landmarks. `after` is cross-validated.
    """

    before: np.ndarray
    after: np.ndarray
    scores: np.ndarray


def best_temperature(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature that maximises the likelihood of the labels (Guo et al., 2017).

    Args:
        log_probabilities: (N, C), the logarithms of predicted probabilities.
        labels: the true classes, (N,).

    Example:
        >>> certain = np.log([[0.99, 0.01]] * 4)
        >>> best_temperature(certain, np.array([0, 0, 0, 1])) > 3
        True
    """
    scaled = log_probabilities[None] / _TEMPERATURES[:, None, None]
    normalised = scaled - np.logaddexp.reduce(scaled, axis=2, keepdims=True)
    likelihood = normalised[:, np.arange(len(labels)), labels].mean(axis=1)
    return float(_TEMPERATURES[likelihood.argmax()])


def calibration_curve(confidences: np.ndarray, scores: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Return the points of the increasing line through (confidence, score) with the least squared error.

    Both are in [0, 1], and so are the line's values. Where scores fall with confidence, the line is their mean.

    Example:
        >>> calibration_curve(np.array([0.2, 0.4]), np.array([0.4, 0.8]))
        ((0.0, 0.0), (0.5, 1.0))
    """
    deviation = confidences - confidences.mean()
    variance = float((deviation**2).sum())
    slope = max(float((deviation * scores).sum()) / variance, 0.0) if variance else 0.0
    start = float(scores.mean()) - slope * float(confidences.mean())
    # The line from 0 to 1, cut off where its value leaves [0, 1].
    ends = {0.0, 1.0} | ({-start / slope, (1.0 - start) / slope} if slope else set())
    points = [(round(x, 4), round(min(max(start + slope * x, 0.0), 1.0), 4)) for x in sorted(ends) if 0.0 <= x <= 1.0]
    return tuple(dict(points).items())


def cross_validated(
    fit: Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]], count: int, seed: int = 0
) -> np.ndarray:
    """Return calibrated confidences, (count,), of cases that weren't used for their calibration.

    Args:
        fit: takes the indices of the cases to fit on, and returns a function from indices to calibrated confidences.
        count: the number of cases.
        seed: of the division of the cases into `FOLDS` parts.

    Example:
        >>> scores = np.array([0.2, 0.4, 0.6, 0.8] * 5)
        >>> cross_validated(lambda known: lambda held_out: np.full(len(held_out), scores[known].mean()), 20).round(1)[0]
        np.float64(0.5)
    """
    order = np.random.default_rng(seed).permutation(count)
    calibrated = np.empty(count)
    for part in range(min(FOLDS, count)):
        held_out = order[part::FOLDS]
        calibrated[held_out] = fit(np.setdiff1d(order, held_out))(held_out)
    return calibrated


def draw_reliability(groups: Mapping[str, Confidences], out: Path) -> None:
    """Draw, per group of tasks, the mean score against the stated confidence, before and after calibration.

    Raises:
        OutputError: `out` can't be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * len(groups), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, group) in zip(
        np.ravel(figure.subplots(1, len(groups), squeeze=False)), groups.items(), strict=True
    ):
        axes.plot([0, 1], [0, 1], color="0.8", linewidth=1)
        for label, confidences, style in (("before", group.before, "o:"), ("after", group.after, "s-")):
            means, rights, _ = reliability_bins(confidences, group.scores)
            axes.plot(means, rights, style, label=f"{label}: ECE {calibration_error(confidences, group.scores):.3f}")
        axes.set(
            title=f"{name} ({len(group.scores)})", xlabel="confidence", ylabel="mean score", xlim=(0, 1), ylim=(0, 1)
        )
        axes.legend(loc="upper left", fontsize="small")
    with replacing(out) as tmp:
        figure.savefig(tmp, dpi=100, format="png")


def joined(groups: Sequence[Confidences]) -> Confidences:
    """Return the cases of several groups as one."""
    return Confidences(*(np.concatenate(parts) for parts in zip(*groups, strict=True)))
