"""Rows that are read again from their CSV files are the rows that were read first."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aurora.errors import InputError
from aurora.rows import RowIndex, read_rows

HEAD = "task_id,task_name,num_classes,image_path,mask_path,mask\n"


def listed(root: Path, encoding: str = "utf-8", end: str = "\n", rows: int = 30) -> RowIndex:
    """Three files of rows whose images repeat."""
    (root / "csv_files").mkdir(exist_ok=True)
    for name in "abc":
        lines = [HEAD.strip(), ""]
        lines += [f'lung,segmentation,2,"../ü, {n % 7}.png",../{name}{n}.png,{n}' for n in range(rows)]
        (root / "csv_files" / f"{name}.csv").write_bytes((end.join(lines) + end).encode(encoding))
    return read_rows(root).rows


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_are_found_again_in_any_encoding(tmp_path: Path, encoding: str, end: str) -> None:
    rows = listed(tmp_path, encoding, end)
    assert [row.mask_path for row in rows] == [f"../{name}{n}.png" for name in "abc" for n in range(30)]
    assert rows[31].image_path == "../ü, 1.png"
    assert (rows[31].source, rows[31].labels) == ("b.csv:4", {"mask": "1"})
    assert rows[-1].mask_path == "../c29.png"


def test_rows_are_read_in_any_order(tmp_path: Path) -> None:
    rows = listed(tmp_path)
    order = [80, 3, 45, 3, 0, 89]
    masks = ["../c20.png", "../a3.png", "../b15.png", "../a3.png", "../a0.png", "../c29.png"]
    assert [row.mask_path for row in rows.read(order)] == masks
    with pytest.raises(IndexError):
        rows[90]


def test_equal_images_have_equal_hashes(tmp_path: Path) -> None:
    rows = listed(tmp_path)
    assert len(set(rows.images)) == 7
    assert rows.images[0] == rows.images[7] == rows.images[30]


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes().replace(b"../", b"./.")),
        lambda path: path.write_bytes(path.read_bytes()[1:]),
        lambda path: path.write_bytes(b"\xff" * len(path.read_bytes())),
    ],
    ids=["gone", "empty", "other images", "shifted", "other bytes"],
)
def test_a_file_that_has_changed_is_an_error_that_names_it(tmp_path: Path, change: object) -> None:
    rows = listed(tmp_path)
    change(tmp_path / "csv_files" / "b.csv")  # type: ignore[operator]
    assert rows[0].source == "a.csv:3"
    with pytest.raises(InputError, match=r"b\.csv was changed while it was in use"):
        list(rows)


text = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.lists(st.tuples(text, text), min_size=1, max_size=9), st.sampled_from(["utf-8", "utf-16"]))
def test_any_text_comes_back(tmp_path: Path, cells: list[tuple[str, str]], encoding: str) -> None:
    def quoted(cell: str) -> str:
        return '"' + cell.replace('"', '""') + '"'

    lines = [f"{quoted('t' + name)},classification,2,{quoted(image)},,{n}" for n, (name, image) in enumerate(cells)]
    (tmp_path / "csv_files").mkdir(exist_ok=True)
    (tmp_path / "csv_files" / "a.csv").write_bytes((HEAD + "\n".join(lines)).encode(encoding))
    read = [(row.task_id, row.image_path) for row in read_rows(tmp_path).rows]
    assert read == list(dict.fromkeys(("t" + name, image) for name, image in cells))
