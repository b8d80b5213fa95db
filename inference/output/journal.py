"""The journal of a run: the batches finished so far, on disk, so that an interrupted run can be resumed.

The first line is a `RunHeader` as JSON. Each further line is a batch: the CRC-32 of the rest of the line, and the
outcomes of the batch's rows as JSON. The unit is a batch because the last bits of a prediction may depend on the rest
of its batch: a resumed run has the same batches as an undisturbed one.

The journal isn't synced to disk during the run. After a loss of power, any part of the journal and of the masks may be
missing, regardless of the order in which they were written. A line is therefore trusted only if its checksum matches
and every mask that it names exists with the checksum in the line. The run repeats everything after the first line that
isn't trusted.
"""

import fcntl
import hashlib
import json
import logging
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
FORMAT = 3

logger = logging.getLogger("aurora.inference")


class RowOutcome(NamedTuple):
    """The result of a row.

    `record` is its entry in a JSON list. `mask` is the name of its mask file and `checksum` the CRC-32 of that file.
    `unwritten` says why the row has neither, `fallback` why its prediction is a fallback. `confidence` and `facts` are
    those of `aurora.predict.predictions.PredictedRow`.
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
    """Return a digest of the facts that determine a run's predictions."""
    return hashlib.sha256(repr((FORMAT, __version__, *map(str, facts))).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class RunHeader:
    """The first line of a journal.

    `run` is the fingerprint of the whole run, `shard` the shard that this journal belongs to, if any, and `rows` the
    number of rows of the shard or of the run.
    """

    run: str
    shard: Shard | None
    rows: int

    def line(self) -> bytes:
        """Return the header as a line of JSON."""
        shard = None if self.shard is None else str(self.shard)
        return json.dumps({"run": self.run, "shard": shard, "rows": self.rows}).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read a header from its line; raise `ValueError` if the line isn't one."""
        try:
            fields = json.loads(line)
            shard = fields["shard"]
            return cls(fields["run"], None if shard is None else Shard.parse(shard), int(fields["rows"]))
        except (ValueError, TypeError, KeyError, AuroraError) as error:
            raise ValueError("not the first line of a journal") from error


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """A shard's output folder and its journal: the fingerprint of the whole run, and the shard's number of rows."""

    folder: Path
    run: str
    shard: Shard
    rows: int

    def outcomes(self) -> Iterator[RowOutcome]:
        """Yield the outcomes of the shard's rows, up to the first damaged line of the journal."""
        with (self.folder / JOURNAL).open("rb") as file:
            file.readline()
            for line in file:
                batch = _parse(line)
                if batch is None:
                    return
                yield from batch


def read_shard(folder: Path) -> ShardRecord:
    """Read the journal of a shard from its output folder; raise `InputError` if there is none."""
    try:
        with (folder / JOURNAL).open("rb") as file:
            header = RunHeader.parse(file.readline())
    except (OSError, ValueError):
        header = None
    if header is None or header.shard is None:
        raise InputError(f"expected the output of 'inference run --shard' in {folder}, found none; run it")
    return ShardRecord(folder, header.run, header.shard, header.rows)


class Journal:
    """The journal of a run; a context manager.

    On exit the file is kept if it holds a batch or belongs to a shard, unless `finish` was called.

    Args:
        folder: the run's output folder.
        header: identifies the run.
        resume: whether to continue a journal with the same header; otherwise a new one is started.

    Raises:
        OutputError: the file can't be written, here or in a method.
    """

    def __init__(self, folder: OutputFolder, header: RunHeader, resume: bool) -> None:
        self.folder, self.path = folder, folder.root / JOURNAL
        self.header, self.resume = header, resume
        #: The number of whole batches, and of rows in them, that the journal holds so far.
        self.batches = self.rows = 0
        self.batch: list[RowOutcome] = []

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
        first = file.readline()
        if first:
            self.folder.sweep()
            if self.resume and first == self.header.line():
                return file
            if self.resume and first.endswith(b"\n"):
                logger.info("the output folder holds an interrupted run with other settings; this run starts again")
        self.folder.give_to_owner(self.path)
        file.seek(0)
        file.truncate()
        file.write(self.header.line())
        file.flush()
        return file

    def _lock(self, file: BinaryIO) -> None:
        """Lock out other runs until the file is closed, if the file system supports locks."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise OutputError(
                f"another run is writing to {self.folder.root}; wait for it, or name another folder with --output"
            ) from None
        except OSError:
            pass

    def replay(self) -> Iterator[list[RowOutcome]]:
        """Yield the outcomes of every trusted batch, then cut off the rest of the file."""
        end = self.file.tell()
        for line in iter(self.file.readline, b""):
            batch = _parse(line)
            if batch is None or not all(map(self._is_intact, batch)):
                break
            end += len(line)
            self.batches += 1
            self.rows += len(batch)
            yield batch
        self.file.seek(end)
        self.file.truncate()

    def add(self, outcome: RowOutcome, last: bool) -> None:
        """Add the outcome of the next row; a batch is written with its `last` row."""
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
        """Remove the file, because every prediction has been written."""
        self.path.unlink()

    def _is_intact(self, outcome: RowOutcome) -> bool:
        if outcome.mask is None:
            return True
        try:
            return zlib.crc32((self.folder.root / outcome.mask).read_bytes()) == outcome.checksum
        except OSError:
            return False

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # a full disk has been reported, and half a line isn't trusted
            self.file.close()
        self._drop_if_empty()

    def _drop_if_empty(self) -> None:
        """Remove a journal without batches, unless it belongs to a shard, whose journal `merge` needs."""
        with suppress(FileNotFoundError):
            if self.header.shard is None and self.path.stat().st_size <= len(self.header.line()):
                self.path.unlink()


def _parse(line: bytes) -> list[RowOutcome] | None:
    """Return the batch in a line, or None if the line is damaged."""
    checksum, _, content = line.removesuffix(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(content):
        return None
    return [RowOutcome(*fields)._replace(facts=Facts(*fields[-1])) for fields in json.loads(content)]
