"""Find and fetch the files of a published checkpoint: in a local folder, or in a repository on the Hugging Face hub."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from aurora.errors import UsageError, WeightsError
from aurora.runtime.files import require_no_pointer
from aurora.runtime.hub import HUB_ID, Repository

CONFIG = "config.json"
EXPECTED = "a folder or a hub id such as Qwen/Qwen3-VL-2B-Instruct"
INCLUDE = ' --include "*.json" --include "*.safetensors"'


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a checkpoint's files.

    Attributes:
        name: the name of the folder, without its path, or the hub id.
        revision: the commit of a hub repository; None for a folder.
        fetch: returns the local path of a file by its name, or None if the source has no such file.
        files: returns the names of all files, for a message.

    `fetch` and `files` raise `WeightsError` if the hub can't be reached or refuses.
    """

    name: str
    revision: str | None
    fetch: Callable[[str], Path | None]
    files: Callable[[], list[str]]


def open_source(name: str, revision: str | None = None) -> Source:
    """Open the folder `name` or, if there is none, the hub repository `name` at `revision` (branch, tag or commit).

    A revision is resolved once, so that all files come from the same commit even if the branch moves.

    Raises:
        UsageError: `name` is neither, or a revision is given for a folder.
        WeightsError: the repository can't be accessed or is not a checkpoint, or the folder holds Git LFS pointers.
    """
    if os.path.isdir(name):  # unlike the methods of Path, these accept any text
        if revision is not None:
            raise UsageError(f"{name} is a folder, and only a hub repository has a revision; leave out {revision}")
        folder = Path(os.path.abspath(name))
        for path in folder.glob("*.safetensors"):
            require_no_pointer(path)
        return Source(folder.name, None, partial(_in_folder, folder), partial(_names_in_folder, folder))
    if os.path.exists(name):
        raise UsageError(f"expected {EXPECTED}, found the file {name}; name its folder")
    if not HUB_ID.fullmatch(name):
        raise UsageError(f"expected {EXPECTED}, found no folder {name}")
    repository = Repository(name, revision, EXPECTED, INCLUDE, "name it with --from")
    config = repository.fetch(CONFIG)
    if config is None:
        raise WeightsError(f"expected {CONFIG} in {name} on the hub, found none; name a published checkpoint")
    repository = replace(repository, revision=config.parent.name)  # the hub's cache holds a folder for each commit
    return Source(name, repository.revision, repository.fetch, repository.files)


def _in_folder(folder: Path, file: str) -> Path | None:
    path = folder / file
    return path if path.parent == folder and path.is_file() else None


def _names_in_folder(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())
