"""Say why a file or folder can't be written, and what the user can do about it."""

import errno
import os
import pwd
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from aurora.errors import OutputError

#: Errors of a disk, or a share of it, that is full.
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# How Rust writes the error of the system, which safetensors' errors quote.
_CODE = re.compile(r"(?:os error |code: )(\d+)")


def write_error(path: Path, error: Exception, other: str, *, folder: Path | None = None) -> OutputError:
    """Return the error to raise if a file can't be written, or nothing into an output folder.

    Args:
        path: the file, or the output folder.
        error: an `OSError`, or a library's error whose text quotes one.
        other: what helps in any case, such as "name another folder with --output".
        folder: the output folder if `path` is one.

    Example:
        >>> raise write_error(Path("/out/a.json"), error, "name another place with --out")
        OutputError: can't write /out/a.json: Read-only file system; running as root (uid 0), /out belongs to uid 0 with
        mode drwxr-xr-x; mount it writable (docker run -v without :ro) or name another place with --out
    """
    if not isinstance(error, OSError):
        code = _CODE.search(str(error))
        error = OSError(int(code[1]), os.strerror(int(code[1]))) if code else OSError(str(error))
    start = (folder or path.parent).absolute()
    existing = next(place for place in [start, *start.parents] if os.path.exists(place))
    status = existing.stat()
    return OutputError(
        f"can't write {'to the output folder ' if folder else ''}{path}: {error.strerror or error}; running as "
        f"{user_name()} (uid {os.geteuid()}), {existing} belongs to uid {status.st_uid} with mode "
        f"{stat.filemode(status.st_mode)}; {' or '.join([*_remedies(error, existing, status), other])}"
    )


def make_room(folder: Path) -> str:
    """Return the advice for a full disk."""
    return f"make room ({shutil.disk_usage(folder).free // 2**20} MiB are free)"


def _remedies(error: OSError, folder: Path, status: os.stat_result) -> Iterator[str]:
    """Yield what would let the process write into a folder with this `status`."""
    if error.errno in NO_ROOM:
        yield make_room(folder)
    elif error.errno == errno.EROFS:
        yield "mount it writable (docker run -v without :ro)"
    elif error.errno == errno.EPERM:
        yield "make it changeable (lsattr shows an immutable folder, chattr -i changes it)"
    elif error.errno == errno.EACCES:
        allowed = _mode_allows(status)
        if allowed:
            yield "as the mode allows it, let SELinux or what else forbids it allow it too (docker run -v ...:z)"
        if not allowed or (os.geteuid() == 0 and status.st_uid):  # a network folder may map root to another user
            yield f"run as its owner (docker run --user {status.st_uid}:{status.st_gid})"


def _mode_allows(status: os.stat_result) -> bool:
    """Return whether the owner and mode of a folder let this process create files in it."""
    user = os.geteuid()
    if user == 0:
        return True
    own = user == status.st_uid
    shared = status.st_gid in {os.getegid(), *os.getgroups()}
    mode = status.st_mode >> (6 if own else 3 if shared else 0)
    return mode & 0o3 == 0o3


def user_name() -> str:
    """Return the name of the user that the process runs as."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # containers often run under a uid that has no name
        return "an unnamed user"
