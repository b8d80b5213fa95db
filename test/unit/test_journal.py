"""The journal of a run continues after its last whole line, and says which run it belongs to."""

import json
from pathlib import Path

import pytest

from aurora.errors import InputError
from inference.output.folder import OutputFolder
from inference.output.journal import JOURNAL, Journal, RowOutcome, RunHeader, read_shard
from inference.plan import Shard


def test_a_journal_continues_after_its_last_whole_line(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    for done, record, torn in (([], "a", b"1234abcd [[nu" * 99), (["a"], "b", b""), (["a", "b"], "c", b"")):
        with Journal(folder, RunHeader("run", None, 3), resume=True) as journal:
            assert [outcome.record for batch in journal.replay() for outcome in batch] == done
            journal.add(RowOutcome(record), last=True)
        with (tmp_path / JOURNAL).open("ab") as file:
            file.write(torn)
    assert len((tmp_path / JOURNAL).read_bytes().splitlines()) == 4


@pytest.mark.parametrize("shard", [None, Shard(2, 7)])
def test_the_first_line_is_json_and_is_read_back(shard: Shard | None) -> None:
    header = RunHeader("abc", shard, 30)
    assert json.loads(header.line()) == {"run": "abc", "shard": shard and "2/7", "rows": 30}
    assert RunHeader.parse(header.line()) == header


def test_an_empty_journal_stays_only_for_a_shard(tmp_path: Path) -> None:
    for shard in (None, Shard(2, 7)):
        with Journal(OutputFolder(tmp_path), RunHeader("run", shard, 0), resume=False):
            pass
        assert (tmp_path / JOURNAL).exists() == (shard is not None)
    assert (read_shard(tmp_path).shard, read_shard(tmp_path).rows) == (Shard(2, 7), 0)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"abc 2/7 30\n",
        b"[]\n",
        b"1\n",
        b'{"run": "abc"}\n',
        b'{"run": "abc", "shard": null, "rows": 3}\n',
        b'{"run": "abc", "shard": "7/2", "rows": 3}\n',
        b'{"run": "abc", "shard": 2, "rows": 3}\n',
        b'{"run": "abc", "shard": "2/7", "rows": null}\n',
        b"\xff\n",
    ],
)
def test_a_folder_without_a_shards_journal_is_named(tmp_path: Path, line: bytes) -> None:
    (tmp_path / JOURNAL).write_bytes(line)
    with pytest.raises(InputError, match="expected the output of 'inference run --shard'"):
        read_shard(tmp_path)
