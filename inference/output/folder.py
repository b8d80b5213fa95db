"""The output folder: checked before anything is loaded, written atomically, owned by its owner."""

import errno
import os
import pwd
import shutil
import stat
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from aurora.errors import OutputError

PART = ".part"
#: How the temporary name of a mask ends; it begins with what tells apart those who write to one folder.
_MASK_PART = f".mask{PART}"
# What a name can be at fault for, as opposed to a full or broken disk.
_NAME_ERRORS = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.EINVAL, errno.EILSEQ}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class OutputFolder:
    """A folder that files are written into, each beside its place first and then moved there.

    Where the process runs as root and the folder belongs to somebody else, new files and folders are
    handed to the folder's owner.

    Args:
        root: the folder; made if absent.
        flag: what the user names it with, for messages.

    Raises:
        OutputError: the folder can't be made or written to.
    """

    def __init__(self, root: Path, flag: str = "--output") -> None:
        self.flag = flag
        try:
            root.mkdir(parents=True, exist_ok=True)
            self.root = root.resolve()
            self.token = os.urandom(4).hex()
            probe = self.root / f".{self.token}.write-test{PART}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise OutputError(_refusal(root, flag, error)) from error
        status = self.root.stat()
        foreign = os.geteuid() == 0 and (status.st_uid, status.st_gid) != (0, 0)
        self.owner = (status.st_uid, status.st_gid) if foreign else None
        self.folders = {self.root}

    def write(self, name: str, content: bytes) -> None:
        """Write the file `name`, a relative path with `/`, whole or not at all.

        Raises:
            ValueError: no file can bear this name here.
            OutputError: writing failed for another reason.
        """
        target = self.root / name
        part = target.with_name(f".{self.token}{_MASK_PART}")
        try:
            self._make(target.parent)
            part.write_bytes(content)
            self.finish(part, target)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            if error.errno in _NAME_ERRORS:
                raise ValueError(f"no file can be written at {name[:80]!r}: {error.strerror}") from error
            raise self.failure(error) from error

    def finish(self, part: Path, target: Path) -> None:
        """Hand a written part to the owner and move it to its place; raises `OSError`."""
        self.own(part)
        os.replace(part, target)

    def own(self, path: Path) -> None:
        """Hand a new file or folder to the owner; raises `OSError`."""
        if self.owner:
            os.chown(path, *self.owner)

    def sweep(self) -> None:
        """Remove what a run that was killed left of masks, anywhere in the folder; raises `OSError`."""
        for place, _, names in os.walk(self.root):
            for name in names:
                if name.startswith(".") and name.endswith(_MASK_PART):
                    os.unlink(os.path.join(place, name))

    def failure(self, error: OSError) -> OutputError:
        """The error to end with when writing fails in mid-run."""
        cure = "mend that"
        # What else a run writes is written when its answers are complete.
        again = "go on with --resume" if self.flag == "--output" else "run it again"
        if error.errno in _NO_ROOM:
            cure = f"make room ({shutil.disk_usage(self.root).free // 2**20} MiB are free)"
        return OutputError(
            f"can't write to {self.root}: {error.strerror}; answers written so far are whole; "
            f"{cure} and {again}, or name another folder with {self.flag}"
        )

    def _make(self, folder: Path) -> None:
        missing = takewhile(lambda place: place not in self.folders, [folder, *folder.parents])
        for place in reversed(list(missing)):
            if not place.exists():
                place.mkdir()
                self.own(place)
            elif place.resolve() != place:
                raise ValueError(f"{place} is a link, and answers are written inside {self.root} only")
            self.folders.add(place)


def _refusal(root: Path, flag: str, error: OSError) -> str:
    user = f"{_user()} (uid {os.geteuid()})"
    existing = next(place for place in [root.absolute(), *root.absolute().parents] if os.path.exists(place))
    status = existing.stat()
    return (
        f"can't write to the output folder {root}: {error.strerror}; running as {user}, {existing} belongs to uid "
        f"{status.st_uid} with mode {stat.filemode(status.st_mode)}; mount it writable, run as its owner "
        f"(docker run --user {status.st_uid}:{status.st_gid}) or name another folder with {flag}"
    )


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a uid that the machine doesn't know, as containers are often given
        return "an unnamed user"
