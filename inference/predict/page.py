"""The page of `inference predict`: what was answered, with pictures, for a reader without other tools."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2

from aurora.render.drawing import fitted
from inference.render.html import picture, render

#: The longer side of a picture on the page, in pixels.
SIDE = 320
#: The pictures that are shown of each task; more would make the page too large to open.
PICTURES = 60


def predict_page(rows: Sequence[Mapping[str, Any]], folder: Path, origins: Mapping[str, str]) -> bytes:
    """Return an HTML page that needs no other file.

    Args:
        rows: the records of all results, in the order of the images.
        folder: the folder of the results, which has the overlays that the records name.
        origins: what each task was trained on, by task id; "" if it isn't known.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["task"], []).append({**row, "name": Path(row["source"]).name, "picture": None})
    for items in groups.values():
        for item in [item for item in items if "overlay" in item][:PICTURES]:
            item["picture"] = _link(folder / item["overlay"])
    images = len({row["source"] for row in rows})
    return render("predict.html", rows=rows, images=images, groups=groups, origins=origins)


def _link(overlay: Path) -> str | None:
    """Return a picture as a data URL; None if it has been removed."""
    pixels = cv2.imread(str(overlay), cv2.IMREAD_COLOR_RGB)
    return None if pixels is None else picture(fitted(pixels, SIDE)[0])
