"""Count what is unusual or left out, text by text, with a few of the places where it was found."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

#: The places that are named for each text; the others are only counted.
EXAMPLES = 5
#: The most different texts that are counted separately; nobody would read more.
TEXTS = 200
OTHERS = f"other texts than the {TEXTS} listed"


@dataclass(slots=True)
class Notes:
    """Counts of texts, each with its first places."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.counts)

    def add(self, text: str, place: str) -> None:
        """Count a text once more."""
        if text not in self.counts and len(self.counts) >= TEXTS:
            text = OTHERS
        self.counts[text] += 1
        places = self.examples.setdefault(text, [])
        if len(places) < EXAMPLES:
            places.append(place)

    def total(self) -> int:
        """Return the number of texts added."""
        return self.counts.total()

    def lines(self, label: str) -> Iterator[str]:
        """Yield one line per text, the most frequent first: the label, the count, the text and its first places.

        Example:
            >>> notes = Notes()
            >>> notes.add("is empty", "a.csv:2")
            >>> list(notes.lines("warnings"))
            ['warnings (1): is empty [a.csv:2]']
        """
        for text, count in self.counts.most_common():
            more = ", ..." if count > EXAMPLES else ""
            yield f"{label} ({count}): {text} [{', '.join(self.examples[text])}{more}]"

    def records(self) -> list[dict[str, Any]]:
        """Return the `text`, the count in `rows` and the `examples` of each text, the most frequent first, for JSON."""
        return [
            {"text": text, "rows": count, "examples": self.examples[text]} for text, count in self.counts.most_common()
        ]


@dataclass(frozen=True, slots=True)
class Findings:
    """What was left out of a data set, and what was changed or needs a look, counted by kind."""

    left_out: Notes = field(default_factory=Notes)
    noted: Notes = field(default_factory=Notes)

    def lines(self) -> list[str]:
        """Return one line per kind."""
        return [*self.left_out.lines("left out"), *self.noted.lines("note")]
