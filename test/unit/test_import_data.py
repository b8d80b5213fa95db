"""What all formats have in common: the command, links, patients, names, and nothing that is half imported."""

import os
import shutil
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner
from support.formats import disc, imported, labels, left_out, write_coco, write_image, write_mask

from aurora.errors import AuroraError, InputError, OutputError, UsageError
from aurora.rows import read_rows
from aurora.tasks import TaskType
from training.cli import main
from training.config import load_config
from training.data.cases import described, task_registry
from training.data.prepare import prepare
from training.exchange import importer
from training.exchange.formats import FORMATS


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in range(3):
        write_image(tmp_path / "source" / "images" / f"p{number}_left.png")
        write_mask(tmp_path / "source" / "masks" / f"p{number}_left.png", disc(value=255))
    return tmp_path / "source"


def run(*words: object) -> str:
    result = CliRunner().invoke(main, ["import-data", *map(str, words)])
    if result.exception:
        raise result.exception
    return result.output


def test_the_command_says_what_it_read_and_wrote_and_draws_it(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    output = run(source, "--task", "lesion", "--out", out)
    assert output.splitlines() == [
        f"{source} was read as folders, 3 images have a mask of the same name",
        f"{out}: task lesion, segmentation of background, class 1: 3 rows",
        "note (1): the values of the masks were numbered: 0 as 0, 255 as 1 [all masks]",
        f"look at {out}/sheet.jpg: are the labels where they belong?",
    ]
    sheet = cv2.imread(str(out / "sheet.jpg"))
    # Orange outlines on grey images.
    assert (sheet.max(axis=2).astype(int) - sheet.min(axis=2) > 100).sum() > 300
    assert sorted(path.name for path in out.iterdir()) == ["csv_files", "images", "masks", "sheet.jpg", "task.yaml"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_configuration_takes_the_names(source: Path, tmp_path: Path) -> None:
    imported(source, tmp_path / "out")
    config = tmp_path / "fit.yaml"
    config.write_text("steps: 10\n" + (tmp_path / "out" / "task.yaml").read_text())
    assert load_config(config).names == {"task": ["background", "class 1"]}


def test_the_training_prepares_the_roots_of_splits(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("cyst", "mass"):
            write_image(tmp_path / "source" / split / name / f"{split}.png")
    imported(tmp_path / "source", tmp_path / "out")
    config = tmp_path / "fit.yaml"
    config.write_text("steps: 10\n" + (tmp_path / "out" / "task.yaml").read_text())
    settings = load_config(config)
    training, validation = prepare(settings, [tmp_path / "out" / "train"], [tmp_path / "out" / "val"])
    assert (len(training), len(validation)) == (2, 2)
    tasks = described(task_registry(training), settings.aliases, settings.names, settings.trained_on)
    assert tasks["task"].names == ("cyst", "mass")


@pytest.mark.parametrize("copy", [True, False])
def test_images_are_hard_links_or_copies(source: Path, tmp_path: Path, copy: bool) -> None:
    imported(source, tmp_path / "out", copy=copy)
    name = "images/p0_left.png"
    assert os.path.samefile(source / name, tmp_path / "out" / "images" / name) is not copy


def test_images_are_copied_where_links_are_impossible(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    imported(source, tmp_path / "out")
    assert len(labels(tmp_path / "out")) == 3


def test_a_source_of_links_becomes_a_root_without_links(source: Path, tmp_path: Path) -> None:
    links = tmp_path / "links"
    for path in sorted(source.rglob("*.png")):
        link = links / path.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    imported(links, tmp_path / "out")
    assert len(labels(tmp_path / "out")) == 3
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))


def test_a_name_that_is_no_text_is_counted(source: Path, tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        path = source / folder / "p0_left.png"
        path.rename(path.with_name(os.fsdecode(b"\xff.png")))
    assert left_out(imported(source, tmp_path / "out")) == {"the image has a name that isn't UTF-8": 1}


def test_the_pattern_gives_the_patients(source: Path, tmp_path: Path) -> None:
    write_image(source / "images" / "x.png")
    write_mask(source / "masks" / "x.png", disc(value=255))
    lines = imported(source, tmp_path / "out", patient=r"images/p(\d+)_")
    assert [row.patient for row in read_rows(tmp_path / "out").rows] == ["0", "1", "2", None]
    assert "note (1): --patient doesn't match, so the patient is unknown [images/x.png]" in lines


@pytest.mark.parametrize(
    ("wishes", "reason"),
    [
        ({"patient": "("}, "expected a regular expression in --patient"),
        ({"patient": "p"}, "expected one group in --patient, found 0"),
        ({"patient": "(p)(q)"}, "expected one group in --patient, found 2"),
        ({"task_id": "a/b"}, "expected letters, digits, _ and - in --task"),
        ({"task_id": "breast_3cls"}, "expected classification with num_classes 3"),
        ({"task_id": "cervix_multi"}, "expected segmentation with num_classes 3"),
    ],
)
def test_a_wrong_argument_is_refused(source: Path, tmp_path: Path, wishes: dict[str, str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        imported(source, tmp_path / "out", **wishes)
    assert not (tmp_path / "out").exists()


def test_an_official_task_of_its_own_type_and_size_is_taken(source: Path, tmp_path: Path) -> None:
    imported(source, tmp_path / "out", "breast_lesion")
    assert len(labels(tmp_path / "out")) == 3


def test_a_folder_in_use_is_refused_and_an_empty_one_is_taken(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    imported(source, out)
    with pytest.raises(UsageError, match="expected a new or empty folder"):
        imported(source, out)


def test_what_a_stopped_import_left_is_named(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out.part").mkdir()
    with pytest.raises(OutputError, match=r"expected no \S+out\.part, which a stopped command has left; remove it"):
        imported(source, tmp_path / "out")


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("disk full"), InputError("no")])
def test_nothing_is_left_of_an_import_that_fails(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(importer, "write_sheet", fail)
    with pytest.raises((KeyboardInterrupt, AuroraError)):
        imported(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_folder_that_cannot_be_written_is_named(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"can't write \S+file/out"):
        imported(source, tmp_path / "file" / "out")


def test_files_that_cannot_be_read_are_named(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied", "labels.json")

    monkeypatch.setattr(importer, "recognise", refuse)
    with pytest.raises(InputError, match=r"found labels\.json \(Permission denied\); check its permissions"):
        imported(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "reason"), [("nowhere", "expected a file or folder, found no"), ("empty", "expected one of the formats")]
)
def test_a_source_that_is_none_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=reason):
        imported(tmp_path / name, tmp_path / "out")


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "data"), "zip", tmp_path)
    with pytest.raises(InputError, match=r"found the archive .*data\.zip; unpack it and name its folder"):
        imported(tmp_path / "data.zip", tmp_path / "out")


def test_an_import_of_nothing_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png")
    path = write_coco(tmp_path / "a.json", [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 0, 0]}])
    with pytest.raises(InputError, match=r"none that can be imported: left out .*a box has no area"):
        imported(path, tmp_path / "out", kind=TaskType.DETECTION)


def test_the_command_knows_every_format() -> None:
    (option,) = (option for option in main.commands["import-data"].params if option.name == "format_name")
    assert set(option.type.choices) == {"auto", *FORMATS}
