"""The output folder: checked before the weights are loaded, written atomically, with files owned by its owner."""

import errno
import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

from aurora.errors import OutputError

PART = ".part"
#: The ending of a mask's temporary name, which starts with a random token of the process.
_MASK_PART = f".mask{PART}"
# Errors that a file's name causes, in contrast to a full or broken disk.
_NAME_ERRORS = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.EINVAL, errno.EILSEQ}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class OutputFolder:
    """A folder whose files are written under a temporary name first and then renamed.

    If the process runs as root and the folder belongs to another user, that user gets the new files and folders.

    Args:
        root: the folder; created if absent.
        flag: the option that names it, for messages.

    Raises:
        OutputError: the folder can't be created or written to.
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
            raise OutputError(_rejection(root, flag, error)) from error
        status = self.root.stat()
        foreign = os.geteuid() == 0 and (status.st_uid, status.st_gid) != (0, 0)
        self.owner = (status.st_uid, status.st_gid) if foreign else None
        self.folders = {self.root}

    def write(self, name: str, content: bytes) -> None:
        """Write the file `name`, a relative path with `/`; the file is complete or absent.

        Raises:
            ValueError: the file system doesn't allow this name.
            OutputError: writing failed for another reason.
        """
        with self.written(name, f".{self.token}{_MASK_PART}") as tmp:
            tmp.write_bytes(content)

    @contextmanager
    def written(self, name: str, temporary: str) -> Iterator[Path]:
        """Yield a path in the folder of `name`; a file that is written there gets this name if the block ends well.

        Args:
            name: see `write`, also for the errors.
            temporary: the file's name until then.
        """
        target = self.root / name
        tmp = target.with_name(temporary)
        try:
            self._make(target.parent)
            yield tmp
            if tmp.exists():
                self.finish(tmp, target)
        except OSError as error:
            if error.errno in _NAME_ERRORS:
                raise ValueError(f"no file can be written at {name[:80]!r}: {error.strerror}") from error
            raise self.failure(error) from error
        finally:
            with suppress(OSError):
                tmp.unlink()

    def finish(self, tmp: Path, target: Path) -> None:
        """Give a temporary file to the owner and rename it to `target`; raise `OSError` if that fails."""
        self.give_to_owner(tmp)
        os.replace(tmp, target)

    def give_to_owner(self, path: Path) -> None:
        """Give a new file or folder to the owner; raise `OSError` if that fails."""
        if self.owner:
            os.chown(path, *self.owner)

    def sweep(self) -> None:
        """Remove the temporary masks of a killed run, anywhere in the folder; raise `OSError` if that fails."""
        for folder, _, names in os.walk(self.root):
            for name in names:
                if name.startswith(".") and name.endswith(_MASK_PART):
                    os.unlink(os.path.join(folder, name))

    def failure(self, error: OSError) -> OutputError:
        """Return the error to raise when writing fails during the run."""
        remedy = "fix that"
        # Reports and pictures are written after all predictions.
        again = "continue with --resume" if self.flag == "--output" else "run it again"
        if error.errno in _NO_ROOM:
            remedy = f"make room ({shutil.disk_usage(self.root).free // 2**20} MiB are free)"
        return OutputError(
            f"can't write to {self.root}: {error.strerror}; predictions written so far are complete; "
            f"{remedy} and {again}, or name another folder with {self.flag}"
        )

    def _make(self, folder: Path) -> None:
        missing = takewhile(lambda parent: parent not in self.folders, [folder, *folder.parents])
        for path in reversed(list(missing)):
            if not path.exists():
                path.mkdir()
                self.give_to_owner(path)
            elif path.resolve() != path:
                raise ValueError(f"{path} is a link, and predictions are written inside {self.root} only")
            self.folders.add(path)


def _rejection(root: Path, flag: str, error: OSError) -> str:
    user = f"{_user()} (uid {os.geteuid()})"
    existing = next(path for path in [root.absolute(), *root.absolute().parents] if os.path.exists(path))
    status = existing.stat()
    remedies = [*_remedies(error, status), f"name another folder with {flag}"]
    return (
        f"can't write to the output folder {root}: {error.strerror}; running as {user}, {existing} belongs to uid "
        f"{status.st_uid} with mode {stat.filemode(status.st_mode)}; {' or '.join(remedies)}"
    )


def _remedies(error: OSError, status: os.stat_result) -> Iterator[str]:
    """Yield what would let the process write into a folder with this `status`."""
    if error.errno == errno.EROFS:
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


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # containers often run under a uid that has no name
        return "an unnamed user"
