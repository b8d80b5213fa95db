"""Find weights by their name: a file, or a repository on the Hugging Face hub that `training push` has written."""

import logging
from dataclasses import replace
from pathlib import Path

from aurora.engine.base import EngineName
from aurora.engine.select import suitable_engine
from aurora.errors import UsageError, WeightsError
from aurora.runtime.files import CHECKSUMS, read_checksums, sha256, tensors_file
from aurora.runtime.hub import HUB_ID, PREFIX, Repository

logger = logging.getLogger(__name__)

#: The files of a repository: the checkpoint and its ONNX export.
CHECKPOINT, EXPORT = "model.safetensors", "model.onnx"


def find_weights(
    weights: Path | str | None, revision: str | None, engine: EngineName | None, device: str
) -> tuple[Path | None, str | None]:
    """Return the path of weights and, if they are from the hub, their commit there.

    From the hub, only the files for the engine that will run them are fetched, all from one commit, into the hub's
    cache; what is in the cache isn't fetched again, and HF_HUB_OFFLINE is honoured. A warning names the commit unless
    `revision` does.

    Args:
        weights: a file, or hf:ORG/NAME; None for the default.
        revision: the branch, tag or commit on the hub; None for the default branch.
        engine: the engine's name; None to choose.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        UsageError: a revision was given for a file, the name is wrong or huggingface_hub isn't installed.
        WeightsError: the hub can't be reached or refuses, or the repository lacks a file or has a damaged one.
    """
    name = str(weights)
    if not name.startswith(PREFIX):
        if revision is not None:
            raise UsageError(f"expected weights such as hf:ORG/NAME for the revision {revision}, found {weights}")
        return (None if weights is None else Path(weights)), None
    repository = _open(name, revision)
    sums = _required(repository, CHECKSUMS)
    commit = sums.parent.name  # the hub's cache holds a folder for each commit
    if commit != revision:
        logger.warning("%s is at commit %s now; name this commit as the revision to keep these weights", name, commit)
    repository, listed = replace(repository, revision=commit), read_checksums(sums)
    chosen = EXPORT if (engine or suitable_engine(device, EXPORT in listed)) != "torch" else CHECKPOINT
    path = _verified(repository, chosen, listed)
    tensors = tensors_file(path).name
    if tensors in listed:
        _verified(repository, tensors, listed)
    return path, commit


def _open(name: str, revision: str | None) -> Repository:
    hub_id = name.removeprefix(PREFIX)
    if not HUB_ID.fullmatch(hub_id):
        raise UsageError(f"expected weights on the hub such as hf:ORG/NAME, found {name}")
    folder = hub_id.partition("/")[2]
    return Repository(hub_id, revision, "weights such as hf:ORG/NAME", "", f"name the weights {folder}/{CHECKPOINT}")


def _required(repository: Repository, file: str) -> Path:
    path = repository.fetch(file)
    if path is None:
        raise WeightsError(
            f"expected {file} in {repository.id} on the hub, found none; "
            "name a repository that 'python -m training push' has written"
        )
    return path


def _verified(repository: Repository, file: str, listed: dict[str, str]) -> Path:
    """Fetch a file; raise `WeightsError` if its checksum isn't the one that is `listed`."""
    path = _required(repository, file)
    if sha256(path) != listed.get(file):
        raise WeightsError(
            f"{file} of {repository.id} is damaged: its SHA-256 is not the one in {CHECKSUMS}; fetch it again with "
            f"'hf download {repository.id} {file} --revision {repository.revision} --force-download'"
        )
    return path
