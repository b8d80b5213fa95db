"""What a run says when it is done: a table per task, what fell back and why, and where things lie."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from inference.summary import EXAMPLES, Summary


def as_text(summary: Summary, output: Path, made: Mapping[str, Path], *, total: int, seconds: float) -> str:
    """The summary as lines; the last one says how many rows were answered, what is amiss, and where the answers are.

    `made` are other files that were written, by what they are.
    """
    width = max([len("task"), *map(len, summary.tasks)]) + 2
    lines = [f"{'task':<{width}}{'type':<16}{'rows':>7}{'fallbacks':>11}"]
    for name, count in summary.tasks.items():
        lines.append(f"{name:<{width}}{count.type:<16}{count.rows:>7}{count.fallbacks:>11}")
    for label in ("fallbacks", "unwritten", "warnings"):
        lines += _listed(label, getattr(summary, label), summary)
    lines += [f"{what}: {path}" for what, path in made.items()]
    fallbacks = summary.fallbacks.total()
    lines.append(
        f"answered {summary.rows} of {total} rows"
        + (f", {fallbacks} of them by a fallback" if fallbacks else "")
        + ("" if summary.complete else ", and left out what the warnings name")
        + f" in {seconds:.1f} s ({summary.rows / max(seconds, 1e-9):.0f} rows/s); answers: {output}"
    )
    return "\n".join(lines)


def _listed(label: str, counted: Counter[str], summary: Summary) -> Iterator[str]:
    for text, count in counted.most_common():
        places = ", ".join(summary.examples[text])
        more = ", ..." if count > EXAMPLES else ""
        yield f"{label} ({count}): {text} [{places}{more}]"
