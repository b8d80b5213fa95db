"""The prediction of one row, or the fallback that replaces it."""

from dataclasses import dataclass

import numpy as np

from aurora.images.reader import ModelInput
from aurora.kinds import KINDS, Facts, Prediction
from aurora.kinds.base import Size
from aurora.predict.request import Request
from aurora.rows import Row
from aurora.tasks import Task

#: The size (height, width) of a fallback if the size of the image can't be read.
UNKNOWN_SIZE = (512, 512)
#: A stated size beyond these counts as unknown: a mask of it fits neither into a PNG nor into memory.
MAX_MASK_SIDE = 1_000_000
MAX_MASK_PIXELS = 1 << 29


@dataclass(frozen=True, slots=True)
class RawRow:
    """A request with the model's output for it.

    `raw` is the output of its task, (channels, ...), and `source` that of the task whose mask gives its prediction, or
    None; `reason` is set if there was not enough memory for them. `last` marks the last row of a batch.
    """

    request: Request
    image: ModelInput
    raw: np.ndarray | None
    source: np.ndarray | None
    reason: str | None
    last: bool


@dataclass(frozen=True, slots=True)
class PredictedRow:
    """The prediction of a row.

    `fallback` is the reason for a fallback, None for the model's prediction; `warnings` say what else is unusual.
    `confidence`, in [0, 1], is calibrated if the weights say how, `raw_confidence` is not; both are None for a
    fallback. `size` is that of the image, (height, width), or of a fallback. `last` marks the last row of a batch.
    """

    row: Row
    prediction: Prediction
    fallback: str | None
    warnings: tuple[str, ...]
    confidence: float | None
    raw_confidence: float | None
    size: Size
    last: bool

    def facts(self) -> Facts:
        """Return the facts about the prediction that a report counts."""
        return KINDS[self.row.type].facts(self.prediction)


def predict_row(item: RawRow) -> PredictedRow:
    """Decode the model's output for one row; return a fallback if the output is missing or unusable."""
    request, image = item.request, item.image
    kind = KINDS[request.row.type]
    warnings = image.warnings if request.warning is None else (*image.warnings, request.warning)
    reason = request.rejection or image.reason or item.reason
    if item.raw is not None and image.size is not None:
        try:
            if not np.isfinite(item.raw).all():
                raise ValueError("the model's output is not finite")
            prediction = _derived(item, image.size)
            if prediction is None:
                prediction = kind.predict(request.row, request.count, item.raw, image.size)
            confidence = raw_confidence = kind.confidence(item.raw[: request.count])
            if request.task:
                prediction = _refined(prediction, request.task)
                confidence = _calibrated(confidence, request.task)
            return PredictedRow(
                request.row, prediction, None, warnings, confidence, raw_confidence, image.size, item.last
            )
        except ValueError as error:
            reason = str(error)
    size = fallback_size(image.size)
    prediction = kind.fallback(request.row, request.count, size)
    return PredictedRow(request.row, prediction, reason, warnings, None, None, size, item.last)


def _derived(item: RawRow, size: Size) -> Prediction | None:
    """Return the prediction that the source's mask gives; None without a source, or if its mask says nothing."""
    request = item.request
    task, source = request.task, request.source
    if item.source is None or source is None or task is None or task.derivation is None:
        return None
    mask = _refined(KINDS[source.type].predict(request.row, source.num_classes, item.source, size), source)
    derive = KINDS[task.type].DERIVATIONS[task.derivation.rule]
    return derive(request.row, request.count, mask) if isinstance(mask, np.ndarray) else None


def _refined(prediction: Prediction, task: Task) -> Prediction:
    for name in task.refinements:
        if isinstance(prediction, np.ndarray):
            prediction = KINDS[task.type].REFINEMENTS[name](prediction)
    return prediction


def _calibrated(confidence: float, task: Task) -> float:
    if not task.calibration:
        return confidence
    raw, scores = zip(*task.calibration, strict=True)
    return float(np.interp(confidence, raw, scores))


def fallback_size(size: Size | None) -> Size:
    """Return the size (height, width) of a fallback.

    It is the size of the image, unless that is unknown or too large for a mask.
    """
    if size is None or max(size) > MAX_MASK_SIDE or size[0] * size[1] > MAX_MASK_PIXELS:
        return UNKNOWN_SIZE
    return size
