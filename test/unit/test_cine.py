"""Files of several frames: each kind as its own library writes it, frame by frame as the reader of images shows it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image as Pillow
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate

from aurora.errors import ImageError, UsageError
from aurora.images import Image, read_image
from aurora.images.cine import Cine, frame_numbers, open_cine

COUNT, HEIGHT, WIDTH = 7, 48, 64
RNG = np.random.default_rng(0)
FRAMES = np.stack(
    [cv2.GaussianBlur(RNG.integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8), (0, 0), 3) + 20 * n for n in range(COUNT)]
)
COLOURS = np.stack([FRAMES, FRAMES // 2, 255 - FRAMES], axis=-1)


def dicom(path: Path, pixels: np.ndarray | list[bytes] = FRAMES, syntax: str = "", **elements: Any) -> Path:
    """Write a DICOM file of frames: an array, or encoded frames in a transfer syntax."""
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax or pydicom.uid.ExplicitVRLittleEndian)
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.3.1", pydicom.uid.generate_uid()
    array = FRAMES if isinstance(pixels, list) else pixels
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = len(array), HEIGHT, WIDTH
    dataset.SamplesPerPixel = array.shape[3] if array.ndim == 4 else 1
    dataset.PhotometricInterpretation = "RGB" if array.ndim == 4 else "MONOCHROME2"
    if array.ndim == 4:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * array.dtype.itemsize
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, 0
    for name, value in elements.items():
        setattr(dataset, name, value)
    if isinstance(pixels, list):
        dataset.PixelData = encapsulate(pixels)
        dataset["PixelData"].VR = "OB"
    else:
        dataset.PixelData = array.tobytes()
        dataset["PixelData"].VR = "OB" if array.dtype == np.uint8 else "OW"
    dataset.save_as(path, enforce_file_format=True)
    return path


def rle(path: Path) -> Path:
    dataset = pydicom.dcmread(dicom(path, COLOURS))
    dataset.compress(pydicom.uid.RLELossless)
    dataset.save_as(path)
    return path


def jpeg(frame: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", frame)[1].tobytes()


def pictures(path: Path, **options: Any) -> Path:
    first, *others = (Pillow.fromarray(frame) for frame in COLOURS)
    first.save(path, save_all=True, append_images=others, **options)
    return path


def film(path: Path, code: str, fps: float = 20) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), fps, (WIDTH, HEIGHT))
    for frame in COLOURS:
        writer.write(frame[..., ::-1])
    writer.release()
    return path


def stack(path: Path, values: np.ndarray = FRAMES, *, packed: bool = False) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path), useCompression=packed)
    return path


def found(path: Path, which: str = "all") -> list[Image | ImageError]:
    cine = open_cine(path)
    return list(cine.images(frame_numbers(which, cine)))


def pixels(path: Path, which: str = "all") -> np.ndarray:
    return np.stack([image.pixels for image in found(path, which) if isinstance(image, Image)])


DEEP = (FRAMES.astype(np.uint16) * 16) ** 2 // 256
WINDOWED = {"WindowCenter": 300, "WindowWidth": 150, "PhotometricInterpretation": "MONOCHROME1"}
# Kinds whose middle frame is also read as an image.
STILL: dict[str, Callable[[Path], Path]] = {
    "plain.dcm": dicom,
    "colours.dcm": lambda path: dicom(path, COLOURS),
    "implicit.dcm": lambda path: dicom(path, syntax=pydicom.uid.ImplicitVRLittleEndian),
    "deep.dcm": lambda path: dicom(path, DEEP, **WINDOWED),
    "rle.dcm": rle,
    "jpeg.dcm": lambda path: dicom(path, [jpeg(frame) for frame in FRAMES], pydicom.uid.JPEGBaseline8Bit),
    "v.nii": stack,
    "v.nii.gz": stack,
    "v.mha": stack,
    "packed.mha": lambda path: stack(path, packed=True),
    "v.nrrd": stack,
    "deep.nrrd": lambda path: stack(path, DEEP, packed=True),
}
# Kinds that keep the colours exactly.
EXACT: dict[str, Callable[[Path], Path]] = {
    "a.png": lambda path: pictures(path, duration=40),
    "a.webp": lambda path: pictures(path, duration=40, lossless=True),
    "a.tif": pictures,
    "packed.tiff": lambda path: pictures(path, compression="tiff_lzw"),
}


@pytest.mark.parametrize("name", STILL)
def test_the_middle_frame_is_that_of_the_image_reader(tmp_path: Path, name: str) -> None:
    path = STILL[name](tmp_path / name)
    cine = open_cine(path)
    assert (cine.count, cine.middle) == (COUNT, COUNT // 2)
    (middle,) = found(path, "middle")
    still = read_image(path, tmp_path)
    assert isinstance(middle, Image)
    assert np.array_equal(middle.pixels, still.pixels)
    assert middle.warnings == tuple(text for text in still.warnings if "slices" not in text)
    every = pixels(path)
    assert len(every) == COUNT
    assert np.array_equal(every[COUNT // 2], still.pixels)
    if "deep" not in name and "jpeg" not in name:
        expected = COLOURS if "colours" in name or "rle" in name else np.repeat(FRAMES[..., None], 3, 3)
        assert np.array_equal(every, expected)


def test_every_deep_frame_is_shown_as_a_file_of_its_own_would_be(tmp_path: Path) -> None:
    every = pixels(dicom(tmp_path / "cine.dcm", DEEP, **WINDOWED))
    for number, frame in enumerate(DEEP):
        alone = read_image(dicom(tmp_path / f"{number}.dcm", frame[None], **WINDOWED), tmp_path)
        assert np.array_equal(every[number], alone.pixels)


@pytest.mark.parametrize("name", EXACT)
def test_animations_and_pages_are_read_with_their_colours(tmp_path: Path, name: str) -> None:
    path = EXACT[name](tmp_path / name)
    assert np.array_equal(pixels(path), COLOURS)
    assert np.array_equal(pixels(path, "2:4"), COLOURS[2:4])
    assert np.array_equal(read_image(path, tmp_path).pixels, COLOURS[0])
    assert open_cine(path).fps == (None if "tif" in name else 25)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.gif", lambda path: pictures(path, duration=50)),
        ("a.avi", lambda path: film(path, "MJPG")),
        ("a.mp4", lambda path: film(path, "mp4v")),
        ("a.mkv", lambda path: film(path, "mp4v")),
        ("a.webm", lambda path: film(path, "VP80")),
    ],
)
def test_kinds_that_lose_something_are_read_nearly_as_they_were(
    tmp_path: Path, name: str, write: Callable[[Path], Path]
) -> None:
    path = write(tmp_path / name)
    cine = open_cine(path)
    assert (cine.count, cine.fps, cine.video) == (COUNT, pytest.approx(20), name != "a.gif")
    every = pixels(path)
    assert np.abs(every.astype(int) - COLOURS).mean() < 12
    assert np.array_equal(pixels(path, "every:3"), every[::3])
    assert np.array_equal(pixels(path, "-2:"), every[-2:])


def test_pages_of_16_bits_are_shown_as_files_are(tmp_path: Path) -> None:
    cv2.imwritemulti(str(tmp_path / "deep.tif"), list(DEEP))
    every = pixels(tmp_path / "deep.tif")
    for number, frame in enumerate(DEEP):
        cv2.imwrite(str(tmp_path / "alone.tif"), frame)
        assert np.array_equal(every[number], read_image(tmp_path / "alone.tif", tmp_path).pixels)


def test_planes_of_four_axes_are_counted_through_as_stored(tmp_path: Path) -> None:
    values = RNG.integers(0, 256, (4, 5, 12, 16)).astype(np.uint8)
    path = stack(tmp_path / "v.nrrd", np.zeros((2, 2), np.uint8))
    header = b"NRRD0004\ntype: uint8\ndimension: 4\nsizes: 16 12 5 4\nencoding: raw\n\n"
    path.write_bytes(header + values.tobytes())
    cine = open_cine(path)
    assert (cine.count, cine.middle) == (20, 12)
    assert np.array_equal(pixels(path)[..., 0], values.reshape(20, 12, 16))
    assert np.array_equal(pixels(path, "middle")[0], read_image(path, tmp_path).pixels)


@pytest.mark.parametrize(
    ("elements", "fps"),
    [
        ({}, None),
        ({"FrameTime": "40"}, 25),
        ({"FrameTime": "0", "CineRate": "30"}, 30),
        ({"CineRate": "30", "RecommendedDisplayFrameRate": 50}, 30),
        ({"RecommendedDisplayFrameRate": 50}, 50),
    ],
)
def test_dicom_states_its_rate(tmp_path: Path, elements: dict[str, Any], fps: float | None) -> None:
    assert open_cine(dicom(tmp_path / "i.dcm", **elements)).fps == fps


def test_a_video_in_dicom_is_read_as_the_video(tmp_path: Path) -> None:
    video = film(tmp_path / "a.mp4", "mp4v")
    path = dicom(tmp_path / "v.dcm", [video.read_bytes()], pydicom.uid.MPEG4HP41, CineRate="10")
    cine = open_cine(path)
    assert (cine.count, cine.fps, cine.video) == (COUNT, 10, True)
    assert np.array_equal(pixels(path), pixels(video))


@pytest.mark.parametrize("which", ["all", "middle", "every:2", "every:9", "2:5", "3:", ":2", "-3:-1", ":", "5:2"])
def test_frames_are_chosen_as_python_does(which: str) -> None:
    cine = Cine(Path("a"), COUNT, 3, None, False, lambda numbers: iter(()))
    numbers = list(range(COUNT))
    expected = {"all": numbers, "middle": [3], "every:2": numbers[::2], "every:9": [0], "2:5": numbers[2:5]}
    expected |= {"3:": numbers[3:], ":2": numbers[:2], "-3:-1": numbers[-3:-1], ":": numbers, "5:2": []}
    assert list(frame_numbers(which, cine)) == expected[which]


@pytest.mark.parametrize("which", ["", "some", "every:0", "every:", "3", "1:2:3", "a:b", "1.5:"])
def test_other_words_for_frames_get_one_sentence(which: str) -> None:
    with pytest.raises(UsageError, match="expected frames as all, middle, every:N or A:B"):
        frame_numbers(which, Cine(Path("a"), COUNT, 3, None, False, lambda numbers: iter(())))


def damaged_dicom(path: Path) -> Path:
    frames = [jpeg(frame) for frame in FRAMES]
    frames[3] = b"\xff\xd8" + bytes(200)
    return dicom(path, frames, pydicom.uid.JPEGBaseline8Bit)


def damaged_gif(path: Path) -> Path:
    data = bytearray(pictures(path, duration=50).read_bytes())
    at = len(data) // 2
    data[at : at + 40] = b"\xff" * 40
    path.write_bytes(data)
    return path


def damaged_avi(path: Path) -> Path:
    data = bytearray(film(path, "MJPG").read_bytes())
    at = [place for place in range(len(data)) if data[place : place + 4] == b"00dc"][4]  # the first is in the header
    data[at + 8 : at + 300] = bytes(292)
    path.write_bytes(data)
    return path


def damaged_png(path: Path) -> Path:
    data = bytearray(pictures(path, duration=40).read_bytes())
    at = [place for place in range(len(data)) if data[place : place + 4] == b"fdAT"][2]
    data[at + 12 : at + 200] = b"\xff" * 188
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "write"),
    [("a.dcm", damaged_dicom), ("a.gif", damaged_gif), ("a.png", damaged_png), ("a.avi", damaged_avi)],
)
def test_a_damaged_frame_is_named_and_passed_over(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, write: Callable[[Path], Path]
) -> None:
    every = found(write(tmp_path / name))
    assert [number for number, image in enumerate(every) if isinstance(image, ImageError)] == [3]
    assert isinstance(every[3], ImageError)
    assert "can't be decoded" in every[3].reason
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz", "v.mha", "a.dcm", "rle.dcm"])
def test_of_a_file_that_is_cut_short_the_first_frames_are_read(tmp_path: Path, name: str) -> None:
    path = STILL.get(name, dicom)(tmp_path / name)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    every = found(path)
    assert len(every) == COUNT
    kinds = [isinstance(image, Image) for image in every]
    assert kinds[0]
    assert not kinds[-1]
    assert kinds == sorted(kinds, reverse=True)


def test_of_a_file_whose_frames_cannot_be_told_apart_the_middle_one_is_read(tmp_path: Path) -> None:
    path = dicom(tmp_path / "i.dcm", syntax=pydicom.uid.DeflatedExplicitVRLittleEndian)
    (image,) = found(path)
    assert isinstance(image, Image)
    assert np.array_equal(image.pixels[..., 0], FRAMES[COUNT // 2])
    assert image.warnings == (f"the middle one of {COUNT} slices was taken",)


@pytest.mark.parametrize("name", ["rle.dcm", "jpeg.dcm", "plain.dcm", "v.nii.gz", "a.tif"])
def test_random_damage_never_ends_the_reading(tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    data = (STILL | EXACT)[name](tmp_path / name).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(20):
        damaged = np.frombuffer(data, np.uint8).copy()
        damaged[rng.integers(1500, len(data), 5)] = rng.integers(0, 256, 5)
        (tmp_path / name).write_bytes(damaged.tobytes())
        try:
            images = found(tmp_path / name, ":9")
        except ImageError as error:
            images = [error]
        assert not any("broke" in image.reason for image in images if isinstance(image, ImageError))
    assert capfd.readouterr().err == ""


def test_a_frame_count_that_lies_is_not_believed(tmp_path: Path) -> None:
    path = film(tmp_path / "a.avi", "MJPG")
    data = bytearray(path.read_bytes())
    at = data.index(b"avih") + 8 + 16
    data[at : at + 4] = (1000).to_bytes(4, "little")
    stream = data.index(b"strh") + 8 + 32
    data[stream : stream + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(data)
    assert len(found(path)) == COUNT
    stated = dicom(tmp_path / "i.dcm", NumberOfFrames=COUNT + 2)
    assert [isinstance(image, Image) for image in found(stated)] == [True] * COUNT + [False] * 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mp4", b"", "is empty"),
        ("a.mp4", b"once upon a time", "is a text file"),
        ("a.mp4", b"#EXTM3U\nhttp://127.0.0.1:9/a.mp4\n", "is a text file"),
        ("a.mp4", b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", "is a video without a frame that can be decoded"),
        ("a.avi", b"RIFF\x10\0\0\0AVI LIST" + bytes(40), "is a video without a frame that can be decoded"),
        ("a.gif", b"GIF89a" + bytes(4), "another or damaged content"),
    ],
)
def test_a_file_without_frames_gets_one_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=message):
        open_cine(tmp_path / name)
    assert capfd.readouterr().err == ""


def test_a_single_image_has_one_frame(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), FRAMES[0])
    dicom(tmp_path / "a.dcm", FRAMES[:1])
    for path in tmp_path.iterdir():
        for which in ("all", "middle"):
            assert np.array_equal(pixels(path, which)[0], read_image(path, tmp_path).pixels)


LONG = {
    "a.dcm": lambda path, frames: dicom(path, frames),
    "a.avi": lambda path, frames: long_film(path, frames),
    "a.tif": lambda path, frames: cv2.imwritemulti(str(path), list(frames)),
    "a.nii.gz": lambda path, frames: stack(path, frames),
}


def long_film(path: Path, frames: np.ndarray) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20, frames.shape[2:0:-1])
    for frame in frames:
        writer.write(np.repeat(frame[..., None], 3, 2))
    writer.release()


@pytest.mark.parametrize("name", LONG)
def test_memory_does_not_grow_with_the_number_of_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(f"{__name__}.HEIGHT", 480)
    monkeypatch.setattr(f"{__name__}.WIDTH", 640)
    LONG[name](tmp_path / name, np.tile(RNG.integers(0, 256, (10, 480, 640), np.uint8), (12, 1, 1)))  # 37 MB
    cine = open_cine(tmp_path / name)
    used = [own_memory() for image in cine.images(range(cine.count)) if isinstance(image, Image)]
    assert len(used) == 120
    assert max(used) - max(used[:10]) < 20_000


def own_memory() -> int:
    """Kilobytes of this process without the pages of mapped files, which the system may drop."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
