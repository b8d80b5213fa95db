"""Write files atomically and durably, and keep their SHA-256 checksums in `SHA256SUMS`."""

import fcntl
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from aurora.errors import UsageError, WeightsError
from aurora.runtime.hub import PREFIX
from aurora.runtime.write_errors import write_error

CHECKSUMS = "SHA256SUMS"
#: The first bytes of the file that Git puts in the place of one that Git LFS keeps.
LFS_POINTER = b"version https://git-lfs"
# The two forms that `sha256sum` writes: plain ("*" marks binary mode) and, with --tag, that of BSD.
_ENTRY = re.compile(
    r"(?P<escaped>\\?)(?:(?P<digest>[0-9a-fA-F]{64}) [ *](?P<name>[^\0]+)"
    r"|SHA256 \((?P<tagged_name>[^\0]+)\) = (?P<tagged_digest>[0-9a-fA-F]{64}))"
)
# The escapes of `sha256sum` in a file name; a backslash at the start of the line marks an escaped name.
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_UNESCAPES = {escape: character for character, escape in _ESCAPES.items()}


def verify(path: Path) -> str:
    """Return the SHA-256 of `path` and, after a space, that of its tensors file (see `tensors_file`), if it has one.

    Raises:
        WeightsError: there is no such file, it is a Git LFS pointer or can't be read, or its checksum isn't the one
            that the `SHA256SUMS` in its folder states; or that list can't be read.
    """
    require_weights(path)
    return " ".join(_verified(file) for file in (path, tensors_file(path)) if file == path or file.is_file())


def require_weights(path: Path) -> None:
    """Raise `WeightsError` if there is no such file of weights."""
    if str(path).startswith(PREFIX):
        raise WeightsError(
            f"expected a file of weights, found {path}, and only aurora.load(), 'inference predict' and 'inference "
            f"serve' ask the hub; run 'hf download {str(path).removeprefix(PREFIX)} --local-dir FOLDER' and name "
            "FOLDER/model.safetensors"
        )
    if not path.is_file():
        raise WeightsError(f"no weights file {path}; name one with --weights")


def tensors_file(path: Path) -> Path:
    """Return the path of the file that holds the tensors of an ONNX file too large to contain them."""
    return path.with_name(path.name + ".data")


def require_no_pointer(path: Path) -> None:
    """Raise `WeightsError` if a file of weights is a Git LFS pointer; one that can't be read passes."""
    with suppress(OSError), path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise WeightsError(
                f"{path} is a Git LFS pointer, not the weights themselves; fetch them with 'git lfs pull'"
            )


def _verified(path: Path) -> str:
    require_no_pointer(path)
    listing = path.with_name(CHECKSUMS)
    expected = read_checksums(listing).get(path.name)
    try:
        digest = sha256(path)
    except OSError as error:
        raise WeightsError(f"{path} can't be read ({error.strerror}); let user {os.geteuid()} read it") from None
    if expected not in (None, digest):
        raise WeightsError(f"{path} is damaged: its SHA-256 is not the one in {listing}; fetch the file again")
    return digest


def sha256(path: Path) -> str:
    """Return the file's SHA-256 as 64 lower-case hexadecimal digits; raise `OSError`."""
    status = path.stat()
    return _sha256(path, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(8)
def _sha256(path: Path, *status: int) -> str:
    """Return a file's SHA-256, cached by path and by `status`, which changes when the file does."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_checksum(path: Path) -> None:
    """Record a file's SHA-256 in the `SHA256SUMS` of its folder; raise `OSError`, or `WeightsError` for a bad list."""
    with _locked(path.parent):
        listing = path.with_name(CHECKSUMS)
        _write_checksums(listing, read_checksums(listing) | {path.name: sha256(path)})


def forget_checksum(path: Path) -> None:
    """Remove a file from the `SHA256SUMS` of its folder, if listed; the errors are those of `record_checksum`."""
    with _locked(path.parent):
        listing = path.with_name(CHECKSUMS)
        checksums = read_checksums(listing)
        if checksums.pop(path.name, None):
            _write_checksums(listing, checksums)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder, so that only one process at a time changes its `SHA256SUMS`."""
    # The folder is locked, not the list, because the list is replaced by a new file.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems can't lock a folder
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write_checksums(listing: Path, checksums: dict[str, str]) -> None:
    lines = []
    for name, digest in sorted(checksums.items()):
        escaped = "".join(_ESCAPES.get(character, character) for character in name)
        lines.append(f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n")
    with replacing(listing) as tmp:
        tmp.write_text("".join(lines), encoding="utf-8", newline="\n")


def read_checksums(listing: Path) -> dict[str, str]:
    """Return the checksums in a `SHA256SUMS` by file name; none if there is no such list.

    Reads every form that `sha256sum` writes, blank lines and comments.
    """
    if not listing.is_file():
        return {}
    try:
        # Not `splitlines`, which also splits at characters that a file name may contain.
        lines = listing.read_bytes().decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{listing} can't be read as text ({error}); fetch it again, or remove it") from None
    checksums = {}
    for number, line in enumerate(lines, start=1):
        text = line.removesuffix("\r")
        if not text.strip() or text.startswith("#"):
            continue
        entry = _ENTRY.fullmatch(text)
        if not entry:
            raise WeightsError(
                f"{listing}, line {number}: expected a checksum as sha256sum writes it, found {text[:80]!r}; "
                "fetch the list again, or remove it"
            )
        name, digest = entry["name"] or entry["tagged_name"], entry["digest"] or entry["tagged_digest"]
        if entry["escaped"]:
            name = re.sub(r"\\[\\nr]", lambda escape: _UNESCAPES[escape[0]], name)
        checksums[os.path.normpath(name)] = digest.lower()
    return checksums


def sync(paths: Iterable[Path]) -> None:
    """Flush files, and the folders that list them, to the disk, so that they survive a loss of power.

    Raises:
        OSError: a file can't be flushed.
    """
    files = list(paths)
    for path in files:
        _flush(path)
    for folder in {path.parent for path in files}:
        with suppress(OSError):  # some file systems can't flush a folder
            _flush(folder)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
def replacing(path: Path, flag: str = "--out") -> Iterator[Path]:
    """Yield a temporary path in the same folder, and rename it to `path` when the block ends: atomic and durable.

    Folders are created as needed. If the block raises, `path` remains as it was. `flag` is the option that names it.

    Example:
        >>> with replacing(Path("out/report.json")) as tmp:
        ...     tmp.write_text("{}")

    Raises:
        OutputError: the file can't be written.
    """
    tmp = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield tmp
        _flush(tmp)  # before the rename, which could otherwise reach the disk first
        os.replace(tmp, path)
        sync([path])
    except OSError as error:
        raise write_error(path, error, f"name another place with {flag}") from error
    finally:
        with suppress(OSError):  # it may fail for the same reason as the write
            tmp.unlink(missing_ok=True)


@contextmanager
def checksummed(path: Path) -> Iterator[Path]:
    """Like `replacing`, for weights: everybody may read the file, and `SHA256SUMS` records its checksum.

    Raises:
        OutputError: the file can't be written.
        WeightsError: the folder's `SHA256SUMS` can't be read.
    """
    from safetensors import SafetensorError

    try:
        with replacing(path) as tmp:
            yield tmp
            tmp.chmod(0o644)  # safetensors creates files for their owner alone, and a container has another user
            forget_checksum(path)  # if interrupted before the last line, no checksum remains rather than a wrong one
        record_checksum(path)
    except (OSError, SafetensorError) as error:
        raise write_error(path, error, "name another place with --out") from error
