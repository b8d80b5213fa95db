"""Atomic writes and SHA-256 checksums of files."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from aurora.errors import OutputError, UsageError, WeightsError

CHECKSUMS = "SHA256SUMS"


def verify(path: Path) -> str:
    """The SHA-256 of `path`, and of its tensors if those lie in a file of their own, as hexadecimal text.

    Raises `WeightsError` unless each is a file whose checksum agrees with a `SHA256SUMS` beside it, if any.
    """
    if not path.is_file():
        raise WeightsError(f"no weights file {path}; name one with --weights")
    return " ".join(_verified(file) for file in (path, tensors_beside(path)) if file == path or file.is_file())


def tensors_beside(path: Path) -> Path:
    """Where the tensors of an ONNX file lie that is too large to hold them itself."""
    return path.with_name(path.name + ".data")


def _verified(path: Path) -> str:
    listing = path.with_name(CHECKSUMS)
    expected = _checksums(listing).get(path.name)
    try:
        found = sha256(path)
    except OSError as error:
        raise WeightsError(f"{path} can't be read ({error.strerror}); let user {os.geteuid()} read it") from None
    if expected not in (None, found):
        raise WeightsError(f"{path} is damaged: its SHA-256 is not the one in {listing}; fetch the file again")
    return found


def sha256(path: Path) -> str:
    """The file's SHA-256 as hexadecimal text."""
    state = path.stat()
    return _sha256(path, state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(8)
def _sha256(path: Path, *state: int) -> str:
    """Remembered for as long as the file is the same one, since a run wants it several times."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_checksum(path: Path) -> None:
    """Enter a file's SHA-256 in the `SHA256SUMS` beside it, in the form that `sha256sum -c` reads."""
    _write_checksums(path, _checksums(path.with_name(CHECKSUMS)) | {path.name: sha256(path)})


def forget_checksum(path: Path) -> None:
    """Take a file out of the `SHA256SUMS` beside it, if it is listed there."""
    sums = _checksums(path.with_name(CHECKSUMS))
    if sums.pop(path.name, None):
        _write_checksums(path, sums)


def _write_checksums(path: Path, sums: Mapping[str, str]) -> None:
    beside = path.with_name(CHECKSUMS + ".part")
    beside.write_text("".join(f"{sums[name]}  {name}\n" for name in sorted(sums)), encoding="utf-8")
    _to_disk(beside)
    os.replace(beside, path.with_name(CHECKSUMS))


def _to_disk(path: Path) -> None:
    """Wait until what was written to `path` survives a loss of power."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _checksums(listing: Path) -> dict[str, str]:
    """Names and checksums in a `SHA256SUMS`; none if there is no such file."""
    if not listing.is_file():
        return {}
    try:
        lines = [line.partition("  ") for line in listing.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{listing} can't be read as text ({error}); fetch it again, or remove it") from None
    return {name: digest for digest, _, name in lines}


def require_different_folders(root: Path, output: Path, flag: str) -> None:
    """Raise `UsageError` if `output` is the input folder `root`, where predicted masks would replace the true ones.

    `flag` is the option that names `output`, for the message.
    """
    with suppress(OSError):  # one of them doesn't exist yet
        if os.path.samefile(root, output):
            raise UsageError(
                f"expected an output folder that isn't the input, found {output} for both, where predictions would "
                f"replace the labels; name another one with {flag}"
            )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place at the end, complete and with its checksum entered.

    Raises `OutputError` if it can't be written; what stood at `path` before then stays.
    """
    from safetensors import SafetensorError

    beside = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        beside.chmod(0o644)  # safetensors makes files that only their owner can read; a container has another user
        _to_disk(beside)
        forget_checksum(path)  # stopped between the next two lines, the new file has no checksum instead of a wrong one
        os.replace(beside, path)
        record_checksum(path)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"can't write {path} ({error}); name another place with --out") from error
    finally:
        with suppress(OSError):  # what kept it from being written
            beside.unlink(missing_ok=True)
