"""Every fault of docs/faults.md, reproduced: the run ends with the exit code and the output on the page."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.catalogue import images, labels, masks, outputs, runs, tables, weights  # noqa: F401  each enters its faults
from faults.catalogue.bench import FAULTS, Bench, Ended

from inference.check.check import check

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
ROW = re.compile(r"^\| (?P<name>[^|]+?) \| (?P<code>\d+) \| (?P<said>.*) \|$", re.MULTILINE)
SHARED_MASK = "another row names the same mask"


def line_of_page(name: str, code: int, said: list[str]) -> str:
    """Return the line of a fault in its table."""
    return f"| {name} | {code} | {'<br>'.join(f'`{line}`' for line in said) or 'nothing'} |"


def lines_of_page() -> dict[str, str]:
    return {match["name"]: match[0] for match in ROW.finditer(PAGE.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_as_its_line_of_the_page_says(
    name: str,
    bench: Bench,
    record_property: Callable[[str, object], None],
) -> None:
    ended = FAULTS[name].make(bench)
    assert "Traceback" not in ended.err
    if ended.code in (0, 10):
        assert_every_row_is_predicted(bench, ended)
    if FAULTS[name].section == images.SECTION and name != "a file that the user may not read":  # now it may
        assert_check_names_the_same(bench, ended)
    if FAULTS[name].section == labels.SECTION and "merge_masks" not in name:
        assert check(bench.root).exit_code == ended.code
    record_property("fault", "survived" if ended.code in (0, 10, 143) else "refused")
    assert line_of_page(name, ended.code, ended.said) == lines_of_page().get(name)


def assert_check_names_the_same(bench: Bench, ended: Ended) -> None:
    """Check that `check` says of the images and rows what their run has said, with the same counts."""
    report = check(bench.root)
    of_rows = [f"warnings (1): {problem.message} [{problem.source}]" for problem in report.problems]
    lines = [*report.reasons.lines("fallbacks"), *of_rows, *report.warnings.lines("warnings")]
    assert [line.replace(str(bench.root), "/input") for line in lines] == ended.said


def assert_every_row_is_predicted(bench: Bench, ended: Ended) -> None:
    """Check that every row has a prediction, unless its mask can't be written, and that the output counts them."""
    found = re.search(r"^predicted (\d+) of (\d+) rows", ended.out, re.MULTILINE)
    if not found:  # the log was lost, and the fault has counted them itself
        return
    unwritten = re.findall(r"^unwritten \((\d+)\)", ended.out, re.MULTILINE)
    shared = re.findall(rf"^warnings \((\d+)\): {SHARED_MASK}", ended.out, re.MULTILINE)
    assert int(found[1]) + sum(map(int, unwritten)) == int(found[2])
    assert bench.predictions() + sum(map(int, shared)) == int(found[1])


def test_the_page_has_every_fault_under_its_section_and_no_other() -> None:
    text = PAGE.read_text(encoding="utf-8")
    sections = {part.splitlines()[0]: ROW.findall(part) for part in text.split("\n## ")[1:]}
    page = {name: section for section, rows in sections.items() for name, *_ in rows}
    assert page == {name: fault.section for name, fault in FAULTS.items()}
