"""Read an imported encoder: one safetensors file with the tower's weights, dimensions and provenance."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aurora.errors import WeightsError
from aurora.model import checkpoint
from aurora.model.config import EncoderConfig

if TYPE_CHECKING:
    from aurora.model.encoder import Encoder

ENCODER_KEY = "aurora-encoder"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class EncoderFile:
    """The description in the file: the tower's dimensions, and its source, revision and checksums."""

    path: Path
    config: EncoderConfig
    provenance: dict[str, Any]


def read_encoder(path: Path) -> EncoderFile:
    """Read the description in a file written by `import-encoder`; raise `WeightsError` for any other file."""
    if not path.is_file():
        raise WeightsError(f"no encoder file {path}; make it with 'python -m training import-encoder --out {path}'")
    metadata = checkpoint.read_metadata(path)
    if ENCODER_KEY not in metadata:
        raise WeightsError(
            f"{path} is not an imported encoder: expected an entry {ENCODER_KEY!r} in its metadata, found "
            f"{', '.join(metadata) or 'none'}; make one with 'python -m training import-encoder'"
        )
    try:
        record = json.loads(metadata[ENCODER_KEY])
        if record["format"] != FORMAT:
            raise ValueError(f"its format is {record['format']}, expected {FORMAT}")
        return EncoderFile(path, EncoderConfig(**record["config"]), record["provenance"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} describes an encoder that this version can't build ({error})") from error


def load_encoder(encoder: "Encoder", file: EncoderFile) -> None:
    """Copy the file's weights into `encoder`, in the encoder's precision.

    Raises `WeightsError` if a tensor is missing, unexpected or of the wrong shape; none is ever skipped.
    """
    checkpoint.load_into(encoder, file.path)
