"""Describe and read imported parts of a network: one safetensors file with weights, dimensions and provenance."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aurora.errors import WeightsError
from aurora.model import checkpoint
from aurora.model.config import STEMS, EncoderConfig

if TYPE_CHECKING:
    from torch.nn import Module

FORMAT = 1
Config = TypeVar("Config")


@dataclass(frozen=True, slots=True)
class ImportedFile(Generic[Config]):
    """A file written by `import-encoder` or `import-stem`.

    Attributes:
        path: the file.
        config: an encoder's dimensions, or a stem's name in `STEMS`.
        provenance: the source, its revision and checksums; JSON-ready.
    """

    path: Path
    config: Config
    provenance: dict[str, Any]

    def load_into(self, module: "Module") -> None:
        """Copy the weights into a module, in the module's precision.

        Raises:
            WeightsError: a tensor is missing, unexpected or of the wrong shape; none is ever skipped.
        """
        checkpoint.load_into(module, self.path)


def read_encoder(path: Path) -> ImportedFile[EncoderConfig]:
    """Read the description in a file written by `import-encoder`; raise `WeightsError` for any other file."""
    return _read(path, "encoder", lambda config: EncoderConfig(**config))


def read_stem(path: Path) -> ImportedFile[str]:
    """Read the description in a file written by `import-stem`; raise `WeightsError` for any other file."""
    return _read(path, "stem", lambda config: STEMS[STEMS.index(config)])


def encoder_metadata(config: EncoderConfig, provenance: Mapping[str, Any]) -> dict[str, str]:
    """Return the metadata of an encoder's file, from which `read_encoder` reads the description."""
    return _metadata("encoder", asdict(config), provenance)


def stem_metadata(name: str, provenance: Mapping[str, Any]) -> dict[str, str]:
    """Return the metadata of a stem's file, from which `read_stem` reads the description."""
    return _metadata("stem", name, provenance)


def _metadata(part: str, config: object, provenance: Mapping[str, Any]) -> dict[str, str]:
    return {_key(part): json.dumps({"format": FORMAT, "config": config, "provenance": provenance})}


def _key(part: str) -> str:
    return f"aurora-{part}"


def _read(path: Path, part: str, parse: Callable[[Any], Config]) -> ImportedFile[Config]:
    command = f"'python -m training import-{part} --out {path}'"
    if not path.is_file():
        raise WeightsError(f"no {part} file {path}; make it with {command}")
    metadata = checkpoint.read_metadata(path)
    if _key(part) not in metadata:
        raise WeightsError(
            f"{path} is not an imported {part}: expected an entry {_key(part)!r} in its metadata, found "
            f"{', '.join(metadata) or 'none'}; make one with 'python -m training import-{part}'"
        )
    try:
        record = json.loads(metadata[_key(part)])
        if record["format"] != FORMAT:
            raise ValueError(f"its format is {record['format']}, expected {FORMAT}")
        return ImportedFile(path, parse(record["config"]), record["provenance"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} describes a {part} that this version can't build ({error})") from error
