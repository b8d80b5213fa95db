"""The outputs of all shards of a run as the output of the run that was never divided."""

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from aurora.errors import InputError, UsageError
from aurora.kinds import KINDS
from aurora.tasks import TaskType
from inference.output.folder import OutputFolder
from inference.output.journal import Outcome, ShardRecord, read_shard
from inference.output.writer import PredictionWriter


def merge(folders: Sequence[Path], output: Path) -> int:
    """Join the outputs of shards, given in any order, in `output`; returns the number of rows.

    The shards' journals say what their lists hold, so that these needn't be read.

    Raises:
        UsageError: `output` is the folder of a shard.
        InputError: a shard is missing, there twice, not finished, or of another run; or its masks were changed.
        OutputError: `output` can't be written.
    """
    shards = _ordered([read_shard(folder) for folder in folders])
    folder = OutputFolder(output)
    for shard in shards:
        if os.path.samefile(shard.folder, folder.root):
            raise UsageError(f"expected an output folder that is no shard's, found {output}; name another --output")
    written: set[int] = set()
    with PredictionWriter(folder) as writer:
        for shard in shards:
            for outcome in _outcomes(shard):
                if outcome.record is not None:
                    writer.take_over(_kind(outcome.record), outcome)
                # Of rows that ask for one mask the first counts, whichever shard it is in.
                elif outcome.mask is not None and hash(outcome.mask) not in written:
                    folder.write(outcome.mask, _content(shard, outcome))
                    written.add(hash(outcome.mask))
    return sum(shard.rows for shard in shards)


def _ordered(found: list[ShardRecord]) -> list[ShardRecord]:
    """All shards of one run in their order."""
    first = found[0]
    for shard in found:
        if (shard.run, shard.shard.count) != (first.run, first.shard.count):
            raise InputError(
                f"expected shards of one run, found {first.shard} in {first.folder} and {shard.shard} in "
                f"{shard.folder}, which differ in input, weights, engine, batch size or number; run them alike"
            )
    by_index: dict[int, ShardRecord] = {}
    for shard in found:
        if (twin := by_index.setdefault(shard.shard.index, shard)) is not shard:
            raise InputError(f"shard {shard.shard} is there twice, {twin.folder} and {shard.folder}; name each once")
    missing = [index for index in range(1, first.shard.count + 1) if index not in by_index]
    if missing:
        names = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        raise InputError(
            f"expected all {first.shard.count} shards, found {len(by_index)}; missing: {names}; "
            "run them, and name their output folders too"
        )
    return [by_index[index] for index in sorted(by_index)]


def _outcomes(shard: ShardRecord) -> Iterator[Outcome]:
    """What became of a shard's rows; raises `InputError` unless all are answered."""
    rows = 0
    for outcome in shard.outcomes():
        rows += 1
        yield outcome
    if rows != shard.rows:
        raise InputError(
            f"shard {shard.shard} in {shard.folder} has answered {rows} of {shard.rows} rows; finish it with --resume"
        )


def _content(shard: ShardRecord, outcome: Outcome) -> bytes:
    """The mask that an outcome names; raises `InputError` unless it is as it was written."""
    path = shard.folder / str(outcome.mask)
    try:
        content = path.read_bytes()
    except OSError:
        content = b""
    if zlib.crc32(content) != outcome.checksum:
        raise InputError(f"{path} isn't what shard {shard.shard} wrote; run that shard again")
    return content


def _kind(entry: str) -> TaskType:
    """The type of the row that a list's entry answers, which its fields tell."""
    fields = json.loads(entry).keys()
    return next(
        task_type for task_type, kind in KINDS.items() if kind.RECORD and kind.RECORD.model_fields.keys() == fields
    )
