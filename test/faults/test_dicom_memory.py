"""Damaged DICOM files cost four times the memory of their pixels and some MB at most, and never the process."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from struct import pack

import pytest
from support import dicom_bytes
from support.dicom_bytes import (
    BIG_ENDIAN,
    ITEM,
    JPEG,
    JPEG_2000,
    JPEG_LS,
    NESTED,
    PIXELS,
    PRIVATE,
    RLE,
    SIDE,
    compressed,
    deflated,
    element,
    header,
    item,
    jpeg_2000,
    jpeg_ls,
    meta,
    plain,
)

from aurora.errors import ImageError
from aurora.images import dicom_elements, read_image

#: What reading may cost beyond four times the pixels, in MB: the longest header of a deflated file, twice, and smaller
#: things, such as the pages of the libraries.
ALLOWED = 24
MANY = 200 << 20
CLAIM = 0xF0000000
#: A file, and whether it is read.
FILES: dict[str, tuple[Callable[[], bytes], bool]] = {
    "sound": (plain, True),
    "a sound deflated file": (lambda: deflated(header() + element(PIXELS, "OB", bytes(SIDE * SIDE))), True),
    "pixels that go on for 120 MB": (lambda: plain(stored=120 << 20), True),
    "pixels that end early": (lambda: plain(stored=SIDE), False),
    "a million frames without pixels": (lambda: plain(frames=1_000_000), False),
    "a fragment that claims gigabytes": (
        lambda: compressed(JPEG, b"\xff\xd8")[:-8] + pack("<HHI", ITEM >> 16, ITEM & 0xFFFF, CLAIM) + bytes(100),
        False,
    ),
    "JPEG-LS data of a larger image": (lambda: compressed(JPEG_LS, jpeg_ls(20_000)), False),
    "JPEG 2000 data of a larger image": (lambda: compressed(JPEG_2000, jpeg_2000(60_000, 60_000)), False),
    "JPEG 2000 data of many tiles": (lambda: compressed(JPEG_2000, jpeg_2000(60_000, SIDE)), False),
    "an RLE segment that unpacks to 256 MB": (
        lambda: compressed(RLE, pack("<16I", 1, 64, *[0] * 14) + b"\x81\x05" * (2 << 20)),
        False,
    ),
    "RLE segments beyond the end": (lambda: compressed(RLE, pack("<16I", 15, *[0xFFFFFFF0] * 15) + bytes(99)), False),
    "a private element that inflates to 200 MB": (
        lambda: deflated(element(PRIVATE, "OB", b"", length=MANY), MANY, header() + element(PIXELS, "OB", bytes(4096))),
        False,
    ),
    "pixels that inflate to 200 MB": (
        lambda: deflated(header() + element(PIXELS, "OB", b"", length=MANY), MANY),
        False,
    ),
    "a claim inside a deflated file": (
        lambda: deflated(
            header(private=element(PRIVATE, "OB", b"", length=CLAIM)) + element(PIXELS, "OB", bytes(4096))
        ),
        False,
    ),
    "a claim in a big-endian file": (
        lambda: (
            meta(BIG_ENDIAN)
            + header(">", private=element(PRIVATE, "OB", b"", ">", CLAIM))
            + element(PIXELS, "OB", bytes(4096), ">")
        ),
        False,
    ),
    "sequences in 200,000 sequences": (lambda: plain(NESTED * 200_000), False),
}
READ = """
import json, os, resource, sys, zlib
from pathlib import Path
import numpy, pydicom, pydicom.encaps, SimpleITK
from aurora.api.scale import read_scale
from aurora.errors import ImageError
from aurora.images import image_size, read_image
from aurora.images.cine import open_cine

resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
paths = [Path(name) for name in sys.argv[1:]]
read_image(paths[0], paths[0].parent)
for path in paths:
    first_frame = lambda path, root: list(open_cine(path).images(range(1)))
    for read in (image_size, read_image, first_frame, lambda path, root: read_scale(path)):
        if os.fork():
            print(json.dumps([path.name, os.wait()[1]]), flush=True)
            continue
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            read(path, path.parent)
            said = "read"
        except ImageError as error:
            said = error.reason
        used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
        print(json.dumps([path.name, said, used]), flush=True)
        os._exit(0)
"""


def test_damage_costs_four_times_the_pixels_at_most(tmp_path: Path) -> None:
    names = list(FILES)
    for number, (make, _) in enumerate(FILES.values()):
        (tmp_path / str(number)).write_bytes(make())
    paths = [str(tmp_path / str(number)) for number in range(len(names))]
    ended = subprocess.run([sys.executable, "-c", READ, *paths], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    died = [names[int(line[0])] for line in lines if len(line) == 2 and line[1]]
    costs = [(names[int(line[0])], *line[1:]) for line in lines if len(line) == 3]
    assert died == []
    assert len(costs) == 4 * len(FILES)
    assert [cost for cost in costs if cost[-1] > 4 * SIDE * SIDE / 2**20 + ALLOWED] == []


#: Damage that grows with the pixels, of `side` x `side`, and is refused.
GROWING: dict[str, Callable[[int], bytes]] = {
    "pixels cut by a third": lambda side: plain(stored=side * side)[: -side * side // 3],
    "a fragment of twenty times the pixels": lambda side: compressed(JPEG, b"\xff\xd8" + bytes(20 * side * side)),
    "two fragments of ten times the pixels": lambda side: compressed(JPEG, *[bytes(10 * side * side)] * 2),
    "JPEG 2000 data of many tiles": lambda side: compressed(JPEG_2000, jpeg_2000(60_000, 300)),
    "RLE segments of nothing": lambda side: compressed(RLE, pack("<16I", 1, 64, *[0] * 14) + bytes(4 * side * side)),
    "a deflated file that ends early": lambda side: deflated(
        header() + element(PIXELS, "OB", bytes(side * side - 9000))
    ),
    "a deflated file of a hundred times the pixels": lambda side: deflated(
        header() + element(PIXELS, "OB", b"", length=100 * side * side), 100 * side * side
    ),
}


@pytest.mark.parametrize("side", [1024, 2048, 4096])
def test_damage_that_grows_with_the_pixels_costs_four_times_as_much_at_most(
    tmp_path: Path, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "warm").write_bytes(plain())
    monkeypatch.setattr(dicom_bytes, "SIDE", side)
    names = list(GROWING)
    for number, make in enumerate(GROWING.values()):
        (tmp_path / str(number)).write_bytes(make(side))
    paths = [str(tmp_path / name) for name in ("warm", *map(str, range(len(names))))]
    ended = subprocess.run([sys.executable, "-c", READ, *paths], capture_output=True, text=True)
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    costs = [(names[int(line[0])], *line[1:]) for line in lines if len(line) == 3 and line[0] != "warm"]
    assert (ended.returncode, len(costs)) == (0, 4 * len(GROWING)), ended.stderr
    assert [cost for cost in costs[1::4] if cost[1] == "read"] == []  # by `read_image`
    # The libraries' own pages and the longest header cost a few MB, however small an image is.
    assert [cost for cost in costs if cost[-1] > 4 * max(side * side, 3 << 20) / 2**20] == []


def test_a_file_of_very_many_elements_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_elements, "_MOST_ELEMENTS", 100)
    (tmp_path / "i.dcm").write_bytes(plain(element(PRIVATE, "SQ", item(b"") * 100)))
    with pytest.raises(ImageError, match="has more than 1,048,576 elements"):
        read_image(tmp_path / "i.dcm", tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_it_is_read_or_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    make, readable = FILES[name]
    (tmp_path / "i.dcm").write_bytes(make())
    if readable:
        assert read_image(tmp_path / "i.dcm", tmp_path).pixels.shape == (SIDE, SIDE, 3)
        return
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / "i.dcm", tmp_path)
    assert "\n" not in str(caught.value)
