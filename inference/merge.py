"""The outputs of all shards of a run as the output of the run that was never divided."""

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import copyfileobj
from typing import BinaryIO

from aurora.answers import JSON_FILES
from aurora.errors import InputError
from inference.journal import ShardRecord, read_shard
from inference.output import PART, OutputFolder


def merge(folders: Sequence[Path], output: Path) -> int:
    """Join the outputs of shards, given in any order, in `output`; returns the number of rows.

    Raises:
        InputError: a shard is missing, there twice, not finished, or of another run; or its files were changed.
        OutputError: `output` can't be written.
    """
    shards = _ordered([read_shard(folder) for folder in folders])
    folder = OutputFolder(output)
    written: set[int] = set()
    rows = 0
    for shard in shards:
        for name, content in _masks(shard):
            # Of rows that ask for one mask the first counts, whichever shard it is in.
            if hash(name) not in written:
                folder.write(name, content)
                written.add(hash(name))
        rows += shard.rows
    try:
        for name in JSON_FILES.values():
            part = folder.root / f".{name}{PART}"
            with part.open("wb") as file:
                _join([shard.folder / name for shard in shards], file)
            folder.finish(part, folder.root / name)
    except OSError as error:
        raise folder.failure(error) from error
    return rows


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


def _masks(shard: ShardRecord) -> Iterator[tuple[str, bytes]]:
    """The name and content of every mask of a shard; raises `InputError` unless the shard is whole."""
    rows = 0
    for outcome in shard.outcomes():
        rows += 1
        if outcome.mask is None:
            continue
        try:
            content = (shard.folder / outcome.mask).read_bytes()
        except OSError:
            content = b""
        if zlib.crc32(content) != outcome.checksum:
            raise InputError(
                f"{shard.folder / outcome.mask} isn't what shard {shard.shard} wrote; run that shard again"
            )
        yield outcome.mask, content
    # Lists that haven't got their names yet were left by a run that was killed at its very end.
    lists = [(shard.folder / name, shard.folder / f".{name}{PART}") for name in JSON_FILES.values()]
    if rows != shard.rows or any(part.exists() or not whole.exists() for whole, part in lists):
        raise InputError(
            f"shard {shard.shard} in {shard.folder} has answered {rows} of {shard.rows} rows; finish it with --resume"
        )


def _join(lists: list[Path], out: BinaryIO) -> None:
    """JSON lists of a line per entry, as `AnswerWriter` writes them, one after the other as one such list."""
    out.write(b"[")
    for path in lists:
        with path.open("rb") as file:
            size = path.stat().st_size - len(b"\n]\n")
            if size <= 0:  # an empty list
                continue
            file.seek(1)
            if out.tell() > 1:
                out.write(b",")
            copyfileobj(file, out)
            out.seek(-len(b"\n]\n"), 1)
            out.truncate()
    out.write(b"]\n" if out.tell() == 1 else b"\n]\n")
