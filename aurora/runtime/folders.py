"""Write a folder that appears only when it is complete, of new files and of links to old ones."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aurora.errors import OutputError, UsageError
from aurora.runtime.write_errors import write_error


def require_new_folder(out: Path) -> None:
    """Raise `UsageError` if `out` exists, unless it is an empty folder."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"expected a new or empty folder, found {out} in use; name another --out")


@contextmanager
def complete_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `out`, and rename it when the block ends; remove it if the block raises.

    Example:
        >>> with complete_folder(Path("data/lesion")) as folder:  # doctest: +SKIP
        ...     (folder / "images").mkdir()

    Raises:
        OutputError: the folder can't be written.
    """
    folder = Path(f"{out}.part")
    try:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            raise OutputError(f"expected no {folder}, which a stopped command has left; remove it") from None
        try:
            yield folder
            folder.rename(out)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    except OSError as error:
        raise write_error(out, error, "name another place with --out") from error


def link_or_copy(source: Path, target: Path, *, copy: bool) -> None:
    """Make `target` a hard link to a file or, with `copy` and where the file system can't link, a copy of it.

    What a symbolic link leads to is linked, because a symbolic link would lead out of the folder of `target`. Folders
    are created as needed.

    Raises:
        OSError: the file can't be read or written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    real = os.path.realpath(source)
    if not copy:
        try:
            os.link(real, target)
        except FileExistsError:
            raise
        except OSError:  # another file system, or one without links
            pass
        else:
            return
    shutil.copyfile(real, target)
