"""Paths that mean a file but for their spelling."""

import os
import unicodedata
from pathlib import Path

import pytest

from aurora.rows import near_miss as module
from aurora.rows.near_miss import near_miss

IMAGES = ("a.png", "B.PNG", "c d.png", "f\u00fcr.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (
        "csv_files/a.csv",
        "images/a.png",
        "images/B.PNG",
        "images/c d.png",
        "images/d.png",
        "images/d.jpg",
        "images/f\u00fcr.png",
        "masks/M.png",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("path", "expected", "advice"),
    [
        ("..\\images\\a.png", "../images/a.png", ["replace \\ by /"]),
        ("images\\a.png", "../images/a.png", ["replace \\ by /", "put ../ before it"]),
        ("images/a.png", "../images/a.png", ["put ../ before it"]),
        ("../Images/a.png", "../images/a.png", ["expected the folder images, found Images"]),
        ("../images/b.png", "../images/B.PNG", ["another letter case of the file's name"]),
        ("../images/B.png", "../images/B.PNG", ["expected the ending .PNG, found .png"]),
        ("../images/a.jpeg", "../images/a.png", ["expected the ending .png, found .jpeg"]),
        ("../images/a", "../images/a.png", ["expected the ending .png, found none"]),
        ("../masks/m.png", "../masks/M.png", ["another letter case of the file's name"]),
        ("../images/c%20d.png", "../images/c d.png", ["replace %20 by a blank"]),
        (unicodedata.normalize("NFD", "../images/f\u00fcr.png"), "../images/f\u00fcr.png", ["Unicode form NFC"]),
        ("/home/me/data/images/a.png", "../images/a.png", ["found an absolute one"]),
        ("C:\\data\\images\\a.png", "../images/a.png", ["replace \\ by /", "found one with a drive letter"]),
        ("c:/data/Images/a.png", "../images/a.png", ["found one with a drive letter", "folder images"]),
        ("\\\\server\\data\\images\\a.png", "../images/a.png", ["replace \\ by /", "found an absolute one"]),
        ("../../images/a.png", "../images/a.png", ["found more; write it once"]),
        ("../../../data/images/a.png", "../images/a.png", ["found more; write it once"]),
        ("file:///home/me/data/images/c%20d.png", "../images/c d.png", ["%20", "found a file:// URL"]),
        ("../data/images/a.png", "../images/a.png", ["found one from another folder"]),
        ("Images\\c%20d.PNG", "../images/c d.png", ["replace \\", "%20", "put ../", "folder images", "ending .png"]),
    ],
)
def test_a_file_is_found_by_another_spelling(root: Path, path: str, expected: str, advice: list[str]) -> None:
    found = near_miss(path, root)
    assert found is not None
    assert found.expected == expected
    assert [part in found.advice for part in advice] == [True] * len(advice)
    assert len(found.advice.split("; ")) == 2 * len(advice)


@pytest.mark.parametrize(
    "path",
    [
        "../images/x.png",
        "a.png",
        "../images/d.tif",
        "../none/a.png",
        "..\\..\\..\\a.png",
        "%",
        "../images/a.png/b.png",
        "../../etc/passwd",
        "../images",
        "",
        "/",
    ],
)
def test_no_file_is_made_up(root: Path, path: str) -> None:
    assert near_miss(path, root) is None


def test_a_folder_is_listed_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    real = os.listdir
    monkeypatch.setattr(module.os, "listdir", lambda folder: (listed.append(folder), real(folder))[1])
    for number in range(50):
        near_miss(f"../images/{number}.png", root)
    assert len(listed) == len(set(listed))
