"""Compare `inference run` with another program for the same input: runs of both in turn, and their ratio."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aurora.errors import InputError, UsageError
from aurora.rows import Row, predicted_mask_path, read_rows
from aurora.runtime import files
from aurora.runtime.text import markdown_table, strict_json
from training.bench.bench import input_roots, machine, spread
from training.bench.runs import Subject, Usage, run_command, run_process

PLACEHOLDERS = ("{input}", "{output}")


@dataclass(frozen=True, slots=True)
class Side:
    """The measurements of one program.

    Attributes:
        command: as it was run, with placeholders.
        usages: one per round; the memory is that of the largest process.
        answered: the rows with a prediction in the last round.
        composite: the score of the last round's predictions; None if the input has no labels.
    """

    command: str
    usages: list[Usage]
    answered: int
    composite: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The measurements of both programs for `rows` rows of `data`, and the `weights` of ours."""

    machine: str
    weights: str
    data: str
    rows: int
    ours: Side
    theirs: Side

    @property
    def ratios(self) -> list[float]:
        """How many times as fast ours is, in each round."""
        pairs = zip(self.ours.usages, self.theirs.usages, strict=True)
        return [theirs.seconds / ours.seconds for ours, theirs in pairs]


def compare(
    subject: Subject,
    template: str,
    data: Path | None,
    size: int | None,
    repeats: int,
    report_progress: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Run ours and theirs `repeats` times in turn, each in a new process.

    Args:
        subject: ours.
        template: a shell command with `PLACEHOLDERS`, which reads an input root and writes a folder of predictions.
        data: an input folder; phantoms if None.
        size: number of rows, made from the images of `data`; None for `data` as it is.
        repeats: number of rounds.
        report_progress: called with one line after each run.

    Raises:
        UsageError: a placeholder is missing.
        DeviceError: a run failed.
    """
    if missing := [name for name in PLACEHOLDERS if name not in template]:
        raise UsageError(
            f"expected a command with {' and '.join(PLACEHOLDERS)}, found none of {', '.join(missing)} "
            f"in {template!r}; write where it gets the two folders"
        )
    with TemporaryDirectory() as folder:
        (root,) = input_roots(Path(folder), data, [size] if size else [])
        rows = list(read_rows(root).rows)
        usages: tuple[list[Usage], list[Usage]] = ([], [])
        for number in range(1, repeats + 1):
            outs = [Path(folder, f"{name}-{number}") for name in ("ours", "theirs")]
            commands = [run_command(subject, root, outs[0]), _shell(template, root, outs[1])]
            for name, command, taken in zip(("ours", "theirs"), commands, usages, strict=True):
                _, usage = run_process(command)
                taken.append(usage)
                report_progress(f"{number} of {repeats}: {name}, {len(rows)} rows in {usage.seconds:.1f} s")
        named = replace(subject, weights=Path(subject.weights.name))
        own = " ".join(["python", *run_command(named, *map(Path, PLACEHOLDERS))[1:]])
        ours, theirs = (
            Side(command, taken, answered(rows, out), _composite(root, out))
            for command, taken, out in zip((own, template), usages, outs, strict=True)
        )
    weights = f"{subject.weights.name}, SHA-256 {files.verify(subject.weights)[:12]}"
    return Comparison(machine(), weights, data.name if data else "phantoms", len(rows), ours, theirs)


def _shell(template: str, root: Path, out: Path) -> list[str]:
    for name, path in zip(PLACEHOLDERS, (root, out), strict=True):
        template = template.replace(name, shlex.quote(str(path.resolve())))
    return ["sh", "-c", template]


def answered(rows: Sequence[Row], out: Path) -> int:
    """Return the number of rows that have a prediction in the folder `out`: a mask file, or an entry of a JSON file."""
    from aurora.kinds import prediction_files
    from aurora.scoring.cases import read_predictions

    keys = {(row.task_id, row.image_path) for row in rows}
    entries = {
        task_type: read_predictions(out / name, keys, []) or {} for task_type, name in prediction_files().items()
    }
    return sum(
        (row.task_id, row.image_path) in entries[row.type] if row.type in entries else _has_mask(row, out)
        for row in rows
    )


def _has_mask(row: Row, out: Path) -> bool:
    try:
        return (out / predicted_mask_path(row)).is_file()
    except ValueError:
        return False


def _composite(root: Path, out: Path) -> float | None:
    from aurora.scoring.score import score

    try:
        return score(root, out).composite
    except InputError:  # nothing is labelled
        return None


def as_json(result: Comparison) -> dict[str, Any]:
    """Return every measurement, ready for JSON."""
    record = asdict(result)
    for name, side in (("ours", result.ours), ("theirs", result.theirs)):
        record[name]["usages"] = [usage._asdict() for usage in side.usages]
    return strict_json({**record, "ratios": result.ratios})


def as_text(result: Comparison) -> str:
    """Format a Markdown table of medians, with the smallest and the largest value in brackets."""
    columns = [list(_column(result, side)) for side in (result.ours, result.theirs)]
    rows = [[name, value, other] for (name, value), (_, other) in zip(*columns, strict=True)]
    rows.append(["ours is so many times as fast", spread(result.ratios, 1), ""])
    lines = [
        f"{result.machine}; {result.weights}",
        f"ours: {result.ours.command}",
        f"theirs: {result.theirs.command}",
        f"{result.data}; medians of {len(result.ratios)} in turn and, in brackets, smallest to largest",
        "",
    ]
    return "\n".join([*lines, *markdown_table([f"{result.rows} rows", "ours", "theirs"], rows, text_columns=1)])


def _column(result: Comparison, side: Side) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of each row of the table."""
    yield "rows/s, whole process", spread([result.rows / usage.seconds for usage in side.usages], 1)
    yield "time, s", spread([usage.seconds for usage in side.usages], 2)
    yield "processors used", spread([usage.processor_seconds / usage.seconds for usage in side.usages], 2)
    yield "peak memory of the largest process, MB", spread([usage.peak_memory / 1e6 for usage in side.usages])
    yield "rows with a prediction", str(side.answered)
    yield "composite", "-" if side.composite is None else f"{side.composite:.3f}"
