"""Write a repository to a folder, or to the Hugging Face hub."""

from pathlib import Path
from tempfile import TemporaryDirectory

from aurora.runtime.folders import complete_folder, require_new_folder
from training.push.card import Publication
from training.push.repository import write_repository
from training.push.upload import require_access, upload


def prepare(weights: Path, out: Path, publication: Publication) -> None:
    """Write the repository to a new or empty folder; the errors are those of `write_repository`."""
    require_new_folder(out)
    with complete_folder(out) as folder:
        write_repository(weights, folder, publication)


def publish(weights: Path, publication: Publication, *, private: bool = False) -> str:
    """Upload the repository and return the commit; the errors are those of `write_repository` and `upload`.

    Example:
        >>> publish(Path("best.safetensors"), Publication("me/lesions", "cc-by-4.0"))  # doctest: +SKIP
        '0123456789abcdef0123456789abcdef01234567'
    """
    require_access(publication.repository)
    with TemporaryDirectory() as folder:
        write_repository(weights, Path(folder), publication)
        return upload(Path(folder), publication.repository, private=private)
