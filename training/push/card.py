"""The model card: the hub's metadata, and what a reader should know before using the weights."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from aurora.engine.hub import CHECKPOINT, EXPORT
from aurora.kinds import KINDS
from aurora.model.checkpoint import Spec
from aurora.runtime.files import CHECKSUMS
from aurora.runtime.hub import PREFIX
from aurora.runtime.text import markdown_table
from aurora.scoring.metrics import display_names
from aurora.scoring.score import number
from aurora.tasks import Task, TaskType
from training.push.scores import Ends, Scores, TaskScores

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

LIBRARY = "aurora-ultrasound"


class Publication(NamedTuple):
    """What a user says about weights that are published.

    Attributes:
        repository: the name on the hub, ORG/NAME.
        license: the hub's name of the licence, such as cc-by-4.0.
        datasets: the hub's names of the training data.
        scores: the scores for the model card; None for none.
    """

    repository: str
    license: str
    datasets: tuple[str, ...] = ()
    scores: Scores | None = None


def model_card(publication: Publication, spec: Spec) -> str:
    """Return the text of README.md: a YAML block for the hub, then Markdown."""
    return "\n".join(["---", _metadata(publication, spec), "---", "", *_body(publication, spec), ""])


def _metadata(publication: Publication, spec: Spec) -> str:
    """Return the hub's metadata as YAML, with a result in `model-index` for every metric of every task."""
    from huggingface_hub import ModelCardData

    hub_tasks = sorted({KINDS[task.type].HUB_TASK for task in spec.tasks.values()})
    scores = publication.scores
    data = ModelCardData(
        license=publication.license,
        library_name=LIBRARY,
        pipeline_tag=hub_tasks[0] if len(hub_tasks) == 1 else None,
        tags=["ultrasound", "medical", *hub_tasks],
        datasets=list(publication.datasets) or None,
        model_name=publication.repository.partition("/")[2] if scores else None,
        eval_results=[result for task in scores.tasks for result in _results(task)] if scores else None,
    )
    return data.to_yaml().rstrip()


def _results(task: TaskScores) -> Iterator["EvalResult"]:
    """Yield the task's metrics that are defined; a task's data has no other name than the task's."""
    from huggingface_hub import EvalResult

    for name, shown in _metrics(task):
        yield EvalResult(
            task_type=KINDS[TaskType(task.type)].HUB_TASK,
            dataset_type=task.task_id,
            dataset_name=task.task_id,
            metric_type=name,
            metric_name=shown,
            metric_value=round(task.metrics[name], 4),
        )


def _metrics(task: TaskScores) -> Iterator[tuple[str, str]]:
    """Yield name and title of the task's metrics that are defined, in the order of the tables."""
    for name, shown in display_names().items():
        if not math.isnan(task.metrics.get(name, math.nan)):
            yield name, shown


def _body(publication: Publication, spec: Spec) -> Iterator[str]:
    name = publication.repository.partition("/")[2]
    tasks = "one ultrasound task" if len(spec.tasks) == 1 else f"{len(spec.tasks)} ultrasound tasks"
    yield from (f"# {name}", "", f"AURORA weights for {tasks}. **Research use only, not for clinical use.**", "")
    yield f"After `pip install '{LIBRARY}[hub,onnx]'`:"
    yield ""
    yield from ("```python", "import aurora", "")
    yield f'model = aurora.load("{PREFIX}{publication.repository}")  # revision="COMMIT" keeps these weights'
    yield f'print(model.predict("image.png", "{next(iter(spec.tasks))}").answer)'
    yield from ("```", "", "## Tasks", "")
    yield from markdown_table(["task", "type", "classes", "trained on"], map(_task_cells, spec.tasks.values()))
    yield from ("", "## Model", "")
    yield from markdown_table(["", ""], _model_cells(spec))
    if publication.scores:
        yield from ("", "## Scores", "")
        yield from _scores(publication.scores)
    yield from ("", "## Files", "")
    yield from markdown_table(["file", "contents"], _FILES.items())


_FILES = {
    f"`{CHECKPOINT}`": "the checkpoint in float16; its metadata holds configuration, tasks and provenance",
    f"`{EXPORT}`": "its ONNX export, which runs without PyTorch",
    f"`{CHECKSUMS}`": "the checksums of both, verified before use",
    "`config.json`": "a description for readers, made from the checkpoint",
}


def _task_cells(task: Task) -> list[str]:
    classes = ", ".join(task.names) or str(task.num_classes)
    return [_cell(text) for text in (task.id, task.type, classes, task.trained_on)]


def _model_cells(spec: Spec) -> Iterator[list[str]]:
    """Yield what the checkpoint says about network and training; a converted or imported one may say less."""
    config, provenance = spec.config, spec.provenance
    height, width = config.image_size
    yield ["input", f"{width} x {height} pixels"]
    encoder = config.encoder
    yield ["encoder", f"Qwen3-VL vision tower, depth {encoder.depth}, width {encoder.hidden_size}"]
    if config.stem:
        yield ["stem", config.stem]
    for key, title in (("data", "data folders"), ("step", "training steps"), ("version", "AURORA version")):
        if key in provenance:
            value = provenance[key]
            yield [title, _cell(", ".join(map(str, value)) if isinstance(value, list) else str(value))]


def _scores(scores: Scores) -> Iterator[str]:
    rows = [
        [
            _cell(task.task_id),
            str(task.predicted),
            ", ".join(f"{shown} {number(name, task.metrics[name])}" for name, shown in _metrics(task)),
            _with_ends(task.composite, task.intervals["composite"]),
        ]
        for task in scores.tasks
    ]
    rows.append(["**composite**", "", "", _with_ends(scores.composite, scores.interval)])
    yield from markdown_table(["task", "cases", "metrics", "composite [95 % interval]"], rows)
    yield ""
    yield "The intervals are bootstrap percentiles over the cases (`python -m training evaluate`)."


def _with_ends(value: float, ends: Ends) -> str:
    low, high = (number("composite", end) for end in (ends.low, ends.high))
    return f"{number('composite', value)} [{low}, {high}]"


def _cell(text: str) -> str:
    """Return text as a table's cell can hold it."""
    return " ".join(text.replace("|", "\\|").split())
