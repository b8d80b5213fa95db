"""Image files that are damaged, dangerous, unusual or absent."""

import gzip
import os
import pickle
import stat
import zlib
from collections.abc import Callable
from io import BytesIO

import cv2
import numpy as np
import PIL.Image
import SimpleITK as sitk
from faults.catalogue.bench import ROOT, Bench, Ended, fault, needs
from support.dicom_bytes import (
    JPEG_2000,
    NESTED,
    PIXELS,
    SIDE,
    UNKNOWN,
    compressed,
    deflated,
    element,
    header,
    jpeg_2000,
    meta,
    plain,
)
from support.files import JPEG, PNG, RAMP, bomb, encoded, patched, png_header, tiff_of_bits

from aurora.images.headers import MAX_BYTES

SECTION = "Images"
FRAMES = [PIL.Image.fromarray(np.full((8, 9, 3), value, np.uint8)) for value in (40, 200, 90)]


def in_frames(ending: str) -> Callable[[Bench], Ended]:
    def make(bench: Bench) -> Ended:
        path = bench.image(b"")
        FRAMES[0].save(path, ending, save_all=True, append_images=FRAMES[1:])
        return bench.run()

    return make


AXIAL = (1, 0, 0, 0, 1, 0, 0, 0, 1)


def in_volume(name: str, direction: tuple[float, ...] = AXIAL) -> Callable[[Bench], Ended]:
    def make(bench: Bench) -> Ended:
        path = bench.image(b"", name)
        image = sitk.GetImageFromArray(np.stack([RAMP, RAMP, RAMP]).astype(np.uint8))
        image.SetDirection(direction)
        sitk.WriteImage(image, str(path))
        return bench.run()

    return make


def vectors(count: int) -> Callable[[Bench], Ended]:
    def make(bench: Bench) -> Ended:
        values = np.stack([np.stack([RAMP // 4] * count, axis=-1)] * 3).astype(np.uint8)
        sitk.WriteImage(sitk.GetImageFromArray(values, isVector=True), str(bench.image(b"", "bad.nii.gz")))
        return bench.run()

    return make


def holding(content: bytes | np.ndarray, name: str = "bad.png") -> Callable[[Bench], Ended]:
    def make(bench: Bench) -> Ended:
        bench.image(content, name)
        return bench.run()

    return make


def nan_image() -> np.ndarray:
    values = RAMP.astype(np.float32)
    values[0] = np.nan
    return values


def turned(orientation: int) -> bytes:
    exif = PIL.Image.Exif()
    exif[0x112] = orientation
    return encoded("JPEG", exif=exif)


def profiled() -> bytes:
    """Return a PNG whose colour profile libpng complains about."""
    chunk = b"iCCP" + b"p\0\0" + bytes(4)
    stored = (len(chunk) - 4).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)
    return PNG[:33] + stored + PNG[33:]


def tiff_strip(compression: str) -> bytes:
    """Return a TIFF whose only strip ends in other bytes, behind the header of Pillow's TIFF files."""
    data = encoded("TIFF", "L", compression=compression)
    with PIL.Image.open(BytesIO(data)) as image:
        (start,), (length,) = image.tag_v2[273], image.tag_v2[279]  # type: ignore[attr-defined]
    return data[: start + length // 2] + b"\x80" * (length - length // 2) + data[start + length :]


FILES: dict[str, Callable[[Bench], Ended]] = {
    "an empty file": holding(b""),
    "an HTML page named .png": holding(b"<html><body>404 not found</body></html>"),
    "a pickle named .png": holding(pickle.dumps({"a": 1})),
    "a Git LFS pointer": holding(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"),
    "a git-annex pointer": holding(b"/annex/objects/SHA256E-s9--00.png\n"),
    "a video": holding(b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", "bad.mp4"),
    "an AVI video named .png": holding(b"RIFF\0\0\0\0AVI LIST"),
    "a HEIC photo": holding(b"\0\0\0\x18ftypheic\0\0\0\0", "bad.jpg"),
    "an AVIF picture named .jpg": holding(b"\0\0\0\x1cftypavif\0\0\0\0", "bad.jpg"),
    "a JPEG XL picture named .jpg": holding(b"\xff\x0a\x01\x02", "bad.jpg"),
    "a camera's raw photo named .tif": holding(b"II*\0\x10\0\0\0CR\2\0" + bytes(40), "bad.tif"),
    "a BigTIFF picture": holding(b"II+\0\x08\0\0\0", "bad.tif"),
    "an office program's document named .png": holding(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)),
    "a file that macOS keeps beside an image": holding(b"\0\5\x16\7\0\2\0\0Mac OS X", "._bad.png"),
    "a file of zero bytes": holding(bytes(9000)),
    "a ZIP archive named .png": holding(b"PK\3\4\x14\0"),
    "a gzip archive": holding(gzip.compress(b"no volume", mtime=0), "bad.nii.gz"),
    "a PDF document": holding(b"%PDF-1.7\n", "bad.pdf"),
    "a text file named .png": holding("Größe unbekannt\n".encode()),
    "an SVG drawing named .png": holding(b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    "a PNG cut in its header": holding(PNG[:20]),
    "a PNG cut in its pixels": holding(PNG[: len(PNG) // 2]),
    "a PNG whose last chunk has a wrong checksum": holding(patched(PNG, PNG.index(b"IEND") - 8)),
    "a PNG with one damaged byte of pixels": holding(patched(PNG, PNG.index(b"IDAT") + 20)),
    "a PNG of no width": holding(png_header(0, 5)),
    "a JPEG cut in its header": holding(JPEG[:100], "bad.jpg"),
    "a JPEG cut in its pixels": holding(JPEG[:-25], "bad.jpg"),
    "a BMP cut in its pixels": holding(encoded("BMP")[:200], "bad.bmp"),
    "a TIFF cut in its pixels": holding(encoded("TIFF")[:200], "bad.tiff"),
    "a TIFF with a damaged deflate strip": holding(tiff_strip("tiff_adobe_deflate"), "bad.tiff"),
    "a TIFF with a damaged LZW strip": holding(tiff_strip("tiff_lzw"), "bad.tiff"),
    "a TIFF with a damaged PackBits strip": holding(tiff_strip("packbits"), "bad.tiff"),
    "a 16-bit PNG": holding(RAMP.astype(np.uint16)),
    "a TIFF of floats, some not a number": holding(nan_image(), "bad.tiff"),
    "a TIFF of 4 bits": holding(tiff_of_bits(RAMP // 64, 4, 1), "bad.tiff"),
    "a TIFF of 16 bits whose white is zero": holding(tiff_of_bits(RAMP, 16, 0), "bad.tiff"),
    "a TIFF of signed numbers": holding((RAMP - 500).astype(np.int16), "bad.tiff"),
    "an image of one grey value": holding(np.full((20, 20), 7, np.uint8)),
    "a PNG with transparency": holding(encoded("PNG", "RGBA")),
    "a grey PNG with transparency": holding(encoded("PNG", "LA")),
    "a PNG with a palette": holding(encoded("PNG", "P")),
    "a PNG of one bit": holding(encoded("PNG", "1")),
    "a CMYK JPEG": holding(encoded("JPEG", "CMYK"), "bad.jpg"),
    "a grey JPEG": holding(encoded("JPEG", "L"), "bad.jpg"),
    "a WebP": holding(encoded("WEBP"), "bad.webp"),
    "a JPEG named .png": holding(JPEG),
    "a PNG named .dcm": holding(PNG, "bad.dcm"),
    "a JPEG damaged in its pixels": holding(JPEG[:-25] + JPEG[-2:], "bad.jpg"),
    "a PNG with a damaged colour profile": holding(profiled(), "bad.png"),
    "a JPEG with an EXIF orientation": holding(turned(6), "bad.jpg"),
    "an image of 1x1": holding(np.zeros((1, 1), np.uint8)),
    "an image of 1x4000": holding(np.zeros((4000, 1), np.uint8)),
    "an image of 4000x1": holding(np.zeros((1, 4000), np.uint8)),
    "a decompression bomb: 20000x20000 pixels in 80 kB": holding(bomb(20000)),
    "a header that states 2147483647x2147483647 pixels": holding(png_header(2**31 - 1, 2**31 - 1)),
    "an animated GIF": in_frames("GIF"),
    "an animated PNG": in_frames("PNG"),
    "a TIFF of several pages": in_frames("TIFF"),
    "a MetaImage volume": in_volume("bad.mha"),
    "a NIfTI volume": in_volume("bad.nii.gz"),
    "a DICOM volume": in_volume("bad.dcm"),
    "an NRRD volume": in_volume("bad.nrrd"),
    "a NIfTI volume of two values per voxel": vectors(2),
    "a NIfTI volume of three values per voxel, as colours": vectors(3),
    "a NIfTI volume in coronal orientation": in_volume("bad.nii.gz", (1, 0, 0, 0, 0, 1, 0, -1, 0)),
    "a DICOM volume in sagittal orientation": in_volume("bad.dcm", (0, 0, 1, 1, 0, 0, 0, 1, 0)),
}
for name, make in FILES.items():
    fault(SECTION, name)(make)


@fault(SECTION, "a MetaImage whose pixels are in another file")
def pixels_elsewhere(bench: Bench) -> Ended:
    path = bench.image(b"", "bad.mha")
    sitk.WriteImage(sitk.GetImageFromArray(RAMP.astype(np.uint8)), str(path.with_suffix(".mhd")))
    path.with_suffix(".mhd").rename(path)
    return bench.run()


def cut(name: str, kept: int) -> Callable[[Bench], Ended]:
    """Keep only the first bytes of a volume."""

    def make(bench: Bench) -> Ended:
        path = bench.image(b"", name)
        sitk.WriteImage(sitk.GetImageFromArray(RAMP.astype(np.uint8)), str(path))
        path.write_bytes(path.read_bytes()[:kept])
        return bench.run()

    return make


fault(SECTION, "a NIfTI file cut short")(cut("bad.nii", 400))
fault(SECTION, "a MetaImage cut short")(cut("bad.mha", -100))


@fault(SECTION, "a DICOM file with an element longer than the file")
def long_element(bench: Bench) -> Ended:
    bench.image((ROOT / "test" / "faults" / "corpus" / "element.dcm").read_bytes(), "bad.dcm")
    return bench.run()


GREEDY = {
    "a DICOM file whose pixels end early": plain(stored=SIDE),
    "a DICOM file cut in its pixels": plain()[:-500],
    "a DICOM file cut in its header": plain()[:200],
    "a DICOM file with zeros behind its last element": plain() + bytes(5000),
    "a DICOM file with a private sequence of no stated length": plain(UNKNOWN),
    "a DICOM file that holds a video": meta("1.2.840.10008.1.2.4.102") + header() + element(PIXELS, "OB", bytes(64)),
    "a DICOM file with sequences in very many sequences": plain(NESTED * 1000),
    "a deflated DICOM file that unpacks to much more than its pixels": deflated(
        header() + element(PIXELS, "OB", b"", length=64 << 20), 64 << 20
    ),
    "a DICOM file with JPEG 2000 data of another size": compressed(JPEG_2000, jpeg_2000(60_000, 60_000)),
}
for name, data in GREEDY.items():
    fault(SECTION, name)(holding(data, "bad.dcm"))


@fault(SECTION, "no such file")
def missing(bench: Bench) -> Ended:
    bench.image(PNG).unlink()
    return bench.run()


def misspelt(name: str, path: str) -> Callable[[Bench], Ended]:
    """Ask for an image by a path that isn't quite that of the file."""

    def make(bench: Bench) -> Ended:
        (bench.root / "images" / name).write_bytes(PNG)
        bench.rows(f"lung,segmentation,2,{path},../masks/b.png")
        return bench.run()

    return make


fault(SECTION, "backslashes in an image_path")(misspelt("a.png", "..\\images\\a.png"))
fault(SECTION, "an image_path without ../")(misspelt("a.png", "images/a.png"))
fault(SECTION, "an ending in another letter case")(misspelt("a.PNG", "../images/a.png"))
fault(SECTION, "another ending")(misspelt("a.png", "../images/a.jpg"))
fault(SECTION, "a folder in another letter case")(misspelt("a.png", "../Images/a.png"))
fault(SECTION, "a name in another letter case")(misspelt("Ab.png", "../images/aB.png"))
fault(SECTION, "accents in another Unicode form")(misspelt("f\u00fcr.png", "../images/fu\u0308r.png"))
fault(SECTION, "an absolute image_path of another machine")(misspelt("a.png", "/home/me/data/images/a.png"))
fault(SECTION, "an image_path with a drive letter")(misspelt("a.png", "C:\\data\\images\\a.png"))
fault(SECTION, "an image_path with too many ../")(misspelt("a.png", "../../images/a.png"))
fault(SECTION, "an image_path that is a file:// URL")(misspelt("a.png", "file:///home/me/data/images/a.png"))
fault(SECTION, "an image_path through another folder")(misspelt("a.png", "../data/images/a.png"))
fault(SECTION, "the codes of a URL in an image_path")(misspelt("a b.png", "../images/a%20b.png"))


@fault(SECTION, "image paths that are all wrong in the same way")
def all_misspelt(bench: Bench) -> Ended:
    (bench.root / "csv_files" / "a.csv").unlink()
    bench.rows(*[f"lung,segmentation,2,..\\images\\{number}.png,../masks/{number}.png" for number in range(3)])
    return bench.run()


@fault(SECTION, "a folder with the image's name")
def folder(bench: Bench) -> Ended:
    path = bench.image(PNG)
    path.unlink()
    path.mkdir()
    return bench.run()


@fault(SECTION, "a FIFO with the image's name")
def fifo(bench: Bench) -> Ended:
    path = bench.image(PNG)
    path.unlink()
    os.mkfifo(path)
    return bench.run()


@fault(SECTION, "a device with the image's name")
def device(bench: Bench) -> Ended:
    needs(os.geteuid() == 0, "only root can make a device")
    path = bench.image(PNG)
    path.unlink()
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        needs(False, "no device can be made here")
    return bench.run()


@fault(SECTION, "a link out of the input folder")
def link_out(bench: Bench) -> Ended:
    path = bench.image(PNG)
    path.rename(bench.folder / "outside.png")
    path.symlink_to(bench.folder / "outside.png")
    return bench.run()


@fault(SECTION, "a link to itself")
def link_loop(bench: Bench) -> Ended:
    path = bench.image(PNG)
    path.unlink()
    path.symlink_to(path)
    return bench.run()


@fault(SECTION, "a file larger than 1 GiB")
def huge(bench: Bench) -> Ended:
    os.truncate(bench.image(PNG), MAX_BYTES + 1)
    return bench.run()


@fault(SECTION, "a file that the user may not read")
def forbidden(bench: Bench) -> Ended:
    bench.image(PNG).chmod(0)
    bench.out.mkdir()
    bench.out.chmod(0o777)
    return bench.as_nobody()


PATHS = {
    "an image_path that climbs out of the input folder": "../../etc/passwd",
    "an absolute image_path": "/etc/passwd",
    "an image_path that is a URL": "http://127.0.0.1:9/x.png",
    "a blank image_path": "",
    "an image_path of nan": "nan",
    "an image_path with a NUL byte": "../images/0\0.png",
    "an image_path with a name of 300 letters": f"../images/{'x' * 300}.png",
}


def at(path: str) -> Callable[[Bench], Ended]:
    def make(bench: Bench) -> Ended:
        bench.rows(f"lung,segmentation,2,{path},../masks/bad.png")
        return bench.run()

    return make


for name, path in PATHS.items():
    fault(SECTION, name)(at(path))


@fault(SECTION, "a file that makes a decoder raise an error of its own")
def broken_decoder(bench: Bench) -> Ended:
    bench.image(PNG)
    real = cv2.imdecode

    def imdecode(data: np.ndarray, flags: int) -> np.ndarray:
        if len(data) == len(PNG):
            raise MemoryError("no room")
        return real(data, flags)

    bench.patch.setattr(cv2, "imdecode", imdecode)
    return bench.run()
