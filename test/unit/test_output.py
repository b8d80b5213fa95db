"""The output folder: complete files or none, only inside it, with its owner."""

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aurora.errors import OutputError
from inference.output.folder import OutputFolder

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away and become somebody else")
OWNER, NOBODY = 4343, 65534


@pytest.fixture
def visible() -> Iterator[Path]:
    """Return a folder of root that every user may read."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@contextmanager
def effective_user(number: int) -> Iterator[None]:
    """Give the process this user's rights instead of root's, inside the context."""
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)


def content(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    OutputFolder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    assert content(tmp_path) == {}


def test_a_file_is_written_with_its_folders_and_no_other_file(tmp_path: Path) -> None:
    OutputFolder(tmp_path).write("S/Two ü/a, b.png", b"1")
    assert content(tmp_path) == {"S/Two ü/a, b.png": b"1"}


def test_a_file_from_an_earlier_run_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a longer one")
    with (tmp_path / "a.png").open("rb") as reader:
        OutputFolder(tmp_path).write("a.png", b"new")
        assert reader.read() == b"a longer one"  # who has it open sees no half of the new one
    assert content(tmp_path) == {"a.png": b"new"}


def test_an_interrupted_write_leaves_nothing_under_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    folder = OutputFolder(tmp_path)
    monkeypatch.setattr("inference.output.folder.os.replace", broken)
    with pytest.raises(OutputError, match=r"Input/output error.*--output"):
        folder.write("S/a.png", b"1")
    assert content(tmp_path) == {}


def test_what_a_killed_run_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    for name in ("S/deep/.mask.part", ".mask.part", "S/a.part", "S/.mask.partial"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    OutputFolder(tmp_path).sweep()
    assert set(content(tmp_path)) == {"S/a.part", "S/.mask.partial"}


@pytest.mark.parametrize("place", ["inner", "S/inner/deeper"])
def test_a_link_that_leads_outside_is_not_followed(tmp_path: Path, place: str) -> None:
    outside, root = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    (root / place).parent.mkdir(parents=True)
    (root / place).symlink_to(outside)
    with pytest.raises(ValueError, match="is a link"):
        OutputFolder(root).write(f"{place}/new/a.png", b"1")
    assert list(outside.iterdir()) == []


def test_a_link_in_the_files_own_place_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"kept")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").symlink_to(tmp_path / "kept")
    OutputFolder(tmp_path / "out").write("a.png", b"1")
    assert content(tmp_path) == {"kept": b"kept", "out/a.png": b"1"}


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    OutputFolder(tmp_path / "link").write("S/a.png", b"1")
    assert (tmp_path / "real" / "S" / "a.png").read_bytes() == b"1"


@pytest.mark.parametrize(
    "name",
    [
        "taken/b.png",
        "taken/b/c.png",
        "folder",
        "x" * 256,
        "x" * 300 + "/a.png",
        "dangling/a.png",
        ("y" * 200 + "/") * 25 + "a",
    ],
    ids=["under a file", "deep under a file", "a folder", "long", "long folder", "dangling link", "long path"],
)
def test_a_name_that_no_file_can_have_is_rejected_and_costs_only_itself(tmp_path: Path, name: str) -> None:
    (tmp_path / "taken").write_bytes(b"1")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    folder = OutputFolder(tmp_path)
    with pytest.raises(ValueError, match="no file can be written"):
        folder.write(name, b"2")
    folder.write("good.png", b"3")
    assert content(tmp_path) == {"taken": b"1", "good.png": b"3"}


@pytest.mark.parametrize("length", [250, 255])
def test_a_name_as_long_as_the_file_system_allows_is_written(tmp_path: Path, length: int) -> None:
    name = "x" * (length - 4) + ".png"
    OutputFolder(tmp_path).write(name, b"1")
    assert content(tmp_path) == {name: b"1"}


def test_more_nested_folders_than_python_recurses_are_made(tmp_path: Path) -> None:
    limit = sys.getrecursionlimit()
    name = "a/" * (limit + 10) + "b"
    if len(name) + len(str(tmp_path)) > 4000:
        pytest.skip(f"a path of {limit} folders is too long for the file system")
    OutputFolder(tmp_path).write(name, b"1")
    assert (tmp_path / name).read_bytes() == b"1"
    subprocess.run(["rm", "-r", tmp_path / "a"], check=True)  # which shutil.rmtree would recurse too deep for


@pytest.mark.parametrize("place", ["a file/out", "/proc/aurora-out", "/sys/aurora-out"])
def test_a_place_that_cannot_be_written_is_named_with_the_cure(tmp_path: Path, place: str) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(OutputError, match=r"uid \d+.*belongs to uid \d+.*--output") as refused:
        OutputFolder(tmp_path / place)
    assert "\n" not in str(refused.value)


@ROOT_ONLY
@pytest.mark.parametrize("inner", ["", "new"])
def test_somebody_elses_folder_is_refused_with_user_and_owner(visible: Path, inner: str) -> None:
    rejection = rf"uid {NOBODY}\), .* belongs to uid 0 with mode drwxr-xr-x.*--user 0:0"
    with pytest.raises(OutputError, match=rejection), effective_user(NOBODY):
        OutputFolder(visible / inner)


@ROOT_ONLY
def test_a_folder_behind_one_that_cannot_be_entered_is_refused(visible: Path) -> None:
    visible.chmod(0o700)
    rejection = f"{visible} belongs to uid 0 with mode drwx------"
    with pytest.raises(OutputError, match=rejection), effective_user(NOBODY):
        OutputFolder(visible / "a" / "b")


@ROOT_ONLY
def test_a_user_without_a_name_is_told_by_number(visible: Path) -> None:
    with pytest.raises(OutputError, match=rf"an unnamed user \(uid {OWNER}\)"), effective_user(OWNER):
        OutputFolder(visible)


@ROOT_ONLY
def test_what_root_writes_belongs_to_the_folders_owner(tmp_path: Path) -> None:
    os.chown(tmp_path, OWNER, OWNER + 1)
    OutputFolder(tmp_path).write("S/Two/a.png", b"1")
    owners = {(place.stat().st_uid, place.stat().st_gid) for place in tmp_path.rglob("*")}
    assert owners == {(OWNER, OWNER + 1)}


def test_those_who_write_to_one_folder_do_not_swap_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = OutputFolder(tmp_path), OutputFolder(tmp_path)
    finish = first.finish

    def interrupted(part: Path, target: Path) -> None:
        second.write("b.json", b"second")
        finish(part, target)

    monkeypatch.setattr(first, "finish", interrupted)
    first.write("a.json", b"first")
    assert content(tmp_path) == {"a.json": b"first", "b.json": b"second"}


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (errno.EROFS, "mount it writable (docker run -v without :ro) or name another"),
        (errno.EPERM, "make it changeable (lsattr shows an immutable folder, chattr -i changes it) or name another"),
        (errno.EACCES, "as the mode allows it, let SELinux or what else forbids it allow it too"),
        (errno.ENOENT, "; name another folder with --output"),
    ],
)
def test_each_refusal_has_its_own_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, advice: str
) -> None:
    def refused(path: Path, content: bytes) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(Path, "write_bytes", refused)
    with pytest.raises(OutputError) as caught:
        OutputFolder(tmp_path)
    assert advice in str(caught.value)
    assert "run as its owner" not in str(caught.value)


@ROOT_ONLY
def test_a_mode_that_forbids_is_told_from_one_that_allows(visible: Path) -> None:
    with (
        effective_user(NOBODY),
        pytest.raises(OutputError, match=r"; run as its owner \(docker run --user 0:0\)"),
    ):
        OutputFolder(visible)
