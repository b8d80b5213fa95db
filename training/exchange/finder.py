"""Find the images of a source by the paths that files of annotations write."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

from aurora.runtime.notes import Findings
from training.exchange.source import Unusable, images_below, split_of

Content = TypeVar("Content")


class Found(NamedTuple):
    """An image, and its path relative to the source's folder."""

    path: Path
    name: str


class ImageFinder:
    """Find images below a folder whose paths may be those of another machine.

    A path with backslashes, of a folder that isn't here, or in another letter case is found by its last parts.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for name in images_below(root):
            self._by_name[PurePosixPath(name).name.casefold()].append(name)

    def find(self, written: str, source: Path, findings: Findings) -> Found:
        """Return the image that the file `source` calls `written`; raise `Unusable` if none or several may be meant."""
        path = PurePosixPath(written.replace("\\", "/"))
        names = self._by_name.get(path.name.casefold(), [])
        place = Path(os.path.relpath(source, self.root)).as_posix()
        ranks = {name: _rank(name, path, place) for name in names}
        best = [name for name in names if ranks[name] == max(ranks.values())]
        if not best:
            raise Unusable("its image is missing")
        if len(best) > 1:
            raise Unusable("several images have its name")
        if "\\" in written:
            findings.noted.add("its path has backslashes; the image was found by its name", best[0])
        elif PurePosixPath(best[0]).name != path.name:
            findings.noted.add("the image has its name in another letter case", best[0])
        return Found(self.root / best[0], best[0])


def images_of(
    files: Iterable[Path], read: Callable[[Path], tuple[str, Content]], finder: ImageFinder, findings: Findings
) -> Iterator[tuple[Found, Content]]:
    """Yield the image and the content of each file of annotations, of formats with one file per image.

    A file that is damaged, or without an image of its own, is counted in `findings`.

    Args:
        files: the files.
        read: returns the path that a file writes for its image, and the content; raises `Unusable`.
        finder: finds the images.
        findings: takes what is left out.
    """
    seen: set[Path] = set()
    for path in files:
        try:
            written, content = read(path)
            found = finder.find(written, path, findings)
            if found.path in seen:
                raise Unusable(f"another {path.suffix[1:].upper()} file names the same image")
        except Unusable as error:
            findings.left_out.add(str(error), path.name)
            continue
        seen.add(found.path)
        yield found, content


def _rank(name: str, written: PurePosixPath, source: str) -> tuple[int, bool, bool, int]:
    """Say how well an image fits: by the end of its path, its spelling, its split, and its nearness to `source`."""
    parts = PurePosixPath(name.casefold()).parts
    tail = _equal(parts[::-1], PurePosixPath(str(written).casefold()).parts[::-1])
    folder, split = str(PurePosixPath(name).parent), split_of(source)
    exact = PurePosixPath(name).name == written.name
    return tail, exact, not split or split_of(folder) == split, _equal(parts, PurePosixPath(source.casefold()).parts)


def _equal(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    """Return how many parts are equal from the start."""
    pairs = zip(first, second, strict=False)
    return next((number for number, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))
