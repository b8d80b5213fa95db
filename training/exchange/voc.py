"""Read Pascal VOC: an XML file per image with the boxes of its objects, or its masks."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from aurora.errors import InputError
from aurora.runtime.notes import Findings
from aurora.tasks import TaskType
from training.exchange import voc_masks
from training.exchange.finder import ImageFinder, images_of
from training.exchange.instances import Annotated, Category, Instance, instance_source
from training.exchange.source import Size, Source, Unusable, files_below, lines_of, split_of

_TYPES = (TaskType.DETECTION, TaskType.CLASSIFICATION, TaskType.SEGMENTATION)
#: The lists of the names of each split's images.
_LISTS = ("train", "val", "test")


def recognise(source: Path) -> str | None:
    """Return why a folder looks like Pascal VOC's, None if it doesn't."""
    if not source.is_dir():
        return None
    for path in files_below(source, "*.xml"):
        with path.open("rb") as file:
            if b"<annotation" in file.read(4096):
                return f"{path.name} is an annotation in XML"
    return "there is a folder SegmentationClass" if voc_masks.has_masks(source) else None


def read(source: Path, kind: TaskType | None, findings: Findings) -> Source:
    """Read a folder of images with XML files, for detection or classification, or with masks, for segmentation.

    The lists in `ImageSets/Main`, for masks those in `ImageSets/Segmentation`, say the split or, without them, the
    names of the folders.

    Args:
        source: the folder.
        kind: the type of the task; None for detection if there are XML files, and otherwise for segmentation.
        findings: takes what can't be used.

    Raises:
        InputError: another type is wanted, or there is no file with an object or no mask.
    """
    files = files_below(source, "*.xml")
    kind = kind or (TaskType.DETECTION if files or not voc_masks.has_masks(source) else TaskType.SEGMENTATION)
    if kind not in _TYPES:
        raise InputError(
            f"expected --type {' or '.join(_TYPES)} for VOC, whose labels are boxes and masks, found {kind}; change it"
        )
    if kind == TaskType.SEGMENTATION:
        return voc_masks.read(source, _listed(source / "ImageSets" / "Segmentation"), findings)
    names = sorted({name for path in files for name in _names(path)})
    if not names:
        raise InputError(f"expected XML files with the names of objects, found none in {source}; name the folder above")
    listed = _listed(source / "ImageSets" / "Main")
    splits: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        folder = str(PurePosixPath(path.relative_to(source).as_posix()).parent)
        splits[listed.get(path.stem) or split_of(folder)].append(path)
    finder = ImageFinder(source)
    numbers = {name: number for number, name in enumerate(names)}
    images = {split: _images(found, numbers, finder, findings) for split, found in splits.items()}
    return instance_source(kind, [Category(name) for name in names], images, findings)


def _parse(path: Path) -> ElementTree.Element:
    """Return the annotation in a file; raise `Unusable` if it is damaged or of another kind."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ValueError, LookupError, ElementTree.ParseError):  # LookupError: an encoding that nobody knows
        raise Unusable("the XML file is damaged") from None
    if root.tag != "annotation":
        raise Unusable("the XML file is no annotation")
    return root


def _names(path: Path) -> set[str]:
    """Return the names of the objects in a file; none if it can't be read, which is reported later."""
    try:
        found = {(item.findtext("name") or "").strip() for item in _parse(path).findall("object")}
    except Unusable:
        return set()
    return found - {""}


def _text(element: ElementTree.Element, path: str) -> str:
    text = (element.findtext(path) or "").strip()
    if not text:
        raise Unusable(f"the XML file has no {path}")
    return text


def _listed(folder: Path) -> Mapping[str, str]:
    """Return the split of each name in the lists of a folder."""
    lists = {split: folder / f"{split}.txt" for split in _LISTS}
    return {line.split()[0]: split for split, path in lists.items() if path.is_file() for line in lines_of(path)}


def _images(
    files: Sequence[Path], numbers: Mapping[str, int], finder: ImageFinder, findings: Findings
) -> Iterator[Annotated]:
    def read(path: Path) -> tuple[str, ElementTree.Element]:
        root = _parse(path)
        return _text(root, "filename"), root

    for found, root in images_of(files, read, finder, findings):
        yield Annotated(found.path, found.name, partial(_instances, root, numbers))


def _instances(root: ElementTree.Element, numbers: Mapping[str, int], size: Size) -> list[Instance]:
    stated = [(root.findtext(f"size/{side}") or "0").strip() for side in ("height", "width")]
    # Some tools write 0 for a size that they don't know.
    if set(stated) != {"0"} and stated != list(map(str, size)):
        raise Unusable("the file states another size than that of the image")
    return [Instance(numbers[_text(item, "name")], _box(item)) for item in root.findall("object")]


def _box(item: ElementTree.Element) -> tuple[float, float, float, float]:
    """Return the edges of a box; VOC counts pixels from 1 and includes the last one, so that 1 to W is all of a row."""
    try:
        x1, y1, x2, y2 = (float(_text(item, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax"))
    except ValueError:
        return (math.nan,) * 4
    return x1 - 1, y1 - 1, x2, y2
