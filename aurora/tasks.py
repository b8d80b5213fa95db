"""The task registry: what each task asks for, and which channels of the model answer it."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum


class TaskType(StrEnum):
    """The four kinds of task; each value is what the challenge writes in its `task_name` column."""

    SEGMENTATION = "segmentation"
    CLASSIFICATION = "classification"
    DETECTION = "detection"
    REGRESSION = "Regression"


# A detection task has objectness and the four distances to the box's sides.
DETECTION_CHANNELS = 5


@dataclass(frozen=True, slots=True)
class TypeFacts:
    """What rows and checkpoints need to know of a task type, without its kind's libraries.

    `default_count` is the number of classes or points of a row that doesn't state any. `counts_classes` says whether
    `num_classes` decides the length of a prediction. `channels` is the number of output channels of a task, None if it
    is `num_classes`. `label_column` matches the names of the CSV columns that hold a label, and `sided` says that a
    mirrored image needs another label unless a task says otherwise.
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


@dataclass(frozen=True, slots=True)
class Task:
    """One task of the registry.

    `num_classes` is the challenge's number: classes with background (segmentation), classes
    (classification), 1 (detection), landmarks (Regression). `left_right` says that a mirrored image
    would need another label, so that it is never mirrored in training.
    """

    id: str
    type: TaskType
    num_classes: int
    left_right: bool = False

    @property
    def channels(self) -> int:
        """How many channels of the model's last layer belong to this task."""
        return TYPES[self.type].channels or self.num_classes


Registry = Mapping[str, Task]


def registry(tasks: Iterable[Task]) -> dict[str, Task]:
    """Tasks by id, in the order given; a `ValueError` names an id that occurs twice."""
    found: dict[str, Task] = {}
    for task in tasks:
        if found.setdefault(task.id, task) != task:
            raise ValueError(f"task {task.id!r} is defined twice, as {found[task.id]} and as {task}")
    return found


def of_type(tasks: Registry, kind: TaskType) -> list[Task]:
    """The tasks of one type, in registry order."""
    return [task for task in tasks.values() if task.type is kind]


def channel_slices(tasks: Registry, kind: TaskType) -> dict[str, slice]:
    """Where each task's channels lie in the output of its type's head, by task id."""
    slices, start = {}, 0
    for task in of_type(tasks, kind):
        slices[task.id] = slice(start, start + task.channels)
        start += task.channels
    return slices


def to_records(tasks: Registry) -> list[dict]:
    """The registry as JSON-ready records, in order."""
    return [asdict(task) for task in tasks.values()]


def from_records(records: Iterable[Mapping]) -> dict[str, Task]:
    """The inverse of `to_records`; raises `KeyError`, `TypeError` or `ValueError` on other content."""
    return registry(Task(**{**record, "type": TaskType(record["type"])}) for record in records)


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
    # Left chambers of the heart are told from right ones by their side, in views that show all four.
    sided = {"cardiac_multi", "fetal_head_pos_cls", "fetal_sacral_pos_cls"}
    return registry(
        [
            *(Task(i, TaskType.SEGMENTATION, n, i in sided) for i, n in segmentation.items()),
            *(Task(i, TaskType.CLASSIFICATION, n, i in sided) for i, n in classification.items()),
            *(Task(i, TaskType.DETECTION, 1) for i in detection),
            # Which point comes first follows from where it lies in the image, so a mirror image would
            # need its points in another order.
            *(Task(i, TaskType.REGRESSION, n, True) for i, n in regression.items()),
        ]
    )


#: The 27 subtasks of the FMC-UIA challenge.
OFFICIAL: Registry = _official()
