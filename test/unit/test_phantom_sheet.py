"""The contact sheet, the phantom command, and the page that describes the phantoms."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from aurora.errors import OutputError, UsageError
from aurora.tasks import OFFICIAL, TaskType
from training.cli import main
from training.phantom import SCANNERS
from training.phantom.phantom import make_phantom
from training.phantom.sheet import CAPTION, CELL, draw_label, write_sheet
from training.phantom.tasks.classification import CLASSES

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sheet") / "new" / "sheet.jpg"
    result = CliRunner().invoke(main, ["phantom", "--sheet", str(path), "--seed", "5"])
    assert result.exit_code == 0, result.output
    return path


def test_the_sheet_has_a_picture_of_every_task_by_every_scanner(sheet: Path) -> None:
    picture = cv2.imread(str(sheet))
    assert picture.shape == (9 * CELL[1] + CAPTION, 12 * CELL[0], 3)
    for row in range(9):
        for column in range(12):
            top, left = CAPTION + row * CELL[1], column * CELL[0]
            assert picture[top : top + CELL[1], left : left + CELL[0]].std() > 15


def test_the_page_shows_the_sheet_that_its_command_writes(sheet: Path) -> None:
    assert re.search(r"training phantom --sheet \S+ --seed 5 .*the picture above", (DOCS / "phantoms.md").read_text())
    written, shown = (cv2.imread(str(path)).astype(int) for path in (sheet, DOCS / "phantoms.jpg"))
    assert np.abs(written - shown).mean() < 1


@pytest.mark.parametrize("task_id", ["cardiac_multi", "IUGC", "thyroid_nodule_det"])
def test_a_label_is_drawn_in_colour_where_it_is(task_id: str) -> None:
    case = make_phantom(OFFICIAL[task_id], 0, seed=1, split="train", size_scale=0.6)
    picture = draw_label(case).astype(int)
    coloured = np.ptp(picture, axis=2) > 0
    rows, columns = np.nonzero(coloured)
    if case.points is not None:
        assert all(coloured[round(y), round(x)] for x, y in case.points)
    elif case.box is not None:
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == case.box
    else:
        assert not coloured[cv2.dilate(case.mask, np.ones((3, 3))) == 0].any()
        assert coloured.any()


def test_every_class_has_its_name() -> None:
    assert {t.id: t.num_classes for t in OFFICIAL.values() if t.type == TaskType.CLASSIFICATION} == {
        task_id: len(set(names)) for task_id, names in CLASSES.items()
    }


def test_a_sheet_of_another_kind_or_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="jpg"):
        write_sheet(tmp_path / "sheet.gif", seed=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"can't write .*; name another place with --sheet"):
        write_sheet(tmp_path / "file" / "sheet.png", seed=0)


@pytest.mark.parametrize(("given", "missing"), [("--out", "--cases"), ("--cases", "--out")])
def test_without_a_sheet_folder_and_number_are_needed(tmp_path: Path, given: str, missing: str) -> None:
    result = CliRunner().invoke(main, ["phantom", "--seed", "1", given, str(tmp_path) if given == "--out" else "2"])
    assert isinstance(result.exception, UsageError)
    assert f"{missing} is missing" in str(result.exception)


def test_the_page_s_table_is_the_scanners() -> None:
    rows = re.findall(r"^\| `(\w+)` \|(.+)\|$", (DOCS / "phantoms.md").read_text(encoding="utf-8"), re.MULTILINE)
    table = {name: tuple(cell.strip() for cell in cells.split("|")) for name, cells in rows if name in SCANNERS}
    assert table == {
        s.name: (
            f"{'sector' if s.face < 0.2 else 'curved'}, {2 * s.half_angle:g} deg" if s.half_angle else "linear",
            *(f"{n:g}" for n in (s.frequency, s.depth, s.cycles, s.f_number, s.gain, s.dynamic_range, s.noise)),
            f"{100 * s.residual_attenuation:g}", f"{s.attenuation:.1f}",
            f"{2.355 * s.pulse * s.depth:.2f} x {2.355 * s.beam * s.depth:.2f}",
        )
        for s in SCANNERS.values()
    }  # fmt: skip
