"""Find the file that a path means but for its spelling, and say what to correct."""

import os
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


def near_miss(path: Path, root: Path) -> NearMiss | None:
    """Return the file that an absent `path` inside the input folder `root` means but for its spelling, if there is one.

    The spelling may differ by backslashes, letter case, Unicode form, URL codes such as %20, and a missing `../`. Each
    folder is listed once.

    Example:
        >>> near_miss(Path("/data/images/1.PNG"), Path("/data"))  # where there is /data/images/1.png
        NearMiss(expected='../images/1.png', advice='expected the ending .png, found .PNG; write the path as on disk')
    """
    written = os.path.relpath(path, root)
    for text, advice in _respelled(written):
        parts = os.path.normpath(text).split(os.sep)
        found = _find(os.fspath(root), parts) if parts[0] != os.pardir else None
        if found is not None:
            changes = [*advice, *_differences(parts, found)]
            return NearMiss("/".join(["..", *found]), "; ".join(changes)) if changes else None
    return None


_BACKSLASH = "expected / between folders, found \\; replace \\ by /"
_CODES = "expected a plain path, found the codes of a URL; replace %20 by a blank, and other codes likewise"
_ABOVE = "expected a path from csv_files, found one from the folder above; put ../ before it"


def _respelled(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield spellings of a path with what they correct, the nearest first."""
    spellings: list[tuple[str, list[str]]] = [(text.replace("\\", "/"), [_BACKSLASH] if "\\" in text else [])]
    text, advice = spellings[0]
    if unquote(text) != text:
        spellings.append((unquote(text), [*advice, _CODES]))
    yield from spellings
    for text, advice in spellings:
        above = f"/{text}".replace("/csv_files/", "/", 1)[1:]
        if above != text:
            yield above, [*advice, _ABOVE]


def _find(folder: str, parts: list[str]) -> list[str] | None:
    """Return the names on disk of the parts of a path, which may differ by letter case and Unicode form."""
    names = []
    for part in parts:
        name = _listing(folder).get(_key(part))
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
            yield f"expected the ending {true_ending}, found {ending}; write the path as on disk"
        elif name == found[-1]:
            yield "expected another letter case of the file's name; write the path as on disk"
        else:
            yield f"expected the folder {name}, found {part}; write the path as on disk"
