"""Read from a DICOM header which values to show, where sequences state it: look-up tables, and windows of frames."""

import re
import warnings
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from aurora.images.intensity import LookupTable, Window

if TYPE_CHECKING:
    from pydicom import Dataset

_TAGS = [
    *("VOILUTSequence", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("PhotometricInterpretation", "PixelRepresentation"),
]
# The tags of VOI LUT Sequence and Frame VOI LUT Sequence, in both byte orders.
_SEQUENCES = re.compile(rb"\x28\0(?:\x10\x30|\x32\x91)|\0\x28(?:\x30\x10|\x91\x32)")


def stated_in_sequences(header: bytes, frame: int) -> LookupTable | Window | None:
    """Return what to show of a frame, by its number from 0; None if no sequence of a monochrome image states it.

    A look-up table comes before the windows (PS3.3 C.11.2 leaves the choice to the viewer), then the window of the
    frame, then the one that all frames share (C.7.6.16.2.10).
    """
    if not _SEQUENCES.search(header):
        return None
    import pydicom

    # pydicom's errors and warnings about damaged headers have no common class, and the file can be shown without.
    with suppress(Exception), warnings.catch_warnings(action="ignore"):
        dataset = pydicom.dcmread(BytesIO(header), force=True, specific_tags=_TAGS)
        if not dataset.PhotometricInterpretation.startswith("MONOCHROME"):
            return None
        return _lookup_table(dataset) if dataset.get("VOILUTSequence") else _window(dataset, frame)
    return None


def _lookup_table(dataset: "Dataset") -> LookupTable:
    item = dataset.VOILUTSequence[0]
    entries, first, bits = item.LUTDescriptor
    data, entries = item.LUTData, entries or 1 << 16  # 2^16 doesn't fit the descriptor (PS3.3 C.11.2.1.1)
    if isinstance(data, bytes):
        order = "<" if dataset.original_encoding[1] else ">"
        data = np.frombuffer(data, np.uint8 if len(data) < 2 * entries else np.dtype(f"{order}u2"))
    values = np.asarray(data, dtype=np.float64)[:entries] / ((1 << bits) - 1)
    return LookupTable(first, (255 * np.clip(values, 0, 1) + 0.5).astype(np.uint8))


def _window(dataset: "Dataset", frame: int) -> Window | None:
    groups = [
        *dataset.get("PerFrameFunctionalGroupsSequence", [])[frame : frame + 1],
        *dataset.get("SharedFunctionalGroupsSequence", [])[:1],
    ]
    for group in groups:
        for item in group.get("FrameVOILUTSequence", [])[:1]:
            centre, width = (np.atleast_1d(item[name].value)[0] for name in ("WindowCenter", "WindowWidth"))
            return Window.usable(float(centre), float(width), item.get("VOILUTFunction") or "LINEAR")
    return None
