"""Arbitrary cells, tables, paths and coordinates give a result or the documented error."""

import io
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aurora.errors import ImageError, InputError
from aurora.images.transform import to_fractions, to_pixels
from aurora.rows import Row, box_label, class_label, image_file, points_label, predicted_mask_path, read_rows
from aurora.tasks import TaskType

fuzz = settings(
    deadline=None, derandomize=True, database=None, max_examples=150, suppress_health_check=list(HealthCheck)
)
HEAD = ["task_id", "task_name", "num_classes", "image_path", "mask_path", "mask", "x_min", "point_1_xy"]

# What a person, a spreadsheet or a foe may put into a cell.
cells = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["", "nan", "2.0", "-1", "1e3", "1e400", "0x2", "٣", "1_0", "inf", "\0", '"', "a\nb", "[1, 2]"]),
    st.sampled_from(["lung", "IUGC", "segmentation", "Regression", "../m.png", "x" * 200_000, "[1" * 9999, "\ud800"]),
)


def written(folder: str, text: bytes) -> Path:
    root = Path(folder)
    (root / "csv_files").mkdir()
    (root / "csv_files" / "a.csv").write_bytes(text)
    return root


def each_row_reads_or_refuses(root: Path) -> int:
    """Call each reader on every row; return the number of rows."""
    try:
        found = read_rows(root)
    except InputError:
        return 0
    for row in found.rows:
        for reader, rejection in (
            (class_label, InputError),
            (box_label, InputError),
            (points_label, InputError),
            (predicted_mask_path, ValueError),
            (lambda row: image_file(root, row), ImageError),
        ):
            try:
                reader(row)
            except rejection as error:
                if len(str(error)) > 10_000:
                    raise AssertionError("a message never repeats a long cell") from error
    return len(found.rows)


@fuzz
@given(st.lists(st.lists(cells, min_size=len(HEAD), max_size=len(HEAD)), min_size=1, max_size=4))
def test_any_cells_in_a_well_formed_file(rows: list[list[str]]) -> None:
    buffer = io.StringIO()
    for row in [HEAD, *rows]:
        buffer.write(",".join('"' + cell.replace('"', '""').replace("\n", " ") + '"' for cell in row) + "\n")
    with TemporaryDirectory() as folder:
        each_row_reads_or_refuses(written(folder, buffer.getvalue().encode("utf-8", "surrogatepass")))


@fuzz
@given(
    st.lists(st.lists(cells, max_size=10), max_size=4),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252", "utf-32"]),
    st.sampled_from(["", '"', "'"]),
)
def test_any_dialect(rows: list[list[str]], comma: str, end: str, encoding: str, quote: str) -> None:
    text = end.join(comma.join(quote + cell + quote for cell in row) for row in [HEAD, *rows])
    with TemporaryDirectory() as folder:
        each_row_reads_or_refuses(written(folder, text.encode(encoding, "replace")))


@fuzz
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_as_a_csv_file(data: bytes, headed: bool) -> None:
    with TemporaryDirectory() as folder:
        each_row_reads_or_refuses(written(folder, ",".join(HEAD).encode() + b"\n" + data if headed else data))


@fuzz
@given(
    comma=st.sampled_from(",;\t"), end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), name=st.text("abcäöé 中", min_size=1, max_size=9),
)  # fmt: skip
def test_each_dialect_in_use_gives_the_same_row(comma: str, end: str, encoding: str, name: str) -> None:
    row = ["lung", "segmentation", "2", f"../{name}.png", f"../m/{name}.png"]
    text = comma.join(HEAD[:5]) + end + comma.join(row) + end
    with TemporaryDirectory() as folder:
        (found,) = read_rows(written(folder, text.encode(encoding))).rows
    assert [found.task_id, found.num_classes, found.image_path, found.mask_path] == ["lung", 2, row[3], row[4]]


steps = st.sampled_from(
    ["..", ".", "", "/", "\\", "C:", "....", ".. ", "~", "a", "b.png", "\0", "x" * 256, "\uff0e\uff0e", "\u2025"]
)


@fuzz
@given(st.one_of(st.text(max_size=40), st.lists(steps, max_size=7).map("/".join), st.lists(steps).map("".join)))
@example("../\ud800.png")
def test_a_mask_path_stays_inside_or_is_refused(path: str) -> None:
    row = Row("lung", TaskType.SEGMENTATION, 2, "../i.png", path, "a.csv:2", {})
    try:
        answer = predicted_mask_path(row)
    except ValueError:
        return
    place = Path("/out").joinpath(answer)
    assert not Path(answer).is_absolute()
    assert place.is_relative_to("/out")
    assert ".." not in place.parts
    assert place.name
    assert "\0" not in answer


sides = st.integers(1, 100_000)
finite = st.floats(allow_nan=False, allow_infinity=False)


@fuzz
@given(sides, sides, st.floats(0, 1), st.floats(0, 1))
def test_the_inverse_gives_the_point_back(height: int, width: int, x: float, y: float) -> None:
    point = np.array([x * (width - 1), y * (height - 1)])
    there = to_fractions(point, (height, width))
    assert ((there > 0) & (there < 1)).all()
    assert np.allclose(to_pixels(there, (height, width)), point, rtol=0, atol=1e-9 * max(height, width))


@fuzz
@given(sides, sides, st.lists(finite, min_size=2, max_size=2))
def test_any_fraction_becomes_a_point_inside_the_image(height: int, width: int, fractions: list[float]) -> None:
    with np.errstate(over="ignore"):
        x, y = to_pixels(np.array(fractions), (height, width))
    assert 0 <= x <= width
    assert 0 <= y <= height
