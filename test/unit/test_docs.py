"""Check the pages against the code: commands, flags, links, file names and tables."""

import re
from contextlib import suppress
from pathlib import Path

import click
import pytest
from support.commands import GROUPS, PAGE, commands_page
from support.pages import DOCS, PAGES, ROOT, anchors, blocks, commands, links, mentions

from aurora.errors import UsageError
from aurora.rows import box_label, class_label, points_label, read_rows
from aurora.tasks import TaskType
from training.config import load_config

COMMANDS = [(page.name, words) for page in PAGES for block in blocks(page, "sh") for words in commands(block.text)]
MENTIONS = [(page.name, words) for page in PAGES for span in mentions(page) for words in commands(span)]
LINKS = [(page, link) for page in PAGES for link in links(page)]
TABLES = [(page, block.text) for page in PAGES for block in blocks(page, "csv")]
LABELS = {
    TaskType.SEGMENTATION: lambda row: row.mask_path,
    TaskType.CLASSIFICATION: class_label,
    TaskType.DETECTION: box_label,
    TaskType.REGRESSION: points_label,
}
SOURCE = re.compile(r"\b(?:aurora|inference|training|test|deploy)/[\w/.-]+\.(?:py|yaml|sh)\b")
TYPE = re.compile(r"(?:==|!=|\bin) TaskType\.[A-Z]+\b|^ +TaskType\.[A-Z]+:", re.MULTILINE)


def named(value: object) -> str:
    """Return a parameter as shown in the name of a test."""
    if isinstance(value, Path):
        return str(value.relative_to(ROOT))
    return " ".join(value) if isinstance(value, list) else str(value).partition("\n")[0]


def parse(words: list[str]) -> None:
    """Parse a command line as the program does, without running it.

    Raises:
        click.UsageError, UsageError: an unknown command, flag or configuration key.
    """
    group, name, *rest = words
    if name not in GROUPS[group].commands:
        raise click.UsageError(f"python -m {group} has no command {name}")
    parent = click.Context(GROUPS[group], **GROUPS[group].context_settings)
    context = GROUPS[group].commands[name].make_context(name, rest, parent=parent)
    if "changes" in context.params:
        load_config(ROOT / context.params["config"], context.params["changes"])


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=named)
def test_the_program_takes_a_pages_command(page: str, words: list[str]) -> None:
    parse(words)


@pytest.mark.parametrize(("page", "words"), MENTIONS, ids=named)
def test_a_command_named_in_passing_exists_with_its_flags(page: str, words: list[str]) -> None:
    with suppress(click.MissingParameter):
        parse(words)


@pytest.mark.parametrize(
    "line",
    [
        "cd x && python3 -m inference run --input a --outptu b",
        "srun python -m inference run --input a --output b --shard auto --half",
        "docker run --rm aurora run --input a --output b --half",
        "python -m inference answer --input a",
        "python -m inference run --input a --output b --engine jax",
        ".venv/bin/python -m training fit --config training/configs/tiny.yaml --data a --out b step=3",
    ],
)
def test_a_wrong_command_is_detected(line: str) -> None:
    (words,) = commands(line)
    with pytest.raises((click.UsageError, UsageError)):
        parse(words)


@pytest.mark.skipif(not (ROOT / "README.md").is_file(), reason="README.md is not part of the image for development")
@pytest.mark.parametrize(("page", "link"), LINKS, ids=named)
def test_a_link_leads_to_a_file_and_a_heading(page: Path, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    assert target.exists()
    assert not anchor or anchor in anchors(target)


@pytest.mark.skipif(not (ROOT / "README.md").is_file(), reason="README.md is not part of the image for development")
@pytest.mark.parametrize("index", [ROOT / "README.md", ROOT / "docs" / "README.md"], ids=named)
def test_an_index_lists_every_page(index: Path) -> None:
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert set(DOCS) - {ROOT / "docs" / "README.md"} <= listed


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_source_files_that_a_page_names_exist(page: Path) -> None:
    files = set(SOURCE.findall(page.read_text(encoding="utf-8")))
    assert {file for file in files if not (ROOT / file).is_file()} == set()


@pytest.mark.parametrize(("page", "table"), TABLES, ids=named)
def test_a_pages_table_is_read_with_its_labels(page: Path, table: str, tmp_path: Path) -> None:
    (tmp_path / "csv_files").mkdir()
    (tmp_path / "csv_files" / "page.csv").write_text(table, encoding="utf-8")
    table_rows = read_rows(tmp_path)
    assert table_rows.problems == []
    assert [row.source for row in table_rows.rows if LABELS[row.type](row) is None] == []


@pytest.mark.parametrize("group", GROUPS)
def test_every_flag_has_the_variable_that_is_called_as_it_is(group: str) -> None:
    for command in GROUPS[group].commands.values():
        for option in (parameter for parameter in command.params if isinstance(parameter, click.Option)):
            flag = max(option.opts, key=len)
            variable = option.envvar or f"AURORA_{option.name}".upper()
            assert variable == "AURORA_" + flag.strip("-").replace("-", "_").upper()


def test_the_page_of_commands_is_up_to_date() -> None:
    expected = commands_page()
    assert PAGE.read_text(encoding="utf-8") == expected, "run PYTHONPATH=. python test/support/commands.py"


def test_the_page_on_extending_names_every_file_that_tells_types_apart() -> None:
    files = [path for folder in ("aurora", "inference", "training") for path in (ROOT / folder).rglob("*.py")]
    named_types = {str(path.relative_to(ROOT)) for path in files if TYPE.search(path.read_text(encoding="utf-8"))}
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    assert named_types - set(SOURCE.findall(page)) == set(), "add to the page what a new kind of task changes in them"
