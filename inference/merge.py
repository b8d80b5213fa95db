"""Merge the outputs of all shards into the output of the undivided run."""

import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

from aurora.errors import InputError, UsageError
from aurora.kinds import KINDS
from aurora.runtime.seen_hashes import SeenHashes
from aurora.tasks import TaskType
from inference.output.folder import OutputFolder
from inference.output.journal import RowOutcome, ShardRecord, read_shard
from inference.output.writer import PredictionWriter


def merge(folders: Sequence[Path], output: Path) -> int:
    """Merge the outputs of shards, given in any order, into `output`; return the number of rows.

    The lists are written from the shards' journals; the shards' own lists aren't read. Nothing is written before all
    journals have been checked.

    Raises:
        UsageError: `output` is the folder of a shard.
        InputError: a shard is missing, given twice, unfinished or of another run; or one of its masks was changed.
        OutputError: `output` can't be written.
    """
    shards = _ordered([read_shard(folder) for folder in folders])
    for shard in shards:
        _require_finished(shard)
    folder = OutputFolder(output)
    for shard in shards:
        if os.path.samefile(shard.folder, folder.root):
            raise UsageError(f"expected an output folder that is no shard's, found {output}; name another --output")
    written = SeenHashes()
    with PredictionWriter(folder) as writer:
        for shard in shards:
            for outcome in shard.outcomes():
                if outcome.record is not None:
                    writer.take_over(_task_type(outcome.record), outcome)
                # If several rows name one mask, the first one's is kept, whichever shard it is in.
                elif outcome.mask is not None and written.add(outcome.mask):
                    folder.write(outcome.mask, _content(shard, outcome))
    return sum(shard.rows for shard in shards)


def _ordered(shards: list[ShardRecord]) -> list[ShardRecord]:
    """Return the shards by number; raise `InputError` unless they are all shards of one run."""
    first = shards[0]
    for shard in shards:
        if (shard.run, shard.shard.count) != (first.run, first.shard.count):
            raise InputError(
                f"expected shards of one run, found {first.shard} in {first.folder} and {shard.shard} in "
                f"{shard.folder}, which differ in input, weights, engine, batch size or number; run them alike"
            )
    by_index: dict[int, ShardRecord] = {}
    for shard in shards:
        if (twin := by_index.setdefault(shard.shard.index, shard)) is not shard:
            raise InputError(f"shard {shard.shard} is given twice, {twin.folder} and {shard.folder}; name each once")
    missing = [index for index in range(1, first.shard.count + 1) if index not in by_index]
    if missing:
        names = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        raise InputError(
            f"expected all {first.shard.count} shards, found {len(by_index)}; missing: {names}; "
            "run them, and name their output folders too"
        )
    return [by_index[index] for index in sorted(by_index)]


def _require_finished(shard: ShardRecord) -> None:
    """Raise `InputError` unless the journal holds every row of the shard."""
    rows = sum(1 for _ in shard.outcomes())
    if rows != shard.rows:
        raise InputError(
            f"shard {shard.shard} in {shard.folder} has predicted {rows} of {shard.rows} rows; finish it with --resume"
        )


def _content(shard: ShardRecord, outcome: RowOutcome) -> bytes:
    """Read the mask of an outcome; raise `InputError` unless it is as the shard wrote it."""
    path = shard.folder / str(outcome.mask)
    try:
        content = path.read_bytes()
    except OSError:
        content = b""
    if zlib.crc32(content) != outcome.checksum:
        raise InputError(f"{path} isn't what shard {shard.shard} wrote; run that shard again")
    return content


def _task_type(record: str) -> TaskType:
    """Return the type of the row that an entry belongs to, by the names of its fields."""
    fields = json.loads(record).keys()
    records = {task_type: kind.RECORD for task_type, kind in KINDS.items() if kind.RECORD}
    return next(task_type for task_type, model in records.items() if model.model_fields.keys() == fields)
