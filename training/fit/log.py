"""What a run tells of itself: a line and a table per epoch, a bar on a terminal, JSONL, TensorBoard and curves."""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from aurora.errors import OutputError

LOG = "log.jsonl"


class Log:
    """A run's records in its folder: `log.jsonl`, TensorBoard's event files and `curves.png`.

    Opened at step 0 it begins anew; opened at a later one it goes on, and what was recorded after that step, by a run
    that then lost it, is dropped. Raises `OutputError` when it can't write.
    """

    def __init__(self, out: Path, steps: int, step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.out, self.steps, self.bar = out, steps, None
        try:
            kept = _entries(out / LOG, step) if step else []
            beside = out / (LOG + ".part")
            beside.write_text("".join(json.dumps(entry) + "\n" for entry in kept), encoding="utf-8")
            os.replace(beside, out / LOG)
            self.file = (out / LOG).open("a", encoding="utf-8")
            self.board = SummaryWriter(out / "tensorboard", purge_step=step + 1 if step else None)
        except OSError as error:
            raise OutputError(f"can't write the log in {out} ({error.strerror}); name another folder") from error
        if sys.stdout.isatty():
            self.bar = _bar(steps, step)

    def write(self, **entry: Any) -> None:
        """Record one entry, which has a `step`: a JSON object in a line, and its numbers for TensorBoard."""
        try:
            self.file.write(json.dumps(entry) + "\n")
            self.file.flush()
            for name, value in _numbers(entry):
                self.board.add_scalar(name, value, entry["step"])
            self.board.flush()
        except OSError as error:
            raise OutputError(f"can't write the log in {self.out} ({error.strerror}); make room for it") from error

    def advance(self, step: int, loss: float) -> None:
        """Move the bar on a terminal."""
        if self.bar:
            self.bar.update(self.bar.task_ids[0], completed=step, loss=f"{loss:.3f}")

    def tell(self, text: str) -> None:
        """Show lines on the terminal, above the bar if there is one."""
        if self.bar:
            self.bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, flush=True)

    def close(self) -> None:
        """End the bar, write out what is pending, and draw `curves.png`."""
        pass  # MOVED

        if self.bar:
            self.bar.stop()
        with suppress(OSError):  # on a full disk the run has failed already, and says so
            self.file.close()
            self.board.close()
            draw_curves(self.out / LOG, self.out / "curves.png")


def epoch_line(entry: Mapping[str, Any], seconds_left: float) -> str:
    """One line on an epoch's record."""
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
    """A line per task: how often it was drawn, its moving loss, and its metrics if there was a validation."""
    width = max(len(name) for name in entry["losses"])
    lines = []
    for name, loss in entry["losses"].items():
        metrics = "  ".join(f"{key} {value:.3f}" for key, value in entry.get("tasks", {}).get(name, {}).items())
        lines.append(f"  {name:{width}}  drawn {entry['drawn'].get(name, 0):>6}  loss {loss:.3f}  {metrics}".rstrip())
    return "\n".join(lines)


def read_log(path: Path) -> list[dict[str, Any]]:
    """All entries of a `log.jsonl`; a last line that was cut is left out."""
    return _entries(path, None)


def _entries(path: Path, last_step: int | None) -> list[dict[str, Any]]:
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            break
        if last_step is None or entry["step"] <= last_step:
            entries.append(entry)
    return entries


def _numbers(entry: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """The numbers in an entry, named by their path: ("tasks/fetal_head/dsc", 0.9)."""
    found: list[tuple[str, float]] = []
    for key, value in entry.items():
        if isinstance(value, Mapping):
            found += _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and key != "step":
            found.append((prefix + key, value))
    return found


def _bar(steps: int, step: int) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(MofNCompleteColumn(), BarColumn(), TextColumn("loss {task.fields[loss]}"), TimeRemainingColumn())
    bar.add_task("steps", total=steps, completed=step, loss="-")
    bar.start()
    return bar


DASHES = ("-", "--", ":", "-.")


def draw_curves(log: Path, out: Path) -> None:
    """Draw a `log.jsonl` to a PNG file; a log without entries draws nothing."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pass  # MOVED

    entries = read_log(log)
    if not entries:
        return
    validated = [entry for entry in entries if "composite" in entry]
    styles = _styles(entries[-1]["losses"])
    figure = Figure(figsize=(14, 4.5 + 4.5 * bool(validated)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2 if validated else 1, 2, squeeze=False)
    steps = [entry["step"] for entry in entries]
    panels[0, 0].plot(steps, [entry["loss"] for entry in entries])
    panels[0, 0].set(title="loss", xlabel="step")
    for name, style in styles.items():
        panels[0, 1].plot(steps, [entry["losses"][name] for entry in entries], label=name, **style)
    panels[0, 1].set(title="moving loss per task", xlabel="step", yscale="log")
    if validated:
        steps = [entry["step"] for entry in validated]
        panels[1, 0].plot(steps, [entry["composite"] for entry in validated], marker=".")
        panels[1, 0].set(title="composite, validation", xlabel="step")
        for name in validated[-1]["tasks"]:
            values = [entry["tasks"].get(name, {}).get("composite") for entry in validated]
            panels[1, 1].plot(steps, values, marker=".", **styles[name])
        panels[1, 1].set(title="composite per task", xlabel="step")
    if styles:
        figure.legend(loc="outside right center", fontsize=8)
    beside = out.with_name(out.name + ".part")
    figure.savefig(beside, format="png", dpi=100)
    os.replace(beside, out)


def _styles(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """A line of its own for each of up to forty tasks, the same in every panel."""
    return {
        name: {"color": f"C{index % 10}", "linestyle": DASHES[index // 10 % len(DASHES)]}
        for index, name in enumerate(names)
    }
