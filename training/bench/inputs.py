"""Input folders of any number of rows, made of a few images under many names."""

import csv
import os
from itertools import cycle, islice
from pathlib import Path


def many_rows(source: Path, root: Path, count: int, *, missing_each: int = 0) -> None:
    """Make `root` an input folder of `count` rows on as many images, which are those of `source` under other names.

    The CSV files of `source` get equal shares. With `missing_each` one image in so many is not there.
    """
    tables: dict[str, list[dict[str, str]]] = {}
    for path in sorted(source.glob("csv_files/*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as file:
            tables[path.name] = list(csv.DictReader(file))
    (root / "csv_files").mkdir(parents=True)
    for index, (name, rows) in enumerate(tables.items()):
        share = count * (index + 1) // len(tables) - count * index // len(tables)
        with (root / "csv_files" / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            for number, row in enumerate(islice(cycle(rows), share)):
                folder = f"{name.removesuffix('.csv')}/{number // 1000}"
                image = f"../{folder}/{number}{Path(row['image_path']).suffix}"
                mask = {"mask_path": f"../masks/{folder}/{number}.png"} if row.get("mask_path") else {}
                writer.writerow(row | {"image_path": image} | mask)
                if not missing_each or number % missing_each:
                    _link(root, source / "csv_files" / row["image_path"], root / "csv_files" / image)


def _link(root: Path, image: Path, place: Path) -> None:
    """Give the image another name; it is stored once, since a file system may allow links within itself only."""
    once = root / "once" / "_".join(Path(os.path.normpath(image)).parts[-4:])
    if not once.exists():
        once.parent.mkdir(exist_ok=True)
        once.write_bytes(image.read_bytes())
    target = Path(os.path.normpath(place))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.hardlink_to(once)
