"""Scores as a table in Markdown: each row's mean over the seeds, how far they lie apart, and what the change costs."""

from collections.abc import Sequence
from statistics import fmean

from aurora.tasks import TaskType
from training.ablation.rows import DEFAULT, ROWS
from training.ablation.study import Score


def as_markdown(scores: Sequence[Score]) -> str:
    """One line per row that `scores` holds, the default among them, in the order of `ROWS`.

    Of the composite: the mean over the seeds, the smallest and the largest, and the mean difference to the default
    with the same seed; of each type the mean.
    """
    by_row = {name: [score for score in scores if score.row == name] for name in ROWS}
    default = {score.seed: score.composite for score in by_row[DEFAULT]}
    kinds = [kind for kind in TaskType if kind in by_row[DEFAULT][0].types]
    head = ["row", "what is changed", "composite", "[least, most]", "against the default", *kinds, "images/s"]
    lines = [head, ["---", "---", *["---:"] * (len(head) - 2)]]
    for name, found in by_row.items():
        if found:
            values = [score.composite for score in found]
            against = fmean(score.composite - default[score.seed] for score in found)
            speeds = [score.images_per_second for score in found if score.images_per_second is not None]
            lines.append(
                [
                    f"`{name}`",
                    ROWS[name].what,
                    f"{fmean(values):.3f}",
                    f"[{min(values):.3f}, {max(values):.3f}]",
                    "" if name == DEFAULT else f"{against:+.3f}",
                    *(f"{fmean(score.types[kind] for score in found):.3f}" for kind in kinds),
                    f"{fmean(speeds):.0f}" if speeds else "",
                ]
            )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
