"""The journal of a run goes on where its last whole line ends."""

from pathlib import Path

from inference.output.folder import OutputFolder
from inference.output.journal import JOURNAL, Journal, Outcome


def test_a_journal_goes_on_after_its_last_whole_line(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    for done, record, torn in (([], "a", b"1234abcd [[nu" * 99), (["a"], "b", b""), (["a", "b"], "c", b"")):
        with Journal(folder, "mark", resume=True) as journal:
            assert [outcome.record for batch in journal.replay() for outcome in batch] == done
            journal.add(Outcome(record), last=True)
        with (tmp_path / JOURNAL).open("ab") as file:
            file.write(torn)
    assert len((tmp_path / JOURNAL).read_bytes().splitlines()) == 4
