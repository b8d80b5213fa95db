"""Medical formats, through SimpleITK: one slice of a MetaImage, NIfTI or DICOM file."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aurora.errors import ImageError
from aurora.soundness import MAX_VOXELS, require_sound

if TYPE_CHECKING:
    import numpy as np
    import SimpleITK as sitk

#: An image with more pixels isn't decoded: a file of a few hundred kilobytes can unpack to gigabytes.
MAX_PIXELS = 100_000_000

_READERS = {".mha": "MetaImageIO", ".nii": "NiftiImageIO", ".nii.gz": "NiftiImageIO", ".dcm": "GDCMImageIO"}
# Instead of what ITK says, which names its own files and addresses.
_UNREADABLE = "can't be decoded, the file is damaged or of a kind that isn't read"


@dataclass(frozen=True, slots=True)
class Slice:
    """(H, W) or (H, W, 3) pixels of any number type; `window` is the range (low, high) to show, if the file has one."""

    pixels: "np.ndarray"
    window: tuple[float, float] | None
    warnings: tuple[str, ...]


def reader_of(name: str, head: bytes) -> str | None:
    """SimpleITK's reader for a file by its name and its first 132 bytes; None when it isn't a medical format."""
    if head[128:132] == b"DICM":
        return "GDCMImageIO"
    return next((reader for end, reader in _READERS.items() if name.lower().endswith(end)), None)


def volume_size(path: Path, reader: str) -> tuple[int, int]:
    """(height, width) of a slice, from the header; `ImageError` when it can't be read."""
    width, height = _open(path, reader).GetSize()[:2]
    return height, width


def read_slice(path: Path, reader: str) -> Slice:
    """The middle slice (of the middle frame) of a volume, with a warning when there are several.

    Raises `ImageError` when the file can't be read or is too large.
    """
    import SimpleITK as sitk

    source = _open(path, reader)
    size = source.GetSize()
    if size[0] * size[1] > MAX_PIXELS or math.prod(size) > MAX_VOXELS:
        raise ImageError(f"its size {'x'.join(map(str, size))} is more than is read", path)
    if len(size) > 2:
        source.SetExtractIndex([0, 0, *(extent // 2 for extent in size[2:])])
        source.SetExtractSize([*size[:2], *(0 for _ in size[2:])])
    try:
        pixels = sitk.GetArrayFromImage(source.Execute())
    except RuntimeError:
        raise ImageError(_UNREADABLE, path) from None
    if pixels.ndim == 3:
        pixels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0]
    count = math.prod(size[2:])
    warnings = (f"the middle one of {count} slices was taken",) if count > 1 else ()
    return Slice(pixels, _window(source), warnings)


def _open(path: Path, reader: str) -> "sitk.ImageFileReader":
    """A reader that knows the header and has at least two dimensions."""
    import SimpleITK as sitk

    require_sound(path, reader)
    sitk.ProcessObject.GlobalWarningDisplayOff()
    source = sitk.ImageFileReader()
    source.SetImageIO(reader)
    source.SetFileName(str(path))
    try:
        source.ReadImageInformation()
    except RuntimeError:
        raise ImageError(_UNREADABLE, path) from None
    if len(source.GetSize()) < 2 or 0 in source.GetSize():
        raise ImageError(f"expected an image, found the size {source.GetSize()}", path)
    return source


def _window(source: "sitk.ImageFileReader") -> tuple[float, float] | None:
    """The first DICOM window as (low, high) in the pixels' own units (DICOM PS3.3 C.11.2.1.2, LINEAR)."""
    try:
        centre, width = _tag(source, "0028|1050"), _tag(source, "0028|1051")
        if source.GetMetaData("0028|0004").strip() == "MONOCHROME1":
            centre = _mirrored(source, centre)
    except (RuntimeError, ValueError):
        return None
    if not (width > 1 and math.isfinite(centre) and math.isfinite(width)):
        return None
    return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2


def _mirrored(source: "sitk.ImageFileReader", centre: float) -> float:
    """ITK hands MONOCHROME1 out inverted (low is dark) without telling the window, which is mirrored here."""
    stored_ends = -1 if _tag(source, "0028|0103") else 2 ** _tag(source, "0028|0101") - 1
    slope, intercept = 1.0, 0.0
    if source.HasMetaDataKey("0028|1053") and source.HasMetaDataKey("0028|1052"):
        slope, intercept = _tag(source, "0028|1053"), _tag(source, "0028|1052")
    return slope * stored_ends + 2 * intercept - centre


def _tag(source: "sitk.ImageFileReader", key: str) -> float:
    return float(source.GetMetaData(key).split("\\")[0])
