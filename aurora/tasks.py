"""The task registry: the type and size of each task, and its channels in the model's output."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import ClassVar, NamedTuple


class TaskType(str):
    """The name of a task type, as the challenge writes it in its `task_name` column.

    The constants are the four types of the challenge. Another type is any name that is registered in `TYPES`.

    Example:
        >>> TaskType("segmentation") == TaskType.SEGMENTATION
        True
    """

    __slots__ = ()
    SEGMENTATION: ClassVar["TaskType"]
    CLASSIFICATION: ClassVar["TaskType"]
    DETECTION: ClassVar["TaskType"]
    REGRESSION: ClassVar["TaskType"]


TaskType.SEGMENTATION = TaskType("segmentation")
TaskType.CLASSIFICATION = TaskType("classification")
TaskType.DETECTION = TaskType("detection")
TaskType.REGRESSION = TaskType("Regression")

# One channel for the objectness, and one for the distance to each side of the box.
DETECTION_CHANNELS = 5


#: Not a type of task, but the name of the output (B,) beside those of the types that says how unlike the training
#: images each image is; above 1, it is unlike them. Only some models have it.
NOVELTY = TaskType("novelty")


@dataclass(frozen=True, slots=True)
class TypeFacts:
    """The properties of a task type that rows and checkpoints need, without the libraries of its kind.

    `default_count` is the number of classes or points of a row that states none. `counts_classes` says whether
    `num_classes` decides the length of a prediction. `channels` is the number of output channels of a task, None if it
    is `num_classes`. `label_column` is a pattern of the names of the CSV columns that hold a label. `sided` says
    whether mirroring an image changes its label, unless the task states otherwise.
    """

    default_count: int
    counts_classes: bool = True
    channels: int | None = None
    label_column: str = ""
    sided: bool = False


#: The known task types in the order of tables.
TYPES: dict[TaskType, TypeFacts] = {
    TaskType.SEGMENTATION: TypeFacts(default_count=2),
    TaskType.CLASSIFICATION: TypeFacts(default_count=2, label_column="mask"),
    TaskType.DETECTION: TypeFacts(
        default_count=1, counts_classes=False, channels=DETECTION_CHANNELS, label_column="[xy]_(min|max)"
    ),
    # Points are named by their position in the image, so a mirrored image needs another order.
    TaskType.REGRESSION: TypeFacts(default_count=2, label_column=r"point_\d+_xy", sided=True),
}


class Derivation(NamedTuple):
    """How a task is predicted from the mask of the task `source`: by a `rule` in `DERIVATIONS` of its kind."""

    rule: str
    source: str


@dataclass(frozen=True, slots=True)
class Task:
    """One task of the registry.

    `num_classes` is the challenge's number: classes with background (segmentation), classes (classification), 1
    (detection), landmarks (Regression). `left_right` says that mirroring an image changes its label; the images of such
    a task are never mirrored in training. `alias` is the id of another task of the same type and size, whose output
    channels predict this one as well; None for a task with channels of its own. `refinements` names the steps, in
    `REFINEMENTS` of its kind, that every prediction passes. `derivation` says which task's mask gives the prediction;
    its own channels are used where that mask is empty. `mirrored` says that the model also sees the mirrored image; the
    mean of both outputs, the second one mirrored back, gives the prediction. `calibration` holds points (raw
    confidence, expected score) of an increasing curve, linear between the points; empty for confidences that are used
    as they are. `names` tells a reader what the classes (of a mask with the background), the detected object or the
    landmarks are, in order, or is empty; `trained_on` tells what the channels have seen.
    """

    id: str
    type: TaskType
    num_classes: int
    left_right: bool = False
    alias: str | None = None
    refinements: tuple[str, ...] = ()
    derivation: Derivation | None = None
    mirrored: bool = False
    calibration: tuple[tuple[float, float], ...] = ()
    names: tuple[str, ...] = field(default=(), compare=False)
    trained_on: str = field(default="", compare=False)

    @property
    def channels(self) -> int:
        """The number of channels of the model's last layer that belong to this task."""
        return TYPES[self.type].channels or self.num_classes

    def name_of(self, number: int) -> str:
        """Return the name of a class, or "class N" if it has none."""
        return self.names[number] if number < len(self.names) else f"class {number}"


Registry = Mapping[str, Task]


def registry(tasks: Iterable[Task]) -> dict[str, Task]:
    """Return tasks by id, in the order given.

    Raises:
        ValueError: an id occurs twice, an alias doesn't name a task of the same type and size with its own channels, a
            derivation doesn't name a segmentation task, or the names aren't as many as the classes or points.
    """
    by_id: dict[str, Task] = {}
    for task in tasks:
        if by_id.setdefault(task.id, task) != task:
            raise ValueError(f"task {task.id!r} is defined twice, as {by_id[task.id]} and as {task}")
    for task in by_id.values():
        if len(task.names) not in (0, task.num_classes):
            raise ValueError(f"names of {task.id!r}: expected {task.num_classes}, found {len(task.names)}")
        if task.alias is not None:
            _check_alias(task, by_id.get(task.alias))
        if task.derivation is not None:
            source = by_id.get(task.derivation.source)
            if source is None or source.type != TaskType.SEGMENTATION:
                raise ValueError(
                    f"derivation of {task.id!r}: expected a segmentation task, found {task.derivation.source!r}"
                )
    return by_id


def _check_alias(task: Task, other: Task | None) -> None:
    if other is None or other.alias is not None or (other.type, other.num_classes) != (task.type, task.num_classes):
        actual = "none" if other is None else f"{other.type} with {other.num_classes}, alias {other.alias}"
        raise ValueError(
            f"alias of {task.id!r}: expected a {task.type} task {task.alias!r} with {task.num_classes} classes or "
            f"points and its own channels, found {actual}"
        )


def of_type(tasks: Registry, task_type: TaskType) -> list[Task]:
    """Return the tasks of one type that have output channels of their own, in registry order."""
    return [task for task in tasks.values() if task.type == task_type and task.alias is None]


def channel_slices(tasks: Registry, task_type: TaskType) -> dict[str, slice]:
    """Return the channels of each task in the output of its type's head, by task id; an alias has those of its task."""
    slices, start = {}, 0
    for task in of_type(tasks, task_type):
        slices[task.id] = slice(start, start + task.channels)
        start += task.channels
    aliases = {task.id: task.alias for task in tasks.values() if task.type == task_type and task.alias is not None}
    return slices | {name: slices[target] for name, target in aliases.items()}


def without_refinements(tasks: Registry) -> dict[str, Task]:
    """Return the tasks with predictions as the model makes them: neither refined nor derived, from one view."""
    return {name: replace(task, refinements=(), derivation=None, mirrored=False) for name, task in tasks.items()}


def with_mirrored_views(tasks: Registry) -> dict[str, Task]:
    """Return the tasks, each with a mirrored view unless mirroring an image changes its label."""
    return {name: replace(task, mirrored=not task.left_right) for name, task in tasks.items()}


def to_records(tasks: Registry) -> list[dict]:
    """Return the registry as JSON-ready records, in order."""
    return [asdict(task) for task in tasks.values()]


def from_records(records: Iterable[Mapping]) -> dict[str, Task]:
    """Return the registry of `to_records`; raise `KeyError`, `TypeError` or `ValueError` on other content."""
    return registry(_from_record(record) for record in records)


def _from_record(record: Mapping) -> Task:
    lists = {
        "refinements": tuple(record.get("refinements", ())),
        "names": tuple(record.get("names", ())),
        "derivation": Derivation(*record["derivation"]) if record.get("derivation") else None,
        "calibration": tuple((float(raw), float(score)) for raw, score in record.get("calibration", ())),
    }
    return Task(**{**record, **lists, "type": _known_type(record["type"])})


def _known_type(name: str) -> TaskType:
    task_type = TaskType(name)
    if task_type not in TYPES:
        raise ValueError(f"expected a task type among {', '.join(TYPES)}, found {name!r}")
    return task_type


def _official() -> dict[str, Task]:
    segmentation = {
        "breast_lesion": 2, "cardiac_multi": 4, "carotid_artery": 2, "cervix": 2, "cervix_multi": 3,
        "fetal_abdomen_multi": 5, "fetal_head": 2, "fetal_heart": 2, "head_symphysis_multi": 3,
        "lung": 2, "ovary_tumor": 2, "thyroid_nodule": 2,
    }  # fmt: skip
    classification = {
        "breast_2cls": 2, "breast_3cls": 3, "fetal_head_pos_cls": 8, "fetal_plane_cls": 6,
        "fetal_sacral_pos_cls": 8, "liver_lesion_2cls": 2, "lung_2cls": 2, "lung_disease_3cls": 3,
        "organ_cls": 6,
    }  # fmt: skip
    detection = ("spinal_cord_injury_loc", "thyroid_nodule_det", "uterine_fibroid_det")
    regression = {"FUGC": 2, "IUGC": 3, "fetal_femur": 2}
    # In a view of all four chambers of the heart, only their side distinguishes left from right.
    sided = {"cardiac_multi", "fetal_head_pos_cls", "fetal_sacral_pos_cls"}
    return registry(
        [
            *(Task(i, TaskType.SEGMENTATION, n, i in sided) for i, n in segmentation.items()),
            *(Task(i, TaskType.CLASSIFICATION, n, i in sided) for i, n in classification.items()),
            *(Task(i, TaskType.DETECTION, 1) for i in detection),
            # The order of the points depends on their positions in the image, so a mirrored image would need its points
            # in another order.
            *(Task(i, TaskType.REGRESSION, n, True) for i, n in regression.items()),
        ]
    )


#: The 27 subtasks of the FMC-UIA challenge.
OFFICIAL: Registry = _official()
