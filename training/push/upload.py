"""Upload a folder to the Hugging Face hub in one commit."""

from pathlib import Path

from aurora.errors import AuroraError, OutputError, UsageError
from aurora.runtime.hub import HUB_ID, reason

TOKENS = "https://huggingface.co/settings/tokens"


def require_access(repository: str) -> None:
    """Check what can be checked before the work begins: the name, the connection's setting and that there is a token.

    Raises:
        UsageError: one of them is missing or wrong.
    """
    from huggingface_hub import get_token, is_offline_mode

    if not HUB_ID.fullmatch(repository):
        raise UsageError(f"expected ORG/NAME with --to, found {repository}")
    if is_offline_mode():
        raise UsageError("expected a connection to the hub, found HF_HUB_OFFLINE set; unset it, or use --out")
    if get_token() is None:
        raise UsageError(
            f"expected a token in HF_TOKEN, found none; make one with write access at {TOKENS}, "
            "or log in with 'hf auth login'"
        )


def upload(folder: Path, repository: str, *, private: bool = False) -> str:
    """Upload all files of a folder as one commit and return the commit: 40 hexadecimal digits.

    The repository is created if there is none. Files of the same names are replaced, and others stay.

    Args:
        folder: the folder; files in folders below it are left out.
        repository: ORG/NAME.
        private: whether only those who may write there can read it.

    Raises:
        UsageError: the repository exists and is public although it should be private, or the hub rejects the card.
        OutputError: the hub can't be reached or refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, errors

    hub = HfApi()
    try:
        hub.create_repo(repository, private=private or None, exist_ok=True)
        if private and not hub.model_info(repository).private:
            raise UsageError(
                f"expected {repository} to be private, found it public; change it in its settings on the hub, "
                "or leave out --private"
            )
        additions = [CommitOperationAdd(path.name, path) for path in sorted(folder.iterdir()) if path.is_file()]
        # Not `upload_folder`, which may divide the files among several commits.
        return hub.create_commit(repository, additions, commit_message="Add weights").oid
    except (errors.HTTPError, OSError, ValueError, RuntimeError) as error:  # some by xet or a proxy
        raise _explained(error, repository) from error


def _explained(error: Exception, repository: str) -> AuroraError:
    from huggingface_hub import errors

    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    if status == 401:
        return OutputError(
            f"the hub doesn't know the token in HF_TOKEN; make one with write access at {TOKENS} and push again"
        )
    if status == 403:
        return OutputError(
            f"the token may not write to {repository} ({reason(error)}); use one that may, or another name with --to"
        )
    if str(error).startswith("Invalid metadata"):  # a plain ValueError
        return UsageError(f"the hub rejects the model card ({' '.join(str(error).split())}); correct --license")
    return OutputError(f"can't upload to {repository} ({reason(error)}); push again")
