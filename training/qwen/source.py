"""Find and fetch the files of a published checkpoint: in a local folder, or in a repository on the Hugging Face hub."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aurora.errors import AuroraError, UsageError, WeightsError
from aurora.runtime.files import require_no_pointer

CONFIG = "config.json"
EXPECTED = "expected a folder or a hub id such as Qwen/Qwen3-VL-2B-Instruct"
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
SENTENCE_END = re.compile(r"\.?(?:\n|$)|\. ")


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
        raise UsageError(f"{EXPECTED}, found the file {name}; name its folder")
    if not HUB_ID.fullmatch(name):
        raise UsageError(f"no folder {name}; {EXPECTED}")
    config = _from_hub(name, revision, CONFIG)
    if config is None:
        raise WeightsError(f"expected {CONFIG} in {name} on the hub, found none; name a published checkpoint")
    commit = config.parent.name  # the hub's cache holds a folder for each commit
    return Source(name, commit, partial(_from_hub, name, commit), partial(_names_on_hub, name, commit))


def _in_folder(folder: Path, file: str) -> Path | None:
    path = folder / file
    return path if path.parent == folder and path.is_file() else None


def _names_in_folder(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def _from_hub(repository: str, revision: str | None, file: str) -> Path | None:
    """Return a file's path in the hub's cache, after downloading it if necessary; None if there is no such file."""
    try:
        from huggingface_hub import errors, hf_hub_download
    except ImportError as error:
        raise UsageError(
            f"no folder {repository}, and the hub needs the library huggingface_hub; "
            "name a folder, or 'pip install huggingface_hub'"
        ) from error
    try:
        return Path(hf_hub_download(repository, file, revision=revision))
    except errors.LocalEntryNotFoundError as error:
        if _known_absent(repository, revision, file):
            return None
        raise _explained(error, repository, revision, file) from error
    except errors.EntryNotFoundError:
        return None
    except (errors.HTTPError, OSError, ValueError, RuntimeError, ImportError) as error:  # some by xet or a proxy
        raise _explained(error, repository, revision, file) from error


def _known_absent(repository: str, revision: str | None, file: str) -> bool:
    """Return whether the cache knows, from a request or a listing, that the commit has no such file."""
    from huggingface_hub import _CACHED_NO_EXIST, get_cached_repo_tree, try_to_load_from_cache
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    if try_to_load_from_cache(repository, file, revision=revision) is _CACHED_NO_EXIST:
        return True
    try:
        return file not in {entry.path for entry in get_cached_repo_tree(repository, revision=revision)}
    except CachedRepoTreeNotFoundError:
        return False


def _names_on_hub(repository: str, commit: str) -> list[str]:
    from huggingface_hub import errors, list_repo_files

    try:
        return sorted(list_repo_files(repository, revision=commit))
    except (errors.HTTPError, OSError) as error:
        raise _explained(error, repository, commit, "the list of files") from error


def _explained(error: Exception, repository: str, revision: str | None, file: str) -> AuroraError:
    """Return the error to raise for `error`, raised while fetching `file`."""
    from huggingface_hub import errors

    if isinstance(error, errors.HFValidationError):
        return UsageError(f"no folder {repository}; {EXPECTED}")
    if isinstance(error, errors.GatedRepoError):  # a subclass of RepositoryNotFoundError
        return WeightsError(
            f"{repository} is gated: accept its licence at https://huggingface.co/{repository}, "
            "and set HF_TOKEN to a token of the account that did"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return WeightsError(
            f"{EXPECTED}, found neither a folder nor a public repository {repository}; "
            "check the name, or set HF_TOKEN if the repository is private"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return WeightsError(f"{repository} has no revision {revision}; name one of its branches, tags or commits")
    response_errors = (errors.HfHubHTTPError, errors.FileMetadataError)
    if isinstance(error, errors.LocalEntryNotFoundError) and not isinstance(error.__cause__, response_errors):
        folder = repository.partition("/")[2]
        option = f" --revision {revision}" if revision else ""
        return WeightsError(
            f"{file} of {repository} is not in the hub's cache, and the hub can't be reached "
            f"({_reason(error)}); on a machine with a connection run 'hf download {repository}{option} "
            f'--include "*.json" --include "*.safetensors" --local-dir {folder}\', '
            f"copy the folder {folder} here and name it with --from"
        )
    return WeightsError(f"can't fetch {file} of {repository} ({_reason(error)}); fix that and try again")


def _reason(error: BaseException) -> str:
    """Describe why a download failed, as part of a sentence."""
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__:
        error = error.__cause__
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    if isinstance(error, errors.HfHubHTTPError):
        message = f": {error.server_message}" if error.server_message else ""
        status = f"{error.response.status_code} {error.response.reason_phrase}"
        return " ".join(f"the hub responded with {status}{message}".split())
    return f"{type(error).__name__}: {SENTENCE_END.split(str(error))[0]}".rstrip(": ")
