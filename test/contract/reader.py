"""An independent reading of the challenge's output format: it shares no code with what writes the answers.

`python test/contract/reader.py INPUT OUTPUT` prints every violation, and ends with status 1 if there is any. The
input's CSV files are taken to be as the challenge describes them.
"""

import csv
import json
import math
import os
import sys
from pathlib import Path, PurePosixPath
from unittest.mock import patch

from PIL import Image, UnidentifiedImageError

FILES = {
    "classification": "classification_predictions.json",
    "detection": "detection_predictions.json",
    "Regression": "regression_predictions.json",
}
FIELDS = {
    "classification": {"predicted_class", "predicted_probs"},
    "detection": {"bbox_normalized", "bbox_pixels"},
    "Regression": {"predicted_points_normalized", "predicted_points_pixels"},
}
SUM_TOLERANCE = 1e-4
PIXEL_TOLERANCE = 0.6  # lets pixels be rounded to whole ones


def verify(input_root: Path, output_root: Path) -> list[str]:
    """Every violation of the output format, a sentence each; an empty list for a valid set."""
    rows = read_csv_rows(input_root)
    found: list[str] = []
    expected = set()
    for kind, name in FILES.items():
        of_kind = {(row["task_id"], row["image_path"]): row for row in rows if row["task_name"] == kind}
        expected.add(name)
        found += verify_file(output_root / name, kind, of_kind, input_root)
    for row in rows:
        relative = mask_place(row) if row["task_name"] == "segmentation" else None
        if relative:
            expected.add(relative)
            found += verify_mask(output_root / relative, row, input_root)
    return found + verify_nothing_else(output_root, expected)


def read_csv_rows(input_root: Path) -> list[dict[str, str]]:
    rows = []
    for path in sorted((input_root / "csv_files").glob("*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows += list(csv.DictReader(file))
    return rows


def verify_file(path: Path, kind: str, rows: dict[tuple[str, str], dict[str, str]], input_root: Path) -> list[str]:
    if not path.exists():
        return [f"{path.name} is missing, with {len(rows)} rows to answer"] if rows else []
    try:
        entries = json.loads(path.read_bytes().decode("utf-8"), parse_constant=refuse_constant)
    except ValueError as error:
        return [f"{path.name} is not strict JSON: {error}"]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return [f"{path.name} is not a list of objects"]
    found, answered = [], set()
    for entry in entries:
        key = (entry.get("task_id"), entry.get("image_path"))
        where = f"{path.name}: {key}"
        if key not in rows:
            found.append(f"{where} answers no row")
        elif key in answered:
            found.append(f"{where} is answered twice")
        elif entry.keys() != FIELDS[kind] | {"task_id", "image_path"}:
            found.append(f"{where} has the fields {sorted(entry)}")
        else:
            found += [f"{where}: {fault}" for fault in VERIFY[kind](entry, rows[key], input_root)]
        answered.add(key)
    return found + [f"{path.name}: {key} has no answer" for key in rows if key not in answered]


def refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}")


def verify_classes(entry: dict, row: dict[str, str], input_root: Path) -> list[str]:
    probs, predicted = entry["predicted_probs"], entry["predicted_class"]
    count = int(float(row["num_classes"]))
    if not are_numbers(probs, count):
        return [f"predicted_probs are not {count} numbers"]
    found = []
    if not all(0 <= value <= 1 for value in probs):
        found.append("a probability is outside 0..1")
    if abs(sum(probs) - 1) > SUM_TOLERANCE:
        found.append(f"the probabilities sum to {sum(probs)}")
    if type(predicted) is not int or not 0 <= predicted < count:
        found.append(f"predicted_class {predicted!r} is not in 0..{count - 1}")
    elif probs[predicted] != max(probs):
        found.append(f"predicted_class {predicted} is not the most probable class")
    return found


def verify_box(entry: dict, row: dict[str, str], input_root: Path) -> list[str]:
    found = verify_places(entry["bbox_normalized"], entry["bbox_pixels"], 4, row, input_root)
    if not found:
        for box in (entry["bbox_normalized"], entry["bbox_pixels"]):
            if box[0] > box[2] or box[1] > box[3]:
                found.append(f"the corners of {box} are not ordered")
    return found


def verify_points(entry: dict, row: dict[str, str], input_root: Path) -> list[str]:
    normalized, pixels = entry["predicted_points_normalized"], entry["predicted_points_pixels"]
    return verify_places(normalized, pixels, 2 * int(float(row["num_classes"])), row, input_root)


VERIFY = {"classification": verify_classes, "detection": verify_box, "Regression": verify_points}


def verify_places(normalized: list, pixels: list, count: int, row: dict[str, str], input_root: Path) -> list[str]:
    """`count` numbers x, y, x, y, ... twice: in 0..1 and, at the same place, in the image's pixels."""
    if not are_numbers(normalized, count) or not are_numbers(pixels, count):
        return [f"the coordinates are not {count} numbers twice"]
    if not all(0 <= value <= 1 for value in normalized):
        return ["a normalised coordinate is outside 0..1"]
    size = image_size(input_root, row)
    if size is None:
        return []
    there = [value * size[i % 2] for i, value in enumerate(normalized)]
    if any(abs(a - b) > PIXEL_TOLERANCE for a, b in zip(there, pixels, strict=True)):
        return [f"the pixels {pixels} are not the normalised values in an image of {size[0]}x{size[1]}, {there}"]
    return []


def are_numbers(values: object, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(value) in (int, float) and math.isfinite(value) for value in values)
    )


def image_size(input_root: Path, row: dict[str, str]) -> tuple[int, int] | None:
    """Width and height as displayed, from the header alone; None for an image that can't be opened."""
    path = Path(os.path.normpath(input_root / "csv_files" / row["image_path"]))
    try:
        with patch.object(Image, "MAX_IMAGE_PIXELS", None), Image.open(path) as image:
            turned = image.getexif().get(0x0112, 1) >= 5
            return (image.height, image.width) if turned else image.size
    except (OSError, ValueError, UnidentifiedImageError):
        return None


def mask_place(row: dict[str, str]) -> str | None:
    """Where the row's mask belongs under the output root; None where it would lie outside."""
    place = row["mask_path"].removeprefix("../")
    parts = PurePosixPath(place).parts
    unsafe = not parts or place.startswith("/") or ".." in parts or set(place) & set("\\\0") or parts[0].endswith(":")
    return None if unsafe else str(PurePosixPath(place))


def verify_mask(path: Path, row: dict[str, str], input_root: Path) -> list[str]:
    name = f"the mask {row['mask_path']}"
    if not path.is_file() or path.is_symlink():
        return [f"{name} is missing"]
    try:
        with patch.object(Image, "MAX_IMAGE_PIXELS", None), Image.open(path) as image:
            mode, size, highest = image.mode, image.size, max(image.convert("L").tobytes())
    except (OSError, ValueError, UnidentifiedImageError) as error:
        return [f"{name} is no image: {error}"]
    found = []
    if mode != "L":
        found.append(f"{name} is not 8-bit single-channel, but {mode}")
    if size != (image_size(input_root, row) or size):
        found.append(f"{name} has the size {size}, the image {image_size(input_root, row)}")
    if highest >= int(float(row["num_classes"])):
        found.append(f"{name} holds the value {highest} of {row['num_classes']} classes")
    return found


def verify_nothing_else(output_root: Path, expected: set[str]) -> list[str]:
    """Files that no row asks for, and empty folders."""
    found = []
    for folder, folders, files in os.walk(output_root):
        relative = Path(folder).relative_to(output_root)
        others = [name for name in files if (relative / name).as_posix() not in expected]
        others += [name for name in folders if (Path(folder) / name).is_symlink()]
        found += [f"{relative / name} does not belong into the output" for name in others]
        if not folders and not files and Path(folder) != output_root:
            found.append(f"the folder {relative} is empty")
    return found


if __name__ == "__main__":
    violations = verify(Path(sys.argv[1]), Path(sys.argv[2]))
    print("\n".join(violations) or "valid")
    sys.exit(1 if violations else 0)
