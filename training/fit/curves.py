"""A run's log as pictures of its loss, its composite and its tasks over the steps."""

import os
from collections.abc import Iterable
from pathlib import Path

DASHES = ("-", "--", ":", "-.")


def draw_curves(log: Path, out: Path) -> None:
    """Draw a `log.jsonl` to a PNG file; a log without entries draws nothing."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from training.fit.log import read_log

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
