"""Find the images that a user names: files, folders, patterns, or a list."""

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aurora.errors import InputError

#: The endings of files that are taken from a folder; a file without an ending is taken too, as DICOM files often are.
ENDINGS = {
    *(".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".ppm"),
    *(".dcm", ".nii", ".gz", ".mha", ".nrrd", ""),
    *(".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".wmv", ".mpg", ".mpeg"),
}


@dataclass(frozen=True, slots=True)
class ImageSource:
    """An image file, and the `name` of its results: a relative path without an ending, unique among the sources."""

    path: Path
    name: str

    def stem(self, task: str) -> str:
        """Return the name, without an ending, of the files of one task."""
        return f"{self.name}.{task.strip().replace('/', '_')}"


def find_images(arguments: Iterable[str], lines: Iterable[str], ignored: Path) -> list[ImageSource]:
    """Return the images that the arguments name, in their order.

    Args:
        arguments: a file, a folder, which is searched with its subfolders, a pattern such as `scans/*.png`, or `-` for
            the paths in `lines`.
        lines: one path per line.
        ignored: the folder of the results, whose pictures aren't taken for images.

    Raises:
        InputError: an argument names nothing.
    """
    taken: dict[str, int] = {}
    sources = []
    for path, name in _named(arguments, lines, ignored.resolve()):
        number = taken[name] = taken.get(name, 0) + 1
        sources.append(ImageSource(path, name if number == 1 else f"{name}-{number}"))
    return sources


def _named(arguments: Iterable[str], lines: Iterable[str], ignored: Path) -> Iterator[tuple[Path, str]]:
    for argument in arguments:
        if argument == "-":
            yield from ((Path(line.strip()), _stem(Path(line.strip()).name)) for line in lines if line.strip())
        elif os.path.isdir(argument):
            yield from _in_folder(Path(argument), ignored)
        elif os.path.lexists(argument):
            yield Path(argument), _stem(Path(argument).name)
        elif found := sorted(glob.glob(argument, recursive=True)):
            yield from ((Path(name), _stem(Path(name).name)) for name in found if os.path.isfile(name))
        else:
            raise InputError(f"expected a file, a folder or a pattern, found {argument!r}, which isn't there")


def _in_folder(root: Path, ignored: Path) -> Iterator[tuple[Path, str]]:
    found = False
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and Path(folder, name).resolve() != ignored
        )
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and path.suffix.lower() in ENDINGS:
                found = True
                yield path, (path.parent.relative_to(root) / _stem(name)).as_posix()
    if not found:
        raise InputError(f"expected images in {root}, found none; name another folder, or the files themselves")


def _stem(name: str) -> str:
    """Return a file's name without its endings; those of compressed volumes are two."""
    stem = name[:-3] if name.lower().endswith(".gz") else name
    return Path(stem).stem or name
