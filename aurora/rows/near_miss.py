"""Find the file that a path means but for its spelling, and say what to correct."""

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote


class NearMiss(NamedTuple):
    """The path of a file relative to `csv_files`, and what to correct in a path that means it."""

    expected: str
    advice: str


def near_miss(cell: str, root: Path) -> NearMiss | None:
    """Return the file that a path of a CSV file, relative to `root/csv_files`, means but for its spelling, if any.

    The spelling may differ by backslashes, letter case, Unicode form, URL codes such as %20, and a missing `../` or
    several. It may also lead to the input folder from elsewhere: an absolute path, a drive letter, `file://` or other
    folders. Each folder is listed once.

    Example:
        >>> near_miss("../images/1.PNG", Path("/data"))  # where there is /data/images/1.png
        NearMiss(expected='../images/1.png', advice='expected the ending .png, found .PNG; write the path as on disk')
    """
    for text, advice in _respelled(cell.strip()):
        parts = [part for part in text.split("/") if part]
        found = _find(os.fspath(root), parts)
        if found and os.path.isfile(os.path.join(root, *found)):
            changes = [*advice, *_differences(parts, found)]
            return NearMiss("/".join(["..", *found]), "; ".join(changes)) if changes else None
    return None


_BACKSLASH = "expected / between folders, found \\; replace \\ by /"
_CODES = "expected a plain path, found the codes of a URL; replace %20 by a blank, and other codes likewise"
_ABOVE = "expected a path from csv_files, found one from the folder above; put ../ before it"
_WITHIN = "write ../ and the path within the input folder"
# How a path begins that leads to the input folder from elsewhere, and what to say of it; the first that fits counts.
_ELSEWHERE = (
    (re.compile(r"file:/*", re.IGNORECASE), f"expected a path from csv_files, found a file:// URL; {_WITHIN}"),
    (re.compile(r"[A-Za-z]:/"), f"expected a path from csv_files, found one with a drive letter; {_WITHIN}"),
    (re.compile(r"/"), f"expected a path from csv_files, found an absolute one; {_WITHIN}"),
    (re.compile(r"(?:\.\./){2,}"), "expected a single ../, to the folder above csv_files, found more; write it once"),
    (re.compile(r""), f"expected a path from csv_files, found one from another folder; {_WITHIN}"),
)


# The endings of images and masks, in small letters.
_IMAGE = re.compile(r"\.(?:png|jpe?g|bmp|tiff?|webp|gif|dcm|nii|nii\.gz|mha|nrrd)$")


def _respelled(cell: str) -> Iterator[tuple[str, list[str]]]:
    """Yield paths within the input folder that a cell may mean, with what they correct, the nearest first."""
    spellings: list[tuple[str, list[str]]] = [(cell.replace("\\", "/"), [_BACKSLASH] if "\\" in cell else [])]
    text, advice = spellings[0]
    if unquote(text) != text:
        spellings.append((unquote(text), [*advice, _CODES]))
    for text, advice in spellings:
        inside = os.path.normpath(f"csv_files/{text}")
        if not text.startswith("/") and not inside.startswith(".."):
            yield inside, advice
    for text, advice in spellings:
        if not text.startswith(("/", "..")):
            yield os.path.normpath(text), [*advice, _ABOVE]
    for text, advice in spellings:
        start, said = next((match, said) for pattern, said in _ELSEWHERE if (match := pattern.match(text)))
        parts = os.path.normpath(text[start.end() :]).split("/")
        for number in range(len(parts)):
            yield "/".join(parts[number:]), [*advice, said]


def _find(folder: str, parts: list[str]) -> list[str] | None:
    """Return the names on disk of the parts of a path, which may differ by letter case and Unicode form.

    The last may also differ by its ending, if no other image is named so.
    """
    names = []
    for number, part in enumerate(parts, start=1):
        listing = _listing(folder)
        name = listing.get(_key(part))
        if name is None and number == len(parts):
            alike = [found for key, found in listing.items() if _IMAGE.sub("", key) == _IMAGE.sub("", _key(part))]
            name = alike[0] if len(alike) == 1 and _IMAGE.search(_key(alike[0])) else None
        if name is None:
            return None
        # The very name goes first, should there be several.
        name = part if os.path.lexists(os.path.join(folder, part)) else name
        names.append(name)
        folder = os.path.join(folder, name)
    return names


def _listing(folder: str) -> Mapping[str, str]:
    try:
        return _listed(folder, os.stat(folder).st_mtime_ns)
    except OSError:
        return {}


@lru_cache(maxsize=256)
def _listed(folder: str, changed: int) -> Mapping[str, str]:
    return {_key(name): name for name in sorted(os.listdir(folder), reverse=True)}


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _differences(parts: list[str], found: list[str]) -> Iterator[str]:
    """Yield what to correct in the parts of a path; equal for all files of a folder, where that is possible."""
    for part, name in zip_longest(parts, found, fillvalue=""):
        if part == name:
            continue
        (stem, ending), (true_stem, true_ending) = os.path.splitext(part), os.path.splitext(name)
        if unicodedata.normalize("NFC", part) == unicodedata.normalize("NFC", name):
            form = "NFC" if unicodedata.is_normalized("NFC", name) else "NFD"
            yield f"expected accents in the Unicode form {form}, found another; write the path as on disk"
        elif stem == true_stem:
            yield f"expected the ending {true_ending}, found {ending or 'none'}; write the path as on disk"
        elif name == found[-1]:
            yield "expected another letter case of the file's name; write the path as on disk"
        else:
            yield f"expected the folder {name}, found {part}; write the path as on disk"
