"""The output folder: checked before the weights are loaded, written atomically, with files owned by its owner."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

from aurora.errors import OutputError
from aurora.runtime.write_errors import NO_ROOM, make_room, write_error

PART = ".part"
#: The ending of a mask's temporary name, which starts with a random token of the process.
_MASK_PART = f".mask{PART}"
# Errors that a file's name causes, in contrast to a full or broken disk.
_NAME_ERRORS = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.EINVAL, errno.EILSEQ}


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
            raise write_error(root, error, f"name another folder with {flag}", folder=root) from error
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
        # Reports and pictures are written after all predictions.
        again = "continue with --resume" if self.flag == "--output" else "run it again"
        remedy = make_room(self.root) if error.errno in NO_ROOM else "fix that"
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
