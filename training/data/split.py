"""Split cases into training and validation so that no image and no patient is in both, across all tasks."""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

import numpy as np

from aurora.errors import ImageError, InputError, UsageError
from aurora.images import read_image
from aurora.rows import class_label, image_file
from aurora.runtime.hardware import processors
from aurora.runtime.notes import Notes
from aurora.tasks import TaskType
from training.data.cases import Case
from training.data.near_duplicates import Thumbprint, find_links, join, thumbprint

# `patient0066_2CH_ED`, `camus_patient0213_4CH_ES`, `subject-12_x`, `case_0012_slice3`, `PatientID 7`; and `010_HC`,
# `010_2HC` of HC18, images of one examination (https://hc18.grand-challenge.org). Other numbers identify no patient.
_PATIENT = re.compile(r".*?(?<![a-z])(?:patient|subject|case)[-_ ]?(?:id)?[-_ ]?\d+|.*?\d+(?=_\d?hc$)")

# Between the name of a task and its class, in the name of a class.
_CLASS = " class "


@dataclass(frozen=True, slots=True)
class Grouping:
    """Groups of cases that must stay on the same side of a split.

    Attributes:
        groups: the group of each case, numbered in order of first appearance.
        images: the number of image files.
        identical: images with the same pixels as another file.
        similar: images joined to another only because they are near-duplicates.
        patients: the number of known patients.
        of_patients: the number of images of known patients.
        unreadable: images that could be compared only by path and patient.
        problem: why the first of them can't be read.
        unvalidated: the tasks, and the classes of tasks with validation rows, that have no group for validation.
        warnings: what is unusual about the images.
    """

    groups: list[int]
    images: int
    identical: int
    similar: int
    patients: int
    of_patients: int
    unreadable: int
    problem: ImageError | None = field(default=None, compare=False)
    unvalidated: tuple[str, ...] = ()
    warnings: Notes = field(default_factory=Notes, compare=False)

    @property
    def largest(self) -> int:
        """The number of rows of the largest group."""
        return max(Counter(self.groups).values(), default=0)

    def summary(self) -> str:
        """Describe the groups in two lines, and in a third the tasks and classes without validation rows, if any."""
        lines = [
            f"{len(self.groups):,} rows of {self.images:,} images are {len(set(self.groups)):,} groups by picture and "
            f"patient, the largest of {self.largest:,} rows",
            f"{self.identical:,} images repeat another's pixels, {self.similar:,} are near-identical to another, "
            f"{self.of_patients:,} are by {self.patients:,} known patients, {self.unreadable:,} can't be read",
        ]
        if self.unvalidated:
            lines.append(f"no validation rows, for too few groups: {', '.join(self.unvalidated)}")
        return "\n".join(lines)


def group_cases(cases: Sequence[Case]) -> Grouping:
    """Group cases that share an image file, its pixels, a near-duplicate or a patient, directly or through others.

    A patient is the `patient_id` of a row or, without one, the start of the image's file name up to the number after
    "patient", "subject" or "case". Patients are compared across folders: data sets that use the same names share
    groups. That costs little, whereas keeping them apart could leak. Every image is decoded once.
    """
    paths = [_path(case) for case in cases]
    files = dict(zip(paths, cases, strict=True))
    with ThreadPoolExecutor(processors()) as pool:
        read = dict(zip(files, pool.map(_thumbprint, files.values()), strict=True))
    readable = {path: image for path, (image, _) in read.items() if isinstance(image, Thumbprint)}
    notes = Notes()
    for path, (_, warnings) in read.items():
        for warning in warnings:
            notes.add(warning, files[path].row.place)
    # Sorted, so that nothing depends on the order of the rows.
    distinct = sorted({image.digest: image for image in readable.values()}.values(), key=lambda image: image.digest)
    nodes: list[Hashable] = [*(image.digest for image in distinct), *files.keys() - readable.keys()]
    number = {node: index for index, node in enumerate(nodes)}
    of_case = np.array([number[readable[path].digest if path in readable else path] for path in paths], np.intp)
    patients = [_patient(case) for case in cases]
    labels = join(np.arange(len(nodes)), _chains(zip(patients, of_case, strict=True)))
    links = find_links([image.thumbnail for image in distinct], labels[: len(distinct)])
    labels = join(labels, links)
    first: dict[int, int] = {}
    return Grouping(
        groups=[first.setdefault(int(label), len(first)) for label in labels[of_case]],
        images=len(files),
        identical=len(readable) - len(distinct),
        similar=len(np.unique(links)),
        patients=len({patient for patient in patients if patient}),
        of_patients=len({path for path, patient in zip(paths, patients, strict=True) if patient}),
        unreadable=len(files) - len(readable),
        problem=next((image for image, _ in read.values() if isinstance(image, ImageError)), None),
        warnings=notes,
    )


def split_cases(cases: Sequence[Case], share: float, seed: int) -> tuple[list[Case], list[Case], Grouping]:
    """Split cases into training and validation, with `share` of each task's and each class's rows, as groups allow.

    A task or class of two or more groups gets a group on each side if possible. One of a single group is for training
    only and is named in the grouping. The split depends on the seed but not on the order of the rows.

    Returns:
        The training cases, the validation cases, and how they were grouped.

    Raises:
        UsageError: `share` isn't between 0 and 1.
    """
    if not 0 < share < 1:
        raise UsageError(f"expected a share of validation rows between 0 and 1, found {share:g}; use one like 0.15")
    grouping = group_cases(cases)
    groups = np.array(grouping.groups, np.intp)
    strata = [(case.task.id, *_class_stratum(case)) for case in cases]
    columns = {name: number for number, name in enumerate(sorted({name for names in strata for name in names}))}
    counts = np.zeros((groups.max(initial=-1) + 1, len(columns)))
    names: dict[int, tuple[str, str]] = {}
    for case, strata_of_case, group in zip(cases, strata, grouping.groups, strict=True):
        for name in strata_of_case:
            counts[group, columns[name]] += 1
        place = (case.row.image_path, str(case.root))
        names[group] = min(names.get(group, place), place)
    order = np.array(sorted(names, key=names.__getitem__), np.intp)
    held = np.zeros(len(order), bool)
    held[order] = _hold_out(counts[order], share, np.random.default_rng(seed))
    lacking = counts[held].sum(0) == 0
    unvalidated = _without_parts(name for name, lacks in zip(columns, lacking, strict=True) if lacks)
    grouping = replace(grouping, unvalidated=unvalidated)
    train, val = ([case for case, out in zip(cases, held[groups], strict=True) if out == side] for side in (0, 1))
    return train, val, grouping


def absent_classes(cases: Iterable[Case], validation: Iterable[Case]) -> list[str]:
    """Return a sentence about the tasks and classes of the training cases that no validation case has, if any."""
    sides = ({name for case in side for name in (case.task.id, *_class_stratum(case))} for side in (cases, validation))
    trained, validated = sides
    absent = _without_parts(sorted(trained - validated))
    return [f"no validation rows: {', '.join(absent)}"] if absent else []


def _class_stratum(case: Case) -> tuple[str, ...]:
    """Return the name of the case's class; nothing if its task has none, or its label can't be read."""
    if case.task.type != TaskType.CLASSIFICATION:
        return ()
    try:
        return (f"{case.task.id}{_CLASS}{class_label(case.row)}",)
    except InputError:
        return ()


def _without_parts(names: Iterable[str]) -> tuple[str, ...]:
    """Leave out the classes of tasks that are named themselves."""
    listed = list(names)
    return tuple(name for name in listed if name.partition(_CLASS)[0] not in {*listed} - {name})


def _hold_out(counts: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Choose the groups for validation, (G,) bool, from the rows (G, T) of each task in each group.

    Groups are assigned in random order, large ones first. Each goes to the side that brings the validation rows of its
    tasks, relative to the size of each task, closer to `share` of the rows assigned so far.
    """
    order = rng.permutation(len(counts))
    order = order[np.argsort(-counts[order].sum(1), kind="stable")]
    weights = 1 / counts.sum(0) ** 2
    held = np.zeros(len(counts), bool)
    excess = np.zeros(counts.shape[1])
    for group in order:
        excess -= share * counts[group]
        held[group] = ((excess + counts[group]) ** 2 - excess**2) @ weights < 0
        excess += held[group] * counts[group]
    _balance(counts > 0, held)
    return held


def _balance(serves: np.ndarray, held: np.ndarray) -> None:
    """Move groups, in place, so that each task (column of `serves`) trains on one and, if possible, holds one out."""
    for side in (True, False):
        for task in np.argsort(serves.sum(0), kind="stable"):
            if (held[serves[:, task]] == side).any():
                continue
            # The number of tasks that would lose their only group on the other side if a group moved.
            last = serves[held != side].sum(0) == 1
            harm = np.where(serves[:, task], (serves & last).sum(1), np.inf)
            best = harm.argmin()
            if side is False or harm[best] == 0:
                held[best] = side


def _path(case: Case) -> str:
    """Return a path that identifies the case's image file."""
    try:
        return str(image_file(case.root, case.row).resolve())
    except ImageError:
        return f"{case.root}: {case.row.image_path}"


def _thumbprint(case: Case) -> tuple[Thumbprint | ImageError, tuple[str, ...]]:
    """Return the thumbprint of the case's image, or why it can't be read, and the warnings about the image."""
    try:
        image = read_image(image_file(case.root, case.row), case.root)
    except ImageError as error:
        return error, ()
    return thumbprint(image.pixels), image.warnings


def _patient(case: Case) -> Hashable | None:
    """Return a key that identifies the patient, or None if the patient is unknown."""
    if case.row.patient is not None:
        return "patient_id", case.row.patient
    match = _PATIENT.match(PurePosixPath(case.row.image_path).stem.lower())
    return match[0] if match else None


def _chains(keyed: Iterable[tuple[Hashable | None, int]]) -> np.ndarray:
    """Return links (M, 2) from each item to the first item with the same key; items without a key get none."""
    first: dict[Hashable, int] = {}
    return np.array([(first.setdefault(key, item), item) for key, item in keyed if key is not None], np.intp)
