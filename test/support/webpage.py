"""Reads a page as a strict browser would: what is open must be closed, and what is named must be there."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "link", "img", "br"}


@dataclass
class Page(HTMLParser):
    """The page's `text`, the values of its attributes by name, and `wrong`: each fault in a sentence."""

    text: str = ""
    attributes: dict[str, list[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value or "")
        if tag == "script":
            self.wrong.append("there is a script")
        if tag == "img" and not dict(attrs).get("alt"):
            self.wrong.append("a picture has no words")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        self.text += data


def read_page(path: Path) -> Page:
    """The page in a file; `wrong` also names what it would request, and links and labels that lead nowhere."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    page.wrong += [f"<{tag}> stays open" for tag in page.open]
    ids = page.attributes.get("id", [])
    page.wrong += [f"#{name} is there twice" for name in set(ids) if ids.count(name) > 1]
    page.wrong += [f"#{name} isn't there" for name in page.attributes.get("aria-labelledby", []) if name not in ids]
    for link in [*page.attributes.get("href", []), *page.attributes.get("src", [])]:
        if not link.startswith("data:") and link.removeprefix("#") not in ids:
            page.wrong.append(f"{link!r} leads out of the page or nowhere")
    page.wrong += [f"{name}= would run" for name in page.attributes if name.startswith("on")]
    return page
