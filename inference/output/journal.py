"""What a run has done so far, on disk, so that one that was interrupted can be taken up again.

The first line is the run's fingerprint, then comes a line per batch: the CRC-32 of the rest of the line, and the
outcomes of the batch's rows as JSON. A batch is the unit because an answer's last bits may depend on what else was
in its batch: the batches of a resumed run are those of an undisturbed one.

Nothing waits for the disk. After a loss of power any part of the journal and of a mask may be missing, whatever the
order they were written in; so a line is believed only if its checksum holds and every mask that it names lies there
with the checksum it states. What comes after the first line that isn't believed is done again.
"""

import fcntl
import hashlib
import json
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from aurora import __version__
from aurora.errors import AuroraError, InputError, OutputError
from aurora.kinds import Facts
from inference.output.folder import PART, OutputFolder
from inference.plan import Shard

JOURNAL = f".aurora-run{PART}"
FORMAT = 2


class Outcome(NamedTuple):
    """What became of a row.

    `record` is its entry in a JSON list; `mask` names the file that was written for it, `checksum` is that file's
    CRC-32. `unwritten` says why it has neither, `fallback` why its answer is only a neutral one. `confidence` and
    `facts` are those of `aurora.predict.predictions.PredictedRow`.
    """

    record: str | None = None
    mask: str | None = None
    checksum: int = 0
    unwritten: str | None = None
    fallback: str | None = None
    warnings: tuple[str, ...] = ()
    confidence: float | None = None
    facts: Facts = Facts()


def fingerprint(*facts: object) -> str:
    """A digest of whatever decides a run's answers."""
    return hashlib.sha256(repr((FORMAT, __version__, *map(str, facts))).encode()).hexdigest()


def shard_mark(mark: str, shard: Shard, rows: int) -> str:
    """The mark of one shard of a run, from which `read_shard` takes it apart."""
    return f"{mark} {shard} {rows}"


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """What the journal in the folder of a shard says: the fingerprint of the whole run, and how many rows it has."""

    folder: Path
    run: str
    shard: Shard
    rows: int

    def outcomes(self) -> Iterator[Outcome]:
        """What became of its rows, as far as the journal is whole."""
        with (self.folder / JOURNAL).open("rb") as file:
            file.readline()
            for line in file:
                batch = _parse(line)
                if batch is None:
                    return
                yield from batch


def read_shard(folder: Path) -> ShardRecord:
    """The record that a shard's run has left in its output folder; raises `InputError` if there is none."""
    try:
        with (folder / JOURNAL).open("rb") as file:
            run, shard, rows = file.readline().decode().split()
        return ShardRecord(folder, run, Shard.parse(shard), int(rows))
    except (OSError, ValueError, AuroraError):
        raise InputError(f"expected the output of 'inference run --shard' in {folder}, found none; run it") from None


class Journal:
    """The journal of a run; used as a context.

    At its end the file stays if there is something to resume or to merge: a batch, or a shard, and no `finish`.

    Args:
        folder: the run's output folder.
        mark: the run's fingerprint.
        resume: whether to go on from a journal with the same mark; otherwise a new one is begun.

    Raises:
        OutputError: the file can't be written, here or in a method.
    """

    def __init__(self, folder: OutputFolder, mark: str, resume: bool) -> None:
        self.folder, self.path = folder, folder.root / JOURNAL
        self.mark, self.resume = mark.encode() + b"\n", resume
        #: How many whole batches, and rows in them, the journal holds so far.
        self.batches = self.rows = 0
        self.batch: list[Outcome] = []

    def __enter__(self) -> Self:
        try:
            self.file = self._open()
        except OSError as error:
            self._drop_if_empty()
            raise self.folder.failure(error) from error
        return self

    def _open(self) -> BinaryIO:
        self.path.touch()
        file = self.path.open("r+b")
        self._lock(file)
        found = file.readline()
        if found:
            self.folder.sweep()
            if self.resume and found == self.mark:
                return file
            if self.resume and found.endswith(b"\n"):
                print("what is left in the output folder is of another run; this one begins anew", flush=True)
        self.folder.own(self.path)
        file.seek(0)
        file.truncate()
        file.write(self.mark)
        file.flush()
        return file

    def _lock(self, file: BinaryIO) -> None:
        """Keep other runs out until the file is closed; where the file system has no locks, nothing does."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise OutputError(
                f"another run is writing to {self.folder.root}; wait for it, or name another folder with --output"
            ) from None
        except OSError:
            pass

    def replay(self) -> Iterator[list[Outcome]]:
        """The outcomes of every batch that is believed; the rest is cut off once they are through."""
        end = self.file.tell()
        for line in iter(self.file.readline, b""):
            batch = _parse(line)
            if batch is None or not all(map(self._is_there, batch)):
                break
            end += len(line)
            self.batches += 1
            self.rows += len(batch)
            yield batch
        self.file.seek(end)
        self.file.truncate()

    def add(self, outcome: Outcome, last: bool) -> None:
        """Note the next row's outcome; those of a batch are written when its last one comes."""
        self.batch.append(outcome)
        if not last:
            return
        content = json.dumps(self.batch).encode()
        try:
            self.file.write(b"%08x %b\n" % (zlib.crc32(content), content))
            self.file.flush()
        except OSError as error:
            raise self.folder.failure(error) from error
        self.batches += 1
        self.rows += len(self.batch)
        self.batch.clear()

    def finish(self) -> None:
        """Remove the file: every row has its answer in its place."""
        self.path.unlink()

    def _is_there(self, outcome: Outcome) -> bool:
        if outcome.mask is None:
            return True
        try:
            return zlib.crc32((self.folder.root / outcome.mask).read_bytes()) == outcome.checksum
        except OSError:
            return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # a full disk has been reported already; half a line is not believed
            self.file.close()
        self._drop_if_empty()

    def _drop_if_empty(self) -> None:
        with suppress(FileNotFoundError):
            if self.path.stat().st_size <= len(self.mark) and b" " not in self.mark:
                self.path.unlink()


def _parse(line: bytes) -> list[Outcome] | None:
    """The batch in a line; None if the line isn't whole."""
    checksum, _, content = line.removesuffix(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(content):
        return None
    return [Outcome(*fields)._replace(facts=Facts(*fields[-1])) for fields in json.loads(content)]
