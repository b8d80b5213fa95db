"""Read the rows of the input's CSV files: the cases to predict."""

from aurora.rows.reader import Problem, Rows, read_rows
from aurora.rows.row import (
    Row,
    box_label,
    class_label,
    image_file,
    mask_files,
    points_label,
    predicted_mask_path,
)
from aurora.rows.row_list import RowIndex

__all__ = [
    "Problem",
    "Row",
    "RowIndex",
    "Rows",
    "box_label",
    "class_label",
    "image_file",
    "mask_files",
    "points_label",
    "predicted_mask_path",
    "read_rows",
]
