"""Name what a file holds in place of an image, by its first bytes, and what to do about it."""

import re

from aurora.images.volume import GZIP
from aurora.runtime.files import LFS_POINTER

_VIDEO = "save the frame you need as PNG and name that"
_CONVERT = "convert it to PNG or JPEG"
_UNPACK = "unpack it and name the image in it"
_EXPORT = "save its images as PNG or NIfTI files"

# What follows "is" in the sentence, by a pattern of the first bytes; the first that matches counts.
_KINDS = (
    (re.escape(LFS_POINTER), "a Git LFS pointer, not the image itself; fetch it with 'git lfs pull'"),
    (rb"(?:\.\./)*(?:\.git)?/annex/objects/",
     "a git-annex pointer, not the image itself; fetch it with 'git annex get'"),
    (rb"\0\x05\x16\x07", "what macOS keeps beside a file (AppleDouble); name the file without ._ before its name"),
    (rb"\0+\Z", "a file of zero bytes alone; copy or download the image again"),
    (rb"RIFF....AVI ", f"a video (AVI); {_VIDEO}"),
    (rb"....ftyp(?:hei|hev|mif1|msf1)", f"a HEIC photo; {_CONVERT}"),
    (rb"....ftypavi", f"an AVIF picture; {_CONVERT}"),
    (rb"\0\0\0\x0cJXL |\xff\x0a|....ftypjxl", f"a JPEG XL picture; {_CONVERT}"),
    (rb"....ftypcrx|(?:II\*\0|MM\0\*)....CR", f"a camera's raw photo; {_CONVERT}"),
    (rb"II\+\0|MM\0\+", f"a BigTIFF picture; {_CONVERT}"),
    (rb"....ftypqt  |....(?:moov|mdat|wide)", f"a video (QuickTime); {_VIDEO}"),
    (rb"....ftyp", f"a video (MP4); {_VIDEO}"),
    (rb"\x1a\x45\xdf\xa3", f"a video (Matroska or WebM); {_VIDEO}"),
    (rb"\x30\x26\xb2\x75", f"a video (Windows Media); {_VIDEO}"),
    (rb"\x00\x00\x01[\xb3\xba]|G.{187}G", f"a video (MPEG); {_VIDEO}"),
    (rb"FLV\x01", f"a video (Flash); {_VIDEO}"),
    (rb"OggS", f"a video (Ogg); {_VIDEO}"),
    (rb"PK(?:\x03\x04|\x05\x06)", f"a ZIP archive; {_UNPACK}"),
    (rb"7z\xbc\xaf|Rar!|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd", f"a compressed archive; {_UNPACK}"),
    (re.escape(GZIP), f"a gzip archive; {_UNPACK}"),
    (rb".{257}ustar", f"a tar archive; {_UNPACK}"),
    (rb"%PDF", "a PDF document; save the images in it as PNG"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of an office program; save the images in it as PNG"),
    (rb"(?:MATLAB 5\.0|.{128,4096}MATLAB)", f"a MATLAB file; {_EXPORT}"),
    (rb"\x89HDF", f"an HDF5 file; {_EXPORT}"),
    (rb"\x93NUMPY", f"a NumPy array; {_EXPORT}"),
    (rb"8BPS", f"a Photoshop document; {_CONVERT}"),
    (rb"(?i)\s*(?:<\?xml.*?>\s*)?(?:<!--.*?-->\s*)*(?:<!doctype svg.*?>\s*)?<svg\b", f"an SVG drawing; {_CONVERT}"),
    (rb"(?i)\s*(?:<\?xml.*?>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype html|html|head|body)\b",
     "a web page, perhaps of a login or an error; download the image again"),
)  # fmt: skip
_PATTERNS = tuple((re.compile(pattern, re.DOTALL), kind) for pattern, kind in _KINDS)
_MARK = b"\xef\xbb\xbf"


def other_content(head: bytes) -> str:
    """Return what a file is that isn't an image, as a sentence without subject, by its first 4 KiB."""
    kind = _kind(head)
    if kind:
        return f"is {kind}"
    if _is_text(head):
        return "is a text file, not an image; correct the path, or download the image again"
    return "expected an image (png, jpg, bmp, tiff, ...), found another or damaged content"


def is_video(head: bytes) -> bool:
    """Return whether a file is a video by its first bytes: no playlist or other text, which may name other files."""
    return _kind(head).startswith("a video")


def _kind(head: bytes) -> str:
    """Return what a file is, empty if that isn't known."""
    return next((kind for pattern, kind in _PATTERNS if pattern.match(head.removeprefix(_MARK))), "")


def _is_text(head: bytes) -> bool:
    """Return whether all characters are those of a text in UTF-8 or UTF-16, a cut last character aside."""
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    text = head.removeprefix(_MARK).decode(encoding, errors="replace")[:-1].replace("\ufffd", "\0")
    return text != "" and all(character.isprintable() or character in "\t\r\n\f" for character in text)
