"""The flags of `inference run`."""

from dataclasses import dataclass
from pathlib import Path

from aurora.engine.engine import EngineName
from inference.shard import Shard


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What a run is to do; the command line says what each flag means."""

    input: Path
    output: Path
    weights: Path | None = None
    engine: EngineName | None = None
    device: str = "auto"
    batch_size: int | None = None
    limit: int | None = None
    resume: bool = False
    strict: bool = False
    report: Path | None = None
    preview: Path | None = None
    shard: Shard | None = None
    quiet: bool = False
