"""Images and masks of all formats have the orientation and pixels of OpenCV's default `imread`."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
from support.files import tiff_of_bits

from aurora.images import image_size, read_image, read_mask


def picture(height: int = 24, width: int = 40) -> np.ndarray:
    """Return a smooth picture without any symmetry."""
    y, x = np.mgrid[:height, :width]
    return np.stack([3 * x + y, 4 * y + 50, 200 - 2 * x - y], axis=2).clip(0, 255).astype(np.uint8)


def save(path: Path, mode: str = "RGB", pixels: np.ndarray | None = None, **options: object) -> Path:
    image = PIL.Image.fromarray(picture() if pixels is None else pixels)
    image.convert(mode).save(path, **options)  # type: ignore[arg-type]
    return path


def imread(path: Path) -> np.ndarray:
    pixels = cv2.imread(str(path))
    assert pixels is not None
    return pixels[..., ::-1]


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((f"i.{end}", "RGB") for end in ("png", "jpg", "jpeg", "bmp", "tiff", "gif", "webp", "ppm", "jp2")),
        *(("i.png", mode) for mode in ("RGBA", "LA", "P", "1", "L")),
        *(("i.jpg", mode) for mode in ("CMYK", "L")),
        *(("i.bmp", mode) for mode in ("P", "1", "L")),
        *(("i.tiff", mode) for mode in ("RGBA", "CMYK", "LA", "P", "1", "L")),
    ],
)
def test_every_8_bit_kind_reads_as_imread_does(tmp_path: Path, name: str, mode: str) -> None:
    path = save(tmp_path / name, mode)
    image = read_image(path, tmp_path)
    assert np.array_equal(image.pixels, imread(path))
    assert image.warnings == ()
    assert image.pixels.flags.c_contiguous or image.pixels.strides[2] == 0
    assert image_size(path, tmp_path) == (24, 40)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1)])
def test_extreme_shapes(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = save(tmp_path / "i.png", pixels=np.full((*shape, 3), 7, np.uint8))
    assert read_image(path, tmp_path).pixels.shape == (*shape, 3)
    assert image_size(path, tmp_path) == shape


def test_a_name_that_is_not_ascii(tmp_path: Path) -> None:
    path = save(tmp_path / "blåse, 超音波 2.png")
    assert np.array_equal(read_image(path, tmp_path).pixels, picture())


def save_turned(path: Path, orientation: int) -> Path:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    return save(path, exif=exif)


@pytest.mark.parametrize("name", ["i.jpg", "i.png", "i.webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_imread_does(tmp_path: Path, name: str, orientation: int) -> None:
    path = save_turned(tmp_path / name, orientation)
    image = read_image(path, tmp_path)
    assert np.array_equal(image.pixels, imread(path))
    assert image_size(path, tmp_path) == image.pixels.shape[:2]
    assert any("orientation" in warning for warning in image.warnings) == (orientation != 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_too_where_imread_gives_none(tmp_path: Path, orientation: int) -> None:
    path = save_turned(tmp_path / "i.tiff", orientation)
    with PIL.Image.open(path) as image:
        expected = np.array(PIL.ImageOps.exif_transpose(image))
    assert np.array_equal(read_image(path, tmp_path).pixels, expected)
    assert image_size(path, tmp_path) == expected.shape[:2]


def test_exif_orientation_holds_for_16_bits_too(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "i.png"
    PIL.Image.fromarray(picture()[..., 0].astype(np.uint16) * 9).save(path, exif=exif)
    image = read_image(path, tmp_path)
    assert image.pixels.shape == (40, 24, 3)
    assert image_size(path, tmp_path) == (40, 24)
    # Turned clockwise, the stored left column, dark, becomes the upper row.
    assert image.pixels[0].mean() < image.pixels[-1].mean()


def test_a_mask_keeps_its_class_ids(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 5, (24, 40), np.uint8)
    for name in ("m.png", "m.bmp", "m.tiff"):
        cv2.imwrite(str(tmp_path / name), ids)
        assert np.array_equal(read_mask(tmp_path / name), ids)


def test_a_mask_with_equal_channels_or_more_bits_is_one_too(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 5, (24, 40), np.uint8)
    cv2.imwrite(str(tmp_path / "rgb.png"), cv2.merge([ids] * 3))
    cv2.imwrite(str(tmp_path / "deep.png"), ids.astype(np.uint16))
    assert np.array_equal(read_mask(tmp_path / "rgb.png"), ids)
    assert np.array_equal(read_mask(tmp_path / "deep.png"), ids)
    assert read_mask(tmp_path / "deep.png").dtype == np.uint8


def palette_mask(path: Path, ids: np.ndarray, **options: object) -> Path:
    image = PIL.Image.fromarray(ids)
    image.putpalette([0, 0, 0, 200, 30, 0, 0, 90, 10, 255, 255, 255])
    image.save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("name", ["m.png", "m.bmp", "m.tiff", "m.gif"])
def test_a_mask_with_a_palette_has_the_ids_that_are_stored(tmp_path: Path, name: str) -> None:
    ids = np.random.default_rng(0).integers(0, 4, (24, 40), np.uint8)
    assert np.array_equal(read_mask(palette_mask(tmp_path / name, ids)), ids)


def test_a_mask_of_few_bits_has_the_ids_that_are_stored(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 4, (24, 40), np.uint8)
    for bits in (2, 4):
        assert np.array_equal(read_mask(palette_mask(tmp_path / "m.png", ids, bits=bits)), ids)

    for name in ("m.png", "m.bmp", "m.tiff"):
        PIL.Image.fromarray(ids > 1).save(tmp_path / name)
        assert np.array_equal(read_mask(tmp_path / name), ids > 1)


def grey_png(ids: np.ndarray, bits: int) -> bytes:
    """Return a grey PNG of `bits` per pixel, which no library writes."""
    packed = np.packbits(np.unpackbits(ids[..., None], axis=2)[..., 8 - bits :].reshape(len(ids), -1), axis=1)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", *ids.shape[::-1], bits, 0, 0, 0, 0))]
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_grey_mask_of_few_bits_is_not_spread_over_8(tmp_path: Path, bits: int) -> None:
    ids = np.random.default_rng(0).integers(0, 2**bits, (24, 41), np.uint8)
    (tmp_path / "m.png").write_bytes(grey_png(ids, bits))
    assert np.array_equal(read_mask(tmp_path / "m.png"), ids)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("photometric", [0, 1])
def test_a_tiff_of_few_bits_is_shown_as_a_viewer_does(tmp_path: Path, bits: int, photometric: int) -> None:
    ids = np.random.default_rng(0).integers(0, 2**bits, (24, 40), np.uint8)
    (tmp_path / "i.tiff").write_bytes(tiff_of_bits(ids, bits, photometric))
    shown = (ids if photometric else 2**bits - 1 - ids) * (255 // (2**bits - 1))
    assert np.array_equal(read_image(tmp_path / "i.tiff", tmp_path).pixels[..., 0], shown)
    assert np.array_equal(read_mask(tmp_path / "i.tiff"), ids)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.float32])
def test_a_tiff_whose_white_is_zero_is_the_right_way_round(tmp_path: Path, kind: type) -> None:
    ramp = np.linspace(0, 200, 960).reshape(24, 40).astype(kind)
    path = tmp_path / "i.tiff"
    PIL.Image.fromarray(ramp if kind is not np.uint32 else ramp.astype(np.int32)).save(path)
    plain = read_image(path, tmp_path).pixels
    data = path.read_bytes()
    at = data.index(b"\x06\x01\x03\x00\x01\x00\x00\x00") + 8
    path.write_bytes(data[:at] + b"\0\0" + data[at + 2 :])
    assert np.array_equal(read_image(path, tmp_path).pixels, 255 - plain)
    if kind is not np.float32:
        assert np.array_equal(read_mask(path), ramp)
