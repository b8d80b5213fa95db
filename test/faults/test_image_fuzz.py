"""Damaged image files of every format: pixels or an `ImageError`, never a crash or gigabytes of memory."""

import io
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aurora.errors import ImageError
from aurora.images import image_size, read_image

fuzz = settings(
    deadline=None, derandomize=True, database=None, max_examples=1200, suppress_health_check=list(HealthCheck)
)


def saved(image: PIL.Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def volume(ending: str) -> bytes:
    with TemporaryDirectory() as folder:
        path = f"{folder}/v.{ending}"
        sitk.WriteImage(sitk.GetImageFromArray(np.arange(3 * 24 * 40, dtype=np.uint16).reshape(3, 24, 40)), path)
        return Path(path).read_bytes()


def samples() -> dict[str, bytes]:
    """One small good file per format, by a name for it."""
    ramp = (np.arange(24 * 40).reshape(24, 40) // 4).astype(np.uint8)
    colour, grey = PIL.Image.fromarray(np.repeat(ramp[..., None], 3, axis=2)), PIL.Image.fromarray(ramp)
    deep = PIL.Image.fromarray(ramp.astype(np.uint16) * 200)
    turned = PIL.Image.Exif()
    turned[0x112] = 6
    plain = {format.lower(): saved(colour, format) for format in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")}
    return plain | {
        "deep.png": saved(deep, "PNG"),
        "deep.tiff": saved(deep, "TIFF"),
        "palette.png": saved(colour.convert("P"), "PNG"),
        "turned.jpeg": saved(colour, "JPEG", exif=turned),
        "turned.png": saved(colour, "PNG", exif=turned),
        "grey.bmp": saved(grey, "BMP"),
        **{f"v.{ending}": volume(ending) for ending in ("mha", "nii", "nii.gz", "dcm")},
    }


SAMPLES = samples()
harm = st.tuples(
    st.sampled_from(["flip", "set", "cut", "insert", "end"]), st.integers(0, 6000), st.binary(min_size=1, max_size=8)
)


def harmed(data: bytes, harms: list[tuple[str, int, bytes]]) -> bytes:
    for kind, place, new in harms:
        at = place % max(1, len(data))
        data = {
            "flip": data[:at] + bytes(byte ^ 1 << new[0] % 8 for byte in data[at : at + 1]) + data[at + 1 :],
            "set": data[:at] + new + data[at + len(new) :],
            "cut": data[:at] + data[at + new[0] :],
            "insert": data[:at] + new + data[at:],
            "end": data[:at],
        }[kind]
    return data


def reads_or_refuses(name: str, data: bytes) -> tuple[int, int] | None:
    """The size of the image, None where it is refused."""
    with TemporaryDirectory() as folder:
        path = Path(folder, f"i.{name}")
        path.write_bytes(data)
        try:
            pixels = read_image(path, path.parent).pixels
        except ImageError:
            return None
        assert (pixels.dtype, pixels.shape[2]) == (np.uint8, 3)
        assert image_size(path, path.parent) == pixels.shape[:2]
        return pixels.shape[:2]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_good_file_of_each_format_is_read(name: str) -> None:
    assert reads_or_refuses(name, SAMPLES[name]) == ((40, 24) if "turned" in name else (24, 40))


@fuzz
@given(st.sampled_from(sorted(set(SAMPLES) - {"v.dcm", "v.mha"})), st.lists(harm, min_size=1, max_size=4))
# The type of EXIF's orientation, the number of its entries and (in a PNG) its checksum: as above.
@example("turned.jpeg", [("set", SAMPLES["turned.jpeg"].index(b"Exif") + 19, b"\0")])
@example("turned.jpeg", [("set", SAMPLES["turned.jpeg"].index(b"Exif") + 14, b"\1")])
@example("turned.png", [("flip", SAMPLES["turned.png"].index(b"eXIf") + 20, b"\3")])
# The byte order mark of EXIF: the size was that of the picture before it is turned.
@example("turned.jpeg", [("set", SAMPLES["turned.jpeg"].index(b"Exif") + 6, b"\x80")])
def test_a_damaged_image_is_read_or_refused(name: str, harms: list[tuple[str, int, bytes]]) -> None:
    reads_or_refuses(name, harmed(SAMPLES[name], harms))


# Each was once read with gigabytes of memory, or ended the process, so they are read in one of their own.
META = b"ObjectType = Image\nNDims = 3\nBinaryData = True\nDimSize = 40 24 3\nElementType = MET_USHORT\n"
META += b"ElementDataFile = LOCAL\n" + bytes(range(256)) * 22
PNG = SAMPLES["png"]
GREEDY = {
    # Pixels as text that end early: MetaIO wrote beyond its memory, and the process was aborted.
    "text.mha": META.replace(b"BinaryData = True\n", b"BinaryData = False\n"),
    "unstated.mha": META.replace(b"BinaryData = True\n", b""),
    "tab.mha": META.replace(b"BinaryData = ", b"BinaryData =\v"),
    # A chunk that says it is 4 GB long: OpenCV made room for it.
    "chunk.png": PNG[: PNG.index(b"IDAT") - 4] + b"\xff\xff\0\x10" + PNG[PNG.index(b"IDAT") :],
    # An element that says it is longer than the file: GDCM took 740 MB for it (it holds a ramp, from no patient).
    "element.dcm": (Path(__file__).parent / "corpus" / "element.dcm").read_bytes(),
    # A version name of an unknown kind, whose length GDCM reads from its text: it took 1.2 GB and kept them.
    "kind.dcm": SAMPLES["v.dcm"].replace(b"\x02\0\x13\0SH", b"\x02\0\x13\0S#"),
}
READ = """
import resource, sys
from pathlib import Path
from aurora.errors import ImageError
from aurora.images import image_size, read_image
path = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_image(path, path.parent)
except ImageError as error:
    print(error)
else:
    print("was read")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("name", GREEDY)
def test_a_header_that_lies_costs_neither_the_process_nor_memory(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(GREEDY[name])
    ended = subprocess.run([sys.executable, "-c", READ, str(tmp_path / name)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    said, megabytes = ended.stdout.splitlines()
    assert said.startswith(str(tmp_path / name))
    assert int(megabytes) < 300
