"""Make input folders of any number of rows by repeating a few images under many names."""

import csv
import os
from itertools import cycle, islice
from pathlib import Path

from aurora.errors import ImageError
from aurora.rows import Row, image_file, read_rows

_COLUMNS = ("task_id", "task_name", "num_classes", "image_path", "mask_path")


def many_rows(source: Path, root: Path, count: int, *, missing_each: int = 0) -> None:
    """Create the input folder `root` with `count` rows, each with a separate image: copies of those of `source`.

    Every CSV file of `source` gets an equal share of the rows; labels are left out.

    Args:
        missing_each: if not 0, every image whose number in its CSV file is a multiple of this is missing.

    Raises:
        InputError: `source` has no usable row.
        ImageError: an image of `source` is missing.
    """
    tables: dict[str, list[Row]] = {}
    for row in read_rows(source).rows:
        tables.setdefault(row.source.rpartition(":")[0], []).append(row)
    (root / "csv_files").mkdir(parents=True)
    for index, (name, rows) in enumerate(tables.items()):
        share = count * (index + 1) // len(tables) - count * index // len(tables)
        with (root / "csv_files" / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            for number, row in enumerate(islice(cycle(rows), share)):
                folder = f"{name.removesuffix('.csv')}/{number // 1000}"
                image = f"{folder}/{number}{''.join(Path(row.image_path.strip()).suffixes)}"
                mask = f"../masks/{folder}/{number}.png" if row.mask_path else ""
                writer.writerow([row.task_id, row.type, row.num_classes, f"../{image}", mask])
                if not missing_each or number % missing_each:
                    _link(root, source, row, root / image)


def _link(root: Path, source: Path, row: Row, path: Path) -> None:
    """Link the row's image to `path`, from one copy under `root`: hard links can't cross file systems."""
    image = image_file(source, row)
    copy = root / "once" / image.relative_to(os.path.abspath(source))
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            copy.write_bytes(image.read_bytes())
        except OSError as error:
            raise ImageError(f"expected an image that can be read, found {error.strerror}", str(image)) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    path.hardlink_to(copy)
