"""The page of `inference predict`: what was answered, with pictures, for a reader without other tools."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2

from aurora.render.drawing import fitted
from inference.predict.series import in_words
from inference.render.html import picture, render

#: The longer side of a picture on the page, in pixels.
SIDE = 320
#: The pictures that are shown of each task; more would make the page too large to open.
PICTURES = 60


def predict_page(rows: Sequence[Mapping[str, Any]], folder: Path, origins: Mapping[str, str]) -> bytes:
    """Return an HTML page that needs no other file.

    Args:
        rows: the records of all results, in the order of the images.
        folder: the folder of the results, which has the overlays and curves that the records name.
        origins: what each task was trained on, by task id; "" if it isn't known.
    """
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["task"], row["source"]), []).append(row)
    groups: dict[str, list[dict[str, Any]]] = {}
    for (task, source), frames in found.items():
        item = dict(frames[0]) if len(frames) == 1 else _cine(frames)
        groups.setdefault(task, []).append({**item, "name": Path(source).name, "picture": None})
    for items in groups.values():
        for item in [item for item in items if item.get("overlay") or item.get("curve")][:PICTURES]:
            item["picture"] = _link(folder / (item.get("overlay") or item["curve"]))
    images = len({row["source"] for row in rows})
    return render("predict.html", rows=rows, images=images, groups=groups, origins=origins)


def _cine(frames: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one entry for all frames of a cine and task."""
    expected = [frame["expected"] for frame in frames if frame["expected"] is not None]
    return {
        **frames[0],
        "answer": in_words(frames),
        "expected": sum(expected) / len(expected) if expected else None,
        "measurements": [],
        "warnings": list(dict.fromkeys(warning for frame in frames for warning in frame["warnings"])),
        "fallback": next((frame["fallback"] for frame in frames if frame["fallback"]), None),
    }


def _link(file: Path) -> str | None:
    """Return a picture as a data URL; None if it has been removed."""
    if file.suffix == ".svg":
        return "data:image/svg+xml;base64," + b64encode(file.read_bytes()).decode() if file.is_file() else None
    pixels = cv2.imread(str(file), cv2.IMREAD_COLOR_RGB)
    return None if pixels is None else picture(fitted(pixels, SIDE)[0])
