"""Save and load a run's state, from which training resumes exactly: one safetensors file, nothing pickled."""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from aurora.errors import WeightsError
from aurora.model import checkpoint
from aurora.runtime import files

logger = logging.getLogger("aurora.training")

KEY = "aurora-state"
FORMAT = 1
NAME = re.compile(r"state-(\d{8})\.safetensors")


def save_state(out: Path, step: int, tensors: Mapping[str, Tensor], record: Mapping[str, Any], keep: int) -> None:
    """Write the state after `step` to the folder `out`, atomically, then delete all but the newest `keep` states."""
    from safetensors.torch import save_file

    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with files.checksummed(out / f"state-{step:08d}.safetensors") as temporary:
        save_file(content, temporary, {KEY: json.dumps({"format": FORMAT, "step": step, **record})})
    for path in list(_newest_first(out))[keep:]:
        path.unlink()
        files.forget_checksum(path)


def has_state(out: Path) -> bool:
    """Return whether `out` has a state, valid or not."""
    return any(_newest_first(out))


def load_state(out: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return the tensors and the record of the newest valid state in `out`, or None if there is none.

    The record includes the `step`. A damaged state is skipped, with a log message.
    """
    from safetensors.torch import load_file

    for path in _newest_first(out):
        try:
            record = json.loads(checkpoint.read_metadata(path)[KEY])
            if record["format"] != FORMAT:
                raise WeightsError(f"{path}: expected format {FORMAT}, found {record['format']}")
            return load_file(path), record
        except (WeightsError, KeyError, ValueError) as error:
            logger.info("skipped the damaged state %s: %s", path.name, error)
    return None


def _newest_first(out: Path) -> Iterator[Path]:
    return iter(sorted((p for p in out.glob("state-*.safetensors") if NAME.fullmatch(p.name)), reverse=True))
