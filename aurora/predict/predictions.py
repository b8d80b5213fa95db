"""The prediction of one row, or the fallback that replaces it."""

from dataclasses import dataclass

import numpy as np

from aurora.images.reader import ModelInput
from aurora.kinds import KINDS, Facts, Prediction
from aurora.kinds.base import Size
from aurora.predict.request import Request
from aurora.rows import Row

#: The size (height, width) that a fallback takes where the image's own can't be read.
UNKNOWN_SIZE = (512, 512)
#: A stated size beyond these counts as unknown: a mask of it fits neither into a PNG nor into memory.
MAX_MASK_SIDE = 1_000_000
MAX_MASK_PIXELS = 1 << 29


@dataclass(frozen=True, slots=True)
class RawRow:
    """A request with what its prediction is made of.

    `raw` is the model's output for it, (channels, ...), None if there is none, and `reason` why. `last` marks the last
    row of a batch.
    """

    request: Request
    image: ModelInput
    raw: np.ndarray | None
    reason: str | None
    last: bool


@dataclass(frozen=True, slots=True)
class PredictedRow:
    """The prediction of a row.

    `fallback` says why it is only a fallback, None if it isn't one; `warnings` say what else is odd. `confidence` is
    None for a fallback. `last` marks the last row of a batch.
    """

    row: Row
    prediction: Prediction
    fallback: str | None
    warnings: tuple[str, ...]
    confidence: float | None
    last: bool

    def facts(self) -> Facts:
        """Return what a report counts of the prediction."""
        return KINDS[self.row.type].facts(self.prediction)


def predict_row(item: RawRow) -> PredictedRow:
    """Decode the model's output of one row; where there is none that is usable, take a fallback."""
    request, image = item.request, item.image
    kind = KINDS[request.row.type]
    warnings = image.warnings if request.warning is None else (*image.warnings, request.warning)
    reason = request.rejection or image.reason or item.reason
    if item.raw is not None and image.size is not None:
        try:
            if not np.isfinite(item.raw).all():
                raise ValueError("the model's output is not finite")
            prediction = kind.predict(request.row, request.count, item.raw, image.size)
            confidence = kind.confidence(item.raw[: request.count])
            return PredictedRow(request.row, prediction, None, warnings, confidence, item.last)
        except ValueError as error:
            reason = str(error)
    prediction = kind.fallback(request.row, request.count, fallback_size(image.size))
    return PredictedRow(request.row, prediction, reason, warnings, None, item.last)


def fallback_size(size: Size | None) -> Size:
    """Return the size (height, width) of a fallback.

    It is the image's own, unless that is unknown or more than a mask can have.
    """
    if size is None or max(size) > MAX_MASK_SIDE or size[0] * size[1] > MAX_MASK_PIXELS:
        return UNKNOWN_SIZE
    return size
