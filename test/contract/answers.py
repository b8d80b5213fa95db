"""Compares two folders of answers, row by row, without any of the project's code."""

import json
from pathlib import Path

import cv2
import numpy as np

FILES = ("classification_predictions.json", "detection_predictions.json", "regression_predictions.json")
# A class may change where two are as good as equal; a box or point by a part of a pixel.
PROBABILITY, PIXELS, MASK_SHARE = 1e-3, 0.05, 1e-4


def differences(first: Path, second: Path) -> list[str]:
    """What differs by more than rounding: order and keys of the records, their numbers, the masks' pixels."""
    found = []
    for name in FILES:
        a, b = (json.loads((folder / name).read_text(encoding="utf-8")) for folder in (first, second))
        if [(r["task_id"], r["image_path"]) for r in a] != [(r["task_id"], r["image_path"]) for r in b]:
            found.append(f"{name}: other rows, or in another order")
            continue
        found += [f"{name}: {r['image_path']}" for r, s in zip(a, b, strict=True) if not _close(r, s)]
    masks = [{path.relative_to(folder) for path in folder.rglob("*.png")} for folder in (first, second)]
    if masks[0] != masks[1]:
        return [*found, f"other masks: {masks[0] ^ masks[1]}"]
    wrong = total = 0
    for path in masks[0]:
        a, b = (cv2.imread(str(folder / path), cv2.IMREAD_UNCHANGED) for folder in (first, second))
        wrong, total = wrong + int((a != b).sum()), total + a.size
    return found + ([f"{wrong} of {total} mask pixels differ"] if wrong > MASK_SHARE * total else [])


def _close(a: dict, b: dict) -> bool:
    if a.keys() != b.keys():
        return False
    for key in a.keys() - {"task_id", "image_path", "predicted_class"}:
        tolerance = PIXELS if key.endswith("pixels") else PROBABILITY
        if not np.allclose(a[key], b[key], rtol=0, atol=tolerance):
            return False
    top = np.sort(a.get("predicted_probs", [0.0, 1.0]))
    return a.get("predicted_class") == b.get("predicted_class") or top[-1] - top[-2] < 2 * PROBABILITY
