"""Read what a run has written for a row, and check that it is valid for the row."""

from pathlib import Path

import numpy as np
from pydantic import ValidationError

from aurora.images import read_mask
from aurora.kinds import KINDS, Entry, Record
from aurora.kinds.segmentation import exists
from aurora.rows import Row, predicted_mask_path


def written_record(entry: Entry, row: Row) -> Record:
    """Return the prediction that an entry of a JSON file holds; raise `ValueError` if it is invalid for the row."""
    kind = KINDS[row.type]
    if kind.RECORD is None:
        raise ValueError(f"predictions of {row.type} are files, not entries of a JSON file")
    try:
        record = kind.RECORD.model_validate(entry, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    kind.check(record, row)
    return record


def written_mask(folder: Path, row: Row) -> np.ndarray | None:
    """Return the mask of a row, (H, W) uint8 class ids, from the output folder; None if there is none.

    Its size isn't compared with that of the image.

    Raises:
        ImageError: it can't be read.
        ValueError: it is invalid for the row.
    """
    name = predicted_mask_path(row)
    if not exists(folder / name):
        return None
    mask = read_mask(folder / name)
    KINDS[row.type].check(mask, row)
    return mask
