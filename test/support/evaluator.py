"""The arithmetic of the challenge's published evaluator, written again from its description.

It shares no line with `aurora.scoring`: plain loops over rows, scikit-learn and SimpleITK on whole masks. Predictions
of the wrong size are resized, a class that doesn't exist is another class, and an AUC that scikit-learn refuses is 0.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import SimpleITK as sitk
from sklearn.metrics import f1_score, matthews_corrcoef, roc_auc_score


def evaluate(truth: Path, predictions: Path) -> dict[str, dict[str, float]]:
    """Return the metrics of every task that has a prediction, by the names of `aurora.scoring.metrics`."""
    by_task: dict[str, list[dict[str, str]]] = {}
    for path in sorted((truth / "csv_files").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                by_task.setdefault(row["task_id"], []).append(row)
    tasks = {}
    for task_id, rows in by_task.items():
        metrics = _METRICS[rows[0]["task_name"]](rows, truth, predictions)
        if metrics:
            tasks[task_id] = metrics
    return tasks


def _entries(rows: list[dict[str, str]], path: Path) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    if path.exists():
        entries = {(one["task_id"], one["image_path"]): one for one in json.loads(path.read_text(encoding="utf-8"))}
        for row in rows:
            if (row["task_id"], row["image_path"]) in entries:
                yield row, entries[row["task_id"], row["image_path"]]


def _segmentation(rows: list[dict[str, str]], truth: Path, predictions: Path) -> dict[str, float]:
    classes = range(1, int(rows[0]["num_classes"]))
    dsc: dict[int, list[float]] = {number: [] for number in classes}
    hd: dict[int, list[float]] = {number: [] for number in classes}
    for row in rows:
        label = cv2.imread(str(truth / "csv_files" / row["mask_path"]), cv2.IMREAD_GRAYSCALE)
        mask = cv2.imread(str(predictions / row["mask_path"].replace("../", "")), cv2.IMREAD_GRAYSCALE)
        if label is None or mask is None:
            continue
        if mask.shape != label.shape:
            mask = cv2.resize(mask, label.shape[::-1], interpolation=cv2.INTER_NEAREST)
        for number in classes:
            a, b = label == number, mask == number
            dsc[number].append(2 * (a & b).sum() / (a.sum() + b.sum()) if a.any() or b.any() else 1.0)
            hd[number].append(_hausdorff(a, b))
    if not dsc[1]:
        return {}
    return {
        "dsc": float(np.mean([np.mean(values) for values in dsc.values()])),
        "hd": float(np.mean([np.mean(values) for values in hd.values()])),
    }


def _hausdorff(a: np.ndarray, b: np.ndarray) -> float:
    if not a.any() and not b.any():
        return 0.0
    if not a.any() or not b.any():
        return float(np.sqrt(a.shape[0] ** 2 + a.shape[1] ** 2))
    distance = sitk.HausdorffDistanceImageFilter()
    distance.Execute(*(sitk.GetImageFromArray(region.astype(np.uint8) * 255) for region in (a, b)))
    return float(distance.GetHausdorffDistance())


def _classification(rows: list[dict[str, str]], truth: Path, predictions: Path) -> dict[str, float]:
    pairs = list(_entries(rows, predictions / "classification_predictions.json"))
    if not pairs:
        return {}
    labels = np.array([int(row["mask"]) for row, _ in pairs])
    predicted = np.array([entry["predicted_class"] for _, entry in pairs])
    probs = [entry["predicted_probs"] for _, entry in pairs if entry.get("predicted_probs") is not None]
    auc = 0.0
    if len(probs) == len(pairs):
        try:
            scores = np.array(probs)
            if int(rows[0]["num_classes"]) == 2:
                auc = roc_auc_score(labels, scores[:, 1])
            else:
                auc = roc_auc_score(labels, scores, average="macro", multi_class="ovr")
        except ValueError:
            auc = 0.0
    return {
        "auc": float(auc),
        "f1_macro": float(f1_score(labels, predicted, average="macro", zero_division=0)),
        "mcc": float(matthews_corrcoef(labels, predicted)),
        "accuracy": float(np.mean(labels == predicted)),
        "f1_weighted": float(f1_score(labels, predicted, average="weighted", zero_division=0)),
    }


def _detection(rows: list[dict[str, str]], truth: Path, predictions: Path) -> dict[str, float]:
    overlaps = []
    for row, entry in _entries(rows, predictions / "detection_predictions.json"):
        ax1, ay1, ax2, ay2 = (float(row[name]) for name in ("x_min", "y_min", "x_max", "y_max"))
        bx1, by1, bx2, by2 = entry["bbox_pixels"]
        shared = max(0, min(ax2, bx2) - max(ax1, bx1)) * max(0, min(ay2, by2) - max(ay1, by1))
        union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared
        overlaps.append(shared / union if union else 0.0)
    return {"iou": float(np.mean(overlaps))} if overlaps else {}


def _landmarks(rows: list[dict[str, str]], truth: Path, predictions: Path) -> dict[str, float]:
    errors = []
    for row, entry in _entries(rows, predictions / "regression_predictions.json"):
        label = np.array([json.loads(row[f"point_{k}_xy"]) for k in range(1, int(row["num_classes"]) + 1)])
        points = np.reshape(entry["predicted_points_pixels"], (-1, 2))
        errors.append(np.sqrt(((points - label) ** 2).sum(axis=1)).mean())
    return {"mre": float(np.mean(errors))} if errors else {}


_METRICS = {
    "segmentation": _segmentation,
    "classification": _classification,
    "detection": _detection,
    "Regression": _landmarks,
}
