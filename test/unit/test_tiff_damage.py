"""Damage in the strips of TIFF files that OpenCV reads without a word: named in images, refused in masks."""

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from aurora.errors import ImageError
from aurora.images import read_image, read_mask
from aurora.images.cine import open_cine

SMOOTH = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (240, 320), np.uint8), (0, 0), 3)
#: The compressions with the modes of images that Pillow writes in them.
WRITTEN = [
    *((name, mode) for name in ("tiff_lzw", "tiff_deflate", "tiff_adobe_deflate") for mode in ("1", "L", "RGB", "P")),
    *((name, mode) for name in ("tiff_lzw", "tiff_adobe_deflate") for mode in ("RGBA", "CMYK", "YCbCr", "F")),
    *(("packbits", mode) for mode in ("1", "L", "RGB", "P")),
    *(("jpeg", mode) for mode in ("L", "RGB", "CMYK", "YCbCr")),
    *((name, "1") for name in ("group3", "group4")),
]


def tiff(compression: str | None, mode: str) -> bytes:
    """Return a TIFF of several strips."""
    buffer = BytesIO()
    PIL.Image.fromarray(cv2.normalize(SMOOTH, None, 0, 255, cv2.NORM_MINMAX)).convert(mode).save(
        buffer, "TIFF", compression=compression, strip_size=320 * 16
    )
    return buffer.getvalue()


def damaged(data: bytes, fill: bytes = b"\x80\x55\xff\xc4") -> bytes:
    """Overwrite the last two thirds of the strip in the middle."""
    with PIL.Image.open(BytesIO(data)) as image:
        offsets, lengths = image.tag_v2[273], image.tag_v2[279]  # type: ignore[attr-defined]
    begin, end = (offsets[len(offsets) // 2] + lengths[len(offsets) // 2] * part // 3 for part in (1, 3))
    return data[:begin] + (fill * (end - begin))[: end - begin] + data[end:]


@pytest.mark.parametrize(("compression", "mode"), WRITTEN)
def test_a_damaged_strip_is_named_or_refused(tmp_path: Path, compression: str, mode: str) -> None:
    path = tmp_path / "i.tif"
    path.write_bytes(tiff(compression, mode))
    assert not [warning for warning in read_image(path, tmp_path).warnings if "scaled" not in warning]
    path.write_bytes(damaged(path.read_bytes()))
    try:
        said = "; ".join(read_image(path, tmp_path).warnings)
    except ImageError as error:
        said = error.reason
    assert "damaged in part, its decoder reported: " in said or said == "can't be decoded, the file is damaged"


def test_pixels_that_still_decode_are_compared_with_the_checksum(tmp_path: Path) -> None:
    path = tmp_path / "i.tif"
    path.write_bytes(damaged(tiff("tiff_adobe_deflate", "L"), bytes(1)))
    assert any(warning.startswith("damaged in part") for warning in read_image(path, tmp_path).warnings)


@pytest.mark.parametrize("compression", ["packbits", "tiff_lzw", "tiff_adobe_deflate"])
def test_a_damaged_mask_is_refused(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "m.tif"
    path.write_bytes(tiff(compression, "L"))
    assert np.array_equal(read_mask(path), read_image(path, tmp_path).pixels[..., 0])
    path.write_bytes(damaged(path.read_bytes()))
    with pytest.raises(ImageError, match="is damaged in part, its decoder reported: "):
        read_mask(path)


def test_a_damaged_page_is_named_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "i.tif"
    first, second = (PIL.Image.open(BytesIO(tiff("tiff_lzw", "L"))) for _ in range(2))
    first.save(path, "TIFF", save_all=True, append_images=[second], compression="tiff_lzw")
    path.write_bytes(damaged(path.read_bytes()))
    cine = open_cine(path)
    reports = [image.warnings for image in cine.images(range(2)) if not isinstance(image, ImageError)]
    assert [len(warnings) for warnings in reports] == [1, 0]
