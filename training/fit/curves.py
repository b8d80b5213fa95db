"""A run's log as pictures of its loss, its composite and its tasks over the steps."""

import os
from pathlib import Path


def draw_curves(log: Path, out: Path) -> None:
    """Draw a `log.jsonl` to a PNG file; a log without entries draws nothing."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from training.fit.log import read_log

    entries = read_log(log)
    if not entries:
        return
    validated = [entry for entry in entries if "composite" in entry]
    figure = Figure(figsize=(12, 4 + 4 * bool(validated)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2 if validated else 1, 2, squeeze=False)
    steps = [entry["step"] for entry in entries]
    panels[0, 0].plot(steps, [entry["loss"] for entry in entries])
    panels[0, 0].set(title="loss", xlabel="step")
    for name in entries[-1]["losses"]:
        panels[0, 1].plot(steps, [entry["losses"][name] for entry in entries], label=name)
    panels[0, 1].set(title="moving loss per task", xlabel="step", yscale="log")
    if validated:
        steps = [entry["step"] for entry in validated]
        panels[1, 0].plot(steps, [entry["composite"] for entry in validated], marker=".")
        panels[1, 0].set(title="composite, validation", xlabel="step")
        for name in validated[-1]["tasks"]:
            values = [entry["tasks"][name]["composite"] for entry in validated]
            panels[1, 1].plot(steps, values, marker=".", label=name)
        panels[1, 1].set(title="composite per task", xlabel="step")
    if entries[-1]["losses"]:
        panels[0, 1].legend(fontsize=5, ncols=2)
    beside = out.with_name(out.name + ".part")
    figure.savefig(beside, format="png", dpi=110)
    os.replace(beside, out)
