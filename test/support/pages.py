"""The project's pages as tests read them: blocks of code, commands, links and headings."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *DOCS, ROOT / "weights" / "README.md"]

_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>\S[^\n]*) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`(python -m (?:inference|training) [^`]+)`")
_LINK = re.compile(r"\]\((?!\w+:)([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
# What the shell would replace: sums, variables, and the ends of lines that go on.
_SUM, _VARIABLE, _GOES_ON = re.compile(r"\$\(\(.*?\)\)"), re.compile(r"\$\{[^}]*\}|\$\w+"), re.compile(r"\\\n\s*")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; `reason` is that of a comment `<!-- not run: REASON -->` on the line above, if there is one."""

    language: str
    text: str
    reason: str | None


def blocks(page: Path, language: str) -> list[Block]:
    """The page's fenced blocks of one language, in order."""
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(*match.group("language", "text", "reason")) for match in found if match["language"] == language]


def commands(text: str) -> Iterator[list[str]]:
    """The words of each of our commands in shell code, from `inference` or `training` on, whatever starts it.

    What follows the image `aurora` in `docker run` are words for its entrypoint, `inference`.
    """
    for line in _GOES_ON.sub(" ", text).splitlines():
        lexer = shlex.shlex(_VARIABLE.sub("1", _SUM.sub("1", line)), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        for ends, group in groupby(lexer, key=lambda word: set(word) <= set("();<>|&")):
            words = [] if ends else list(group)
            for at, pair in enumerate(pairwise(words)):
                if pair in (("-m", "inference"), ("-m", "training")):
                    yield words[at + 1 :]
            if words[:2] == ["docker", "run"] and "aurora" in words and words[-1] != "aurora":
                yield ["inference", *words[words.index("aurora") + 1 :]]


def mentions(page: Path) -> list[str]:
    """The page's commands in running text, between backticks: they may leave out what a command requires."""
    return _SPAN.findall(_FENCED.sub("", page.read_text(encoding="utf-8")))


def links(page: Path) -> list[str]:
    """Where the page's links lead inside the project: `PATH`, `PATH#ANCHOR` or `#ANCHOR`."""
    return _LINK.findall(_FENCED.sub("", page.read_text(encoding="utf-8")))


def anchors(page: Path) -> set[str]:
    """What a link may name after `#`: the page's headings as GitHub writes them."""
    headings = _HEADING.findall(_FENCED.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
