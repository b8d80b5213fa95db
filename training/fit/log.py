"""Record a training run: progress messages, `log.jsonl`, TensorBoard's event files and `curves.png`."""

import json
import logging
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from aurora.errors import OutputError
from aurora.runtime import files
from aurora.runtime.text import dump_json
from aurora.runtime.write_errors import write_error

logger = logging.getLogger("aurora.training")

LOG, CURVES = "log.jsonl", "curves.png"
DASHES = ("-", "--", ":", "-.")


class Log:
    """A run's records in its folder: `log.jsonl`, TensorBoard's event files and `curves.png`.

    Args:
        out: the run's folder.
        steps: the number of steps of the whole run.
        step: the last step before the first record; records of later steps, left by a stopped run, are removed.

    Raises:
        OutputError: a record can't be written.
    """

    def __init__(self, out: Path, steps: int, step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.out, self.steps, self.bar = out, steps, None
        entries = [entry for entry in read_log(out / LOG) if entry["step"] <= step] if step else []
        with files.replacing(out / LOG) as tmp:
            tmp.write_text("".join(dump_json(entry) + "\n" for entry in entries), encoding="utf-8")
        try:
            self.file = (out / LOG).open("a", encoding="utf-8")
            self.board = SummaryWriter(out / "tensorboard", purge_step=step + 1 if step else None)
        except OSError as error:
            raise write_error(out / LOG, error, "name another folder with --out") from error
        if sys.stdout.isatty():
            self.bar = _bar(steps, step)

    def write(self, **entry: Any) -> None:
        """Record one entry, which has a `step`, as a line of JSON, and its numbers for TensorBoard."""
        try:
            self.file.write(dump_json(entry) + "\n")
            self.file.flush()
            for name, value in _numbers(entry):
                self.board.add_scalar(name, value, entry["step"])
            self.board.flush()
        except OSError as error:
            raise write_error(self.out / LOG, error, "name another folder with --out") from error

    def advance(self, step: int, loss: float) -> None:
        """Update the progress bar, which is shown on a terminal only."""
        if self.bar:
            self.bar.update(self.bar.task_ids[0], completed=step, loss=f"{loss:.3f}")

    def close(self) -> None:
        """Stop the progress bar, flush the files and draw `curves.png`."""
        if self.bar:
            self.bar.stop()
        with suppress(OSError, OutputError):  # if the disk is full, the run has already failed with that message
            self.file.close()
            self.board.close()
            draw_curves(self.out / LOG, self.out / CURVES)


def epoch_line(entry: Mapping[str, Any], seconds_left: float) -> str:
    """Summarize an epoch's record in one line."""
    parts = [f"epoch {entry['epoch']}", f"step {entry['step']}", f"loss {entry['loss']:.3f}"]
    if "composite" in entry:
        parts.append(f"composite {entry['composite']:.3f} (best {entry['best']:.3f})")
    parts.append(f"{entry['images_per_second']:.1f} images/s")
    parts.append(f"waiting {entry['waiting']:.1%}")
    parts.append(f"{entry['memory_mb']:,.0f} MB")
    minutes = seconds_left / 60
    parts.append(f"{minutes / 60:.1f} h left" if minutes >= 100 else f"{minutes:.0f} min left")
    return "  ".join(parts)


def task_table(entry: Mapping[str, Any]) -> str:
    """Format a line per task: its samples, its moving loss, and its metrics if there was a validation."""
    width = max(len(name) for name in entry["losses"])
    lines = []
    for name, loss in entry["losses"].items():
        metrics = "  ".join(f"{key} {value:.3f}" for key, value in entry.get("tasks", {}).get(name, {}).items())
        lines.append(f"  {name:{width}}  drawn {entry['drawn'].get(name, 0):>6}  loss {loss:.3f}  {metrics}".rstrip())
    return "\n".join(lines)


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a `log.jsonl` up to the first incomplete line; an empty list if there is no file."""
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries


def _numbers(entry: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """Return the numbers in an entry, named by their path: ("tasks/fetal_head/dsc", 0.9)."""
    numbers: list[tuple[str, float]] = []
    for key, value in entry.items():
        if isinstance(value, Mapping):
            numbers += _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and key != "step":
            numbers.append((prefix + key, value))
    return numbers


def _bar(steps: int, step: int) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    # rich prints all other output to stdout above the bar.
    bar = Progress(MofNCompleteColumn(), BarColumn(), TextColumn("loss {task.fields[loss]}"), TimeRemainingColumn())
    bar.add_task("steps", total=steps, completed=step, loss="-")
    bar.start()
    return bar


def draw_curves(log: Path, out: Path) -> None:
    """Plot a `log.jsonl` to a PNG file; a log without entries gives no file.

    Raises:
        OutputError: `out` can't be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    entries = read_log(log)
    if not entries:
        return
    validated = [entry for entry in entries if "composite" in entry]
    styles = _line_styles(entries[-1]["losses"])
    figure = Figure(figsize=(14, 4.5 + 4.5 * bool(validated)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2 if validated else 1, 2, squeeze=False)
    steps = [entry["step"] for entry in entries]
    panels[0, 0].plot(steps, _values(entries, "loss"))
    panels[0, 0].set(title="loss", xlabel="step")
    for name, style in styles.items():
        panels[0, 1].plot(steps, _values(entries, "losses", name), label=name, **style)
    panels[0, 1].set(title="moving loss per task", xlabel="step", yscale="log")
    if validated:
        steps = [entry["step"] for entry in validated]
        panels[1, 0].plot(steps, _values(validated, "composite"), marker=".")
        panels[1, 0].set(title="composite, validation", xlabel="step")
        for name in validated[-1]["tasks"]:
            panels[1, 1].plot(steps, _values(validated, "tasks", name, "composite"), marker=".", **styles[name])
        panels[1, 1].set(title="composite per task", xlabel="step")
    if styles:
        figure.legend(loc="outside right center", fontsize=8)
    with files.replacing(out) as tmp:
        figure.savefig(tmp, format="png", dpi=100)


def _values(entries: Iterable[Mapping[str, Any]], *path: str) -> list[float]:
    """Return the number at a path of keys in each entry, NaN where there is none."""
    values = []
    for entry in entries:
        value: Any = entry
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        values.append(float("nan") if value is None else value)
    return values


def _line_styles(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return distinct styles for up to forty tasks, the same in every panel."""
    return {
        name: {"color": f"C{index % 10}", "linestyle": DASHES[index // 10 % len(DASHES)]}
        for index, name in enumerate(names)
    }
