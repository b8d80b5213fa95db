"""Training and validation cases that share no picture and no patient, whatever tasks they serve."""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from aurora.errors import ImageError, UsageError
from aurora.images import read_image
from aurora.rows import image_file
from training.data.cases import Case
from training.data.near_duplicates import Thumbprint, find_links, join, look

# `patient0066_2CH_ED`, `camus_patient0213_4CH_ES`, `subject-12_x`, `case_0012_slice3`, `PatientID 7`; and HC18's
# `010_HC`, `010_2HC`, images of one examination (https://hc18.grand-challenge.org). Another's number tells nothing.
_PATIENT = re.compile(r".*?(?<![a-z])(?:patient|subject|case)[-_ ]?(?:id)?[-_ ]?\d+|.*?\d+(?=_\d?hc$)")


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which cases must stay on one side of a split, and why.

    `groups` holds for each case the number of its group, in order of first appearance. Of the `images` (files) the
    cases name, `identical` repeat the pixels of another file, `similar` are near-identical to an image that nothing
    else joined them to, `of_patients` are by `patients` that are known, and `unreadable` were told apart by their
    paths and patients alone. `largest` is the number of rows of the largest group, `unvalidated` names the tasks of
    which no group could be kept for validation.
    """

    groups: list[int]
    images: int
    identical: int
    similar: int
    patients: int
    of_patients: int
    unreadable: int
    unvalidated: tuple[str, ...] = ()

    @property
    def largest(self) -> int:
        return max(Counter(self.groups).values(), default=0)

    def summary(self) -> str:
        """Plain lines for the log: what was grouped, and what couldn't be done where that is the case."""
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
    """Group the cases that share an image file, its pixels, a near-identical picture or a patient, also in a chain.

    A patient is the `patient_id` of a row; without one, what the name of the image file says up to and with the
    number after "patient", "subject" or "case". Both are compared over all folders: two data sets that name their
    patients alike share groups, which costs little, where the reverse would leak.
    Every image is decoded once.
    """
    places = [_place(case) for case in cases]
    files = dict(zip(places, cases, strict=True))
    with ThreadPoolExecutor() as pool:
        looks = dict(zip(files, pool.map(_look, files.values()), strict=True))
    readable = {place: seen for place, seen in looks.items() if seen}
    # Sorted, so that nothing depends on the order of the rows.
    pictures = sorted({seen.digest: seen for seen in readable.values()}.values(), key=lambda seen: seen.digest)
    nodes: list[Hashable] = [*(seen.digest for seen in pictures), *files.keys() - readable.keys()]
    number = {node: at for at, node in enumerate(nodes)}
    of_case = np.array([number[readable[place].digest if place in readable else place] for place in places], np.intp)
    patients = [_patient(case) for case in cases]
    labels = join(np.arange(len(nodes)), _chains(zip(patients, of_case, strict=True)))
    links = find_links([seen.thumb for seen in pictures], labels[: len(pictures)])
    labels = join(labels, links)
    first: dict[int, int] = {}
    return Grouping(
        groups=[first.setdefault(int(label), len(first)) for label in labels[of_case]],
        images=len(files),
        identical=len(readable) - len(pictures),
        similar=len(np.unique(links)),
        patients=len({patient for patient in patients if patient}),
        of_patients=len({place for place, patient in zip(places, patients, strict=True) if patient}),
        unreadable=len(files) - len(readable),
    )


def split_cases(cases: Sequence[Case], share: float, seed: int) -> tuple[list[Case], list[Case], Grouping]:
    """Part the cases into training and validation, which gets `share` of each task's rows as nearly as groups allow.

    Every task of two groups or more gets a group on either side where that can be; a task of one is for training
    and is named in the grouping. The seed alone chooses: the same rows in another order are parted alike.

    Raises:
        UsageError: `share` isn't between 0 and 1.
    """
    if not 0 < share < 1:
        raise UsageError(f"expected a share of validation rows between 0 and 1, found {share:g}; give one like 0.15")
    grouping = group_cases(cases)
    groups = np.array(grouping.groups, np.intp)
    tasks = sorted({case.task.id for case in cases})
    counts = np.zeros((groups.max(initial=-1) + 1, len(tasks)))
    names: dict[int, tuple[str, str]] = {}
    for case, group in zip(cases, grouping.groups, strict=True):
        counts[group, tasks.index(case.task.id)] += 1
        name = (case.row.image_path, str(case.root))
        names[group] = min(names.get(group, name), name)
    order = np.array(sorted(names, key=names.__getitem__), np.intp)
    held = np.zeros(len(order), bool)
    held[order] = _hold_out(counts[order], share, np.random.default_rng(seed))
    lacking = counts[held].sum(0) == 0
    grouping = replace(grouping, unvalidated=tuple(task for task, lacks in zip(tasks, lacking, strict=True) if lacks))
    train, val = ([case for case, out in zip(cases, held[groups], strict=True) if out == side] for side in (0, 1))
    return train, val, grouping


def _hold_out(counts: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Which groups are for validation, (G,) bool, from the rows (G, T) of each task in each group.

    The groups are dealt in random order, the large before the small; each goes where it leaves the validation rows
    of its tasks, relative to the size of each task, nearer to the share of the rows that were dealt so far.
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
    _mend(counts > 0, held)
    return held


def _mend(serves: np.ndarray, held: np.ndarray) -> None:
    """Move groups in place so that each task (column of `serves`) has one for training, and if it can one held out."""
    for side in (True, False):
        for task in np.argsort(serves.sum(0), kind="stable"):
            if (held[serves[:, task]] == side).any():
                continue
            # What each group's move would take from tasks that have no other group on the side it leaves.
            last = serves[held != side].sum(0) == 1
            harm = np.where(serves[:, task], (serves & last).sum(1), np.inf)
            best = harm.argmin()
            if side is False or harm[best] == 0:
                held[best] = side


def _place(case: Case) -> str:
    try:
        return str(image_file(case.root, case.row).resolve())
    except ImageError:
        return f"{case.root}: {case.row.image_path}"


def _look(case: Case) -> Thumbprint | None:
    try:
        return look(read_image(image_file(case.root, case.row), case.root).pixels)
    except ImageError:
        return None


def _patient(case: Case) -> Hashable | None:
    if case.row.patient is not None:
        return "patient_id", case.row.patient
    stated = _PATIENT.match(PurePosixPath(case.row.image_path).stem.lower())
    return stated[0] if stated else None


def _chains(keyed: Iterable[tuple[Hashable | None, int]]) -> np.ndarray:
    """Links (M, 2) from each item to the first that has the same key; an item without a key has none."""
    first: dict[Hashable, int] = {}
    return np.array([(first.setdefault(key, item), item) for key, item in keyed if key is not None], np.intp)
