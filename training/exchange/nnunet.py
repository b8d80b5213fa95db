"""Read the raw data of nnU-Net: dataset.json, images in imagesTr and imagesTs, masks in labelsTr and labelsTs."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from aurora.errors import InputError
from aurora.runtime.notes import Findings
from aurora.tasks import TaskType
from training.exchange.mask_files import numbered, read_masks
from training.exchange.source import Item, Label, Size, Source, Target, images_below, named_splits, stem

_SETTINGS = "dataset.json"
_SPLITS = {"train": "Tr", "test": "Ts"}
# The channel is the last part of an image's name: CASE_0000.png.
_CHANNEL = re.compile(r"_(\d{4})$")


def recognise(source: Path) -> str | None:
    """Return why a folder looks like nnU-Net's, None if it doesn't."""
    found = (source / _SETTINGS).is_file() and (source / "imagesTr").is_dir()
    return f"there are {_SETTINGS} and imagesTr" if found else None


def read(source: Path, kind: TaskType | None, findings: Findings) -> Source:
    """Read the raw data of nnU-Net, for segmentation; of several channels, the first is taken.

    Raises:
        InputError: another type is wanted, or `dataset.json` is missing or damaged.
    """
    if kind not in (None, TaskType.SEGMENTATION):
        raise InputError(f"expected --type segmentation for nnU-Net, whose labels are masks, found {kind}; change it")
    names = _names(source / _SETTINGS)
    splits = {
        split: _items(source / f"images{ending}", source / f"labels{ending}", len(names), findings)
        for split, ending in _SPLITS.items()
        if (source / f"images{ending}").is_dir()
    }
    return Source(TaskType.SEGMENTATION, (Target("", names),), named_splits(splits))


def _names(path: Path) -> tuple[str, ...]:
    """Return the names of the classes by their number; of the first version of the format, too."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"expected {_SETTINGS}, found none that can be read in {path.parent} ({error.strerror})"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"expected JSON, found {path} ({error}); correct it") from None
    labels: Any = content.get("labels") if isinstance(content, dict) else None
    if isinstance(labels, dict) and all(str(key).isdecimal() for key in labels):
        labels = {name: int(number) for number, name in labels.items()}
    if isinstance(labels, dict):
        # Pixels to ignore are no class, so a mask that has them can't be used.
        labels = {name: number for name, number in labels.items() if name != "ignore"}
    if not isinstance(labels, dict) or sorted(map(str, labels.values())) != sorted(map(str, range(len(labels)))):
        raise InputError(f"expected labels, a number from 0 on for each name, found {labels!r} in {path}; correct it")
    return tuple(sorted(map(str, labels), key=lambda name: int(labels[name])))


def _items(images: Path, masks: Path, count: int, findings: Findings) -> Iterator[Item]:
    """Yield the images of a folder that have a mask."""
    labels = {stem(name): masks / name for name in images_below(masks)}
    classes = {number: number for number in range(count)}
    for name in images_below(images):
        channel = _CHANNEL.search(stem(name))
        if channel is None:
            findings.left_out.add("the name of the image doesn't end with its channel, as in _0000", name)
        elif int(channel[1]):
            findings.left_out.add("the image is a further channel; only the first is taken", name)
        else:
            mask = labels.pop(stem(name)[: channel.start()], None)
            if mask is None:
                findings.left_out.add("the image has no mask", name)
            else:
                yield Item(images / name, f"{images.name}/{name}", partial(_read, mask, classes))
    for case in labels:
        findings.left_out.add("the mask has no image", labels[case].name)


def _read(mask: Path, classes: Mapping[int, int], size: Size) -> dict[int, Label]:
    return {0: numbered(read_masks([mask]), classes, size)}
