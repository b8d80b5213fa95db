"""Fetch files from a repository on the Hugging Face hub; what goes wrong becomes one sentence."""

import re
from dataclasses import dataclass
from pathlib import Path

from aurora.errors import AuroraError, UsageError, WeightsError

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
#: How a name of weights begins if they are on the hub: hf:ORG/NAME.
PREFIX = "hf:"
_SENTENCE_END = re.compile(r"\.?(?:\n|$)|\. ")


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository on the hub, with the words by which a command speaks of it.

    Attributes:
        id: its name on the hub, ORG/NAME.
        revision: branch, tag or commit; None for the default branch.
        expected: what the command takes, such as "a folder or a hub id".
        include: flags by which `hf download` fetches no more than the command needs; empty for all files.
        then: what to do with the folder that `hf download` makes, on a machine without a connection.
    """

    id: str
    revision: str | None
    expected: str
    include: str
    then: str

    def fetch(self, file: str) -> Path | None:
        """Return a file's path in the hub's cache, after downloading it if necessary; None if there is no such file.

        Raises:
            UsageError: the library huggingface_hub isn't installed, or the hub can't have a repository of this name.
            WeightsError: there is no such repository or revision, or the hub can't be reached or refuses.
        """
        try:
            from huggingface_hub import errors, hf_hub_download
        except ImportError as error:
            raise UsageError(
                f"expected {self.expected}, found {self.id}, and fetching it from the hub needs huggingface_hub, "
                "which isn't installed: pip install 'aurora-ultrasound[hub]'"
            ) from error
        try:
            return Path(hf_hub_download(self.id, file, revision=self.revision))
        except errors.LocalEntryNotFoundError as error:
            if self._known_absent(file):
                return None
            raise self._explained(error, file) from error
        except errors.EntryNotFoundError:
            return None
        except (errors.HTTPError, OSError, ValueError, RuntimeError, ImportError) as error:  # some by xet or a proxy
            raise self._explained(error, file) from error

    def files(self) -> list[str]:
        """Return the names of all files, sorted; the errors are those of `fetch`."""
        from huggingface_hub import errors, list_repo_files

        try:
            return sorted(list_repo_files(self.id, revision=self.revision))
        except (errors.HTTPError, OSError) as error:
            raise self._explained(error, "the list of files") from error

    def _known_absent(self, file: str) -> bool:
        """Return whether the cache knows, from a request or a listing, that the revision has no such file."""
        from huggingface_hub import _CACHED_NO_EXIST, get_cached_repo_tree, try_to_load_from_cache
        from huggingface_hub.errors import CachedRepoTreeNotFoundError

        if try_to_load_from_cache(self.id, file, revision=self.revision) is _CACHED_NO_EXIST:
            return True
        try:
            return file not in {entry.path for entry in get_cached_repo_tree(self.id, revision=self.revision)}
        except CachedRepoTreeNotFoundError:
            return False

    def _explained(self, error: Exception, file: str) -> AuroraError:
        """Return the error to raise for `error`, raised while fetching `file`."""
        from huggingface_hub import errors

        if isinstance(error, errors.HFValidationError):
            return UsageError(f"expected {self.expected}, found {self.id}")
        if isinstance(error, errors.GatedRepoError):  # a subclass of RepositoryNotFoundError
            return WeightsError(
                f"{self.id} is gated: accept its licence at https://huggingface.co/{self.id}, "
                "and set HF_TOKEN to a token of the account that did"
            )
        if isinstance(error, errors.RepositoryNotFoundError):
            return WeightsError(
                f"expected {self.expected}, found no public repository {self.id}; "
                "check the name, or set HF_TOKEN if the repository is private"
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return WeightsError(f"{self.id} has no revision {self.revision}; name one of its branches, tags or commits")
        response_errors = (errors.HfHubHTTPError, errors.FileMetadataError)
        if isinstance(error, errors.LocalEntryNotFoundError) and not isinstance(error.__cause__, response_errors):
            folder = self.id.partition("/")[2]
            option = f" --revision {self.revision}" if self.revision else ""
            return WeightsError(
                f"{file} of {self.id} is not in the hub's cache, and the hub can't be reached ({reason(error)}); "
                f"on a machine with a connection run 'hf download {self.id}{option}{self.include} "
                f"--local-dir {folder}', copy the folder {folder} here and {self.then}"
            )
        return WeightsError(f"can't fetch {file} of {self.id} ({reason(error)}); fix that and try again")


def reason(error: BaseException) -> str:
    """Describe why a request to the hub failed, as part of a sentence."""
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__:
        error = error.__cause__
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    if isinstance(error, errors.HfHubHTTPError):
        message = f": {error.server_message}" if error.server_message else ""
        status = f"{error.response.status_code} {error.response.reason_phrase}"
        return " ".join(f"the hub responded with {status}{message}".split())
    return f"{type(error).__name__}: {_SENTENCE_END.split(str(error))[0]}".rstrip(": ")
