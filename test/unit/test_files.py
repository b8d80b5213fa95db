"""Files are replaced whole, and checked against every form of `SHA256SUMS`."""

import hashlib
import multiprocessing
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from aurora.errors import OutputError, WeightsError
from aurora.runtime.files import CHECKSUMS, checksummed, forget_checksum, record_checksum, replacing, sync, verify

CONTENT = b"weights"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
ODD_NAMES = ["w.onnx", "a b*.onnx", "*w.onnx", "back\\slash", "new\nline", "return\r", "ü\u2028.onnx", "(w) = x"]


def listed(folder: Path, text: str, name: str = "w.onnx") -> Path:
    """A file named in a `SHA256SUMS` of this text."""
    (folder / name).write_bytes(CONTENT)
    (folder / CHECKSUMS).write_bytes(text.encode())
    return folder / name


def damage(path: Path) -> None:
    path.write_bytes(CONTENT + b"!")


FORMS = {
    "text": f"{DIGEST}  w.onnx\n",
    "binary": f"{DIGEST} *w.onnx\n",
    "with a folder": f"{DIGEST}  ./w.onnx\n",
    "tagged": f"SHA256 (w.onnx) = {DIGEST}\n",
    "capitals": f"{DIGEST.upper()}  w.onnx\n",
    "Windows": f"{DIGEST} *w.onnx\r\n",
    "a byte order mark": f"\ufeff{DIGEST}  w.onnx\n",
    "among others": f"# made by hand\n\n{'0' * 64}  v.onnx\n{DIGEST}  w.onnx\n{'0' * 64}  x.onnx",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_checksum_is_verified(tmp_path: Path, form: str) -> None:
    path = listed(tmp_path, FORMS[form])
    assert verify(path) == DIGEST
    damage(path)
    with pytest.raises(WeightsError, match=r"w\.onnx is damaged: its SHA-256 is not the one in"):
        verify(path)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum")
@pytest.mark.parametrize("flags", [[], ["--binary"], ["--tag"]], ids=str)
@pytest.mark.parametrize("name", ODD_NAMES)
def test_what_sha256sum_writes_is_read_whatever_the_name(tmp_path: Path, name: str, flags: list[str]) -> None:
    path = listed(tmp_path, "", name)
    done = subprocess.run(["sha256sum", *flags, name], cwd=tmp_path, capture_output=True, check=True)
    (tmp_path / CHECKSUMS).write_bytes(done.stdout)
    verify(path)
    damage(path)
    with pytest.raises(WeightsError, match="damaged"):
        verify(path)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum")
@pytest.mark.parametrize("name", ODD_NAMES)
def test_sha256sum_reads_what_is_recorded(tmp_path: Path, name: str) -> None:
    path = listed(tmp_path, f"SHA256 (other) = {'0' * 64}\n", name)
    record_checksum(path)
    command = ["sha256sum", "--check", "--strict", "--ignore-missing", CHECKSUMS]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    forget_checksum(path)
    assert (tmp_path / CHECKSUMS).read_text() == f"{'0' * 64}  other\n"


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        f"{DIGEST[1:]}  w.onnx",
        f"{DIGEST} w.onnx",
        f"SHA512 (w.onnx) = {DIGEST}",
        f"{DIGEST}  a\0{DIGEST}  b",
    ],
)
def test_a_line_that_is_no_checksum_is_an_error_that_names_it(tmp_path: Path, line: str) -> None:
    path = listed(tmp_path, f"{'0' * 64}  v.onnx\n{line}\n")
    with pytest.raises(WeightsError, match=r"SHA256SUMS, line 2: expected a checksum .*; fetch the list again"):
        verify(path)


def record(path: Path) -> None:
    path.write_bytes(path.name.encode())
    for _ in range(20):
        record_checksum(path)


def test_processes_that_record_at_once_lose_no_entry(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.onnx" for number in range(4)]
    with multiprocessing.get_context("fork").Pool(len(paths)) as pool:
        pool.map(record, paths, chunksize=1)
    lines = (tmp_path / CHECKSUMS).read_text().splitlines()
    assert lines == [f"{hashlib.sha256(path.name.encode()).hexdigest()}  {path.name}" for path in paths]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with replacing(path) as tmp:
        tmp.write_text("first")
        assert not path.exists()
    with pytest.raises(ZeroDivisionError), replacing(path) as tmp:
        tmp.write_text(str(1 // 0))
    assert path.read_text() == "first"
    assert os.listdir(path.parent) == ["file"]


def test_only_weights_are_entered_in_the_checksums(tmp_path: Path) -> None:
    with replacing(tmp_path / "log.json") as tmp:
        tmp.write_bytes(b"{}")
    with checksummed(tmp_path / "w.onnx") as tmp:
        tmp.write_bytes(CONTENT)
        tmp.chmod(0o600)
    assert (tmp_path / CHECKSUMS).read_text() == FORMS["text"]
    assert (tmp_path / "w.onnx").stat().st_mode & 0o777 == 0o644


def test_a_file_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = r"can't write .*; name another place with --out"
    with pytest.raises(OutputError, match=message), replacing(tmp_path / "file" / "w"):
        pass


def test_files_and_their_folders_are_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))
    sync([tmp_path / "a", tmp_path / "b"])
    assert flushed == [path.stat().st_ino for path in (tmp_path / "a", tmp_path / "b", tmp_path)]
    with pytest.raises(FileNotFoundError):
        sync([tmp_path / "absent"])
