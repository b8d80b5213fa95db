"""Input folders of any number of rows, made of a few images under many names."""

import csv
import os
from itertools import cycle, islice
from pathlib import Path

from aurora.errors import ImageError
from aurora.rows import Row, image_file, read_rows

_COLUMNS = ("task_id", "task_name", "num_classes", "image_path", "mask_path")


def many_rows(source: Path, root: Path, count: int, *, missing_each: int = 0) -> None:
    """Make `root` an input folder of `count` rows on as many images, which are those of `source` under other names.

    The CSV files of `source` get equal shares; labels are left behind. With `missing_each` one image in so many is not
    there.

    Raises:
        InputError: `source` holds no usable row.
        ImageError: an image of `source` isn't there.
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


def _link(root: Path, source: Path, row: Row, place: Path) -> None:
    """Give the row's image another name; it is stored once, since a file system may allow links within itself only."""
    image = image_file(source, row)
    once = root / "once" / image.relative_to(os.path.abspath(source))
    if not once.exists():
        once.parent.mkdir(parents=True, exist_ok=True)
        try:
            once.write_bytes(image.read_bytes())
        except OSError as error:
            raise ImageError(f"expected an image that can be read, found {error.strerror}", str(image)) from error
    place.parent.mkdir(parents=True, exist_ok=True)
    place.hardlink_to(once)
