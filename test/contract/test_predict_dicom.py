"""`inference predict --save dicom`: Segmentations and Structured Reports, read back and compared with the records."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from click.testing import CliRunner, Result
from pydicom.dataset import Dataset
from support.dicom_images import GEOMETRY, KINDS, PATIENT, STUDY, write_image
from support.small_weights import save_small_weights

import inference.predict.predict as command
from aurora.api.results import MaskResult
from aurora.images.reader import Image
from aurora.tasks import OFFICIAL, Task, TaskType
from inference.cli import main

highdicom = pytest.importorskip("highdicom", reason="--save dicom needs highdicom")
from inference.predict.dicom.report import Finding, report  # noqa: E402
from inference.predict.dicom.segmentation import segmentation  # noqa: E402
from inference.predict.dicom.source import read_source  # noqa: E402

VALIDATOR = shutil.which("dciodvfy")
SEGMENTATION, TASKS = "cervix_multi", ("cervix_multi", "breast_2cls", "uterine_fibroid_det", "IUGC")
UNITS = {"mm": "mm", "mm2": "mm2", "deg": "deg", "px": "{pixels}", "px2": "{pixels}"}
COMPLETE = [kind for kind in KINDS if kind != "bare"]


class Predicted(NamedTuple):
    folder: Path
    output: Path
    sources: dict[str, Dataset]
    result: Result

    def records(self, kind: str) -> dict[str, dict[str, Any]]:
        found = json.loads((self.output / "records" / f"{kind}.json").read_text())
        return {record["task"]: record for record in found}

    def segmentation(self, kind: str) -> Dataset:
        return pydicom.dcmread(self.output / self.records(kind)[SEGMENTATION]["segmentation"])

    def report(self, kind: str) -> Dataset:
        (name,) = {record["report"] for record in self.records(kind).values()}
        return pydicom.dcmread(self.output / name)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_weights(tmp_path_factory.mktemp("weights"), TASKS)


def predict(
    weights: Path, folder: Path, output: Path, save: str = "dicom,masks,records", *flags_of_frames: str
) -> Result:
    tasks = [word for name in TASKS for word in ("--task", name)]
    flags = ["--save", save, "--weights", str(weights), "--engine", "torch"]
    return CliRunner().invoke(main, ["predict", str(folder), "--output", str(output), *tasks, *flags, *flags_of_frames])


@pytest.fixture(scope="module")
def predicted(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Predicted:
    """An image of every kind, one that isn't DICOM and one that can't be read, predicted by one command."""
    folder, output = tmp_path_factory.mktemp("images"), tmp_path_factory.mktemp("out")
    sources = {kind: write_image(folder / f"{kind}.dcm", kind) for kind in KINDS}
    cv2.imwrite(str(folder / "plain.png"), np.zeros((40, 40), np.uint8))
    (folder / "cut.dcm").write_bytes((folder / "ct.dcm").read_bytes()[:400])
    return Predicted(folder, output, sources, predict(weights, folder, output))


def items(root: Dataset, value_type: str) -> Iterator[Dataset]:
    """Yield the content items of a type at any depth."""
    for item in root.get("ContentSequence", ()):
        if item.ValueType == value_type:
            yield item
        yield from items(item, value_type)


def groups(report: Dataset, task: str) -> list[Dataset]:
    """Return the measurement groups of a task, whose private code is that of the finding."""
    found = []
    for group in items(report, "CONTAINER"):
        codes = [item.ConceptCodeSequence[0] for item in group.ContentSequence if item.ValueType == "CODE"]
        values = [code.get("CodeValue") or code.LongCodeValue for code in codes]
        if group.ConceptNameCodeSequence[0].CodeValue == "125007" and values[0].partition(".")[0] == task:
            found.append(group)
    return found


def numbers(report: Dataset, task: str) -> list[tuple[float, str]]:
    measured = [item.MeasuredValueSequence[0] for group in groups(report, task) for item in items(group, "NUM")]
    return [(value.FloatingPointValue, value.MeasurementUnitsCodeSequence[0].CodeValue) for value in measured]


@pytest.mark.parametrize("kind", KINDS)
def test_a_segmentation_holds_the_mask(predicted: Predicted, kind: str) -> None:
    record = predicted.records(kind)[SEGMENTATION]
    mask = cv2.imread(str(predicted.output / record["mask"]), cv2.IMREAD_UNCHANGED)
    classes = np.stack([mask == number for number in (1, 2)])
    path = predicted.output / record["segmentation"]
    assert classes.any(axis=(1, 2)).all()
    assert np.array_equal(pydicom.dcmread(path).pixel_array, classes)
    if kind != "ct":  # ITK reads no image with two frames, one of each class, at one position
        by_itk = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        assert by_itk.shape == classes.shape
        # ITK reads whole bytes of 8 pixels only, and what follows the last one is random.
        assert np.array_equal(by_itk.ravel()[:-8] > 0, classes.ravel()[:-8])
    read = highdicom.seg.segread(path)
    instance = predicted.sources[kind].SOPInstanceUID
    frames = predicted.sources[kind].get("NumberOfFrames", 1)
    if frames > 1:
        found = read.get_pixels_by_source_frame(instance, [frames // 2 + 1], combine_segments=True)
    else:
        found = read.get_pixels_by_source_instance([instance], combine_segments=True)
    assert np.array_equal(found[0], mask)


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_holds_what_the_records_say(predicted: Predicted, kind: str) -> None:
    records, report = predicted.records(kind), predicted.report(kind)
    for task in (SEGMENTATION, "uterine_fibroid_det", "IUGC"):
        stated = [(measured["value"], UNITS[measured["unit"]]) for measured in records[task]["measurements"]]
        assert numbers(report, task) == stated
        assert stated
    remarks = [item.TextValue for item in report.ContentSequence if item.ValueType == "TEXT"]
    assert "Made by software for research use only." in remarks


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_holds_places_and_classes(predicted: Predicted, kind: str) -> None:
    records, report = predicted.records(kind), predicted.report(kind)
    (box,) = (item for group in groups(report, "uterine_fibroid_det") for item in items(group, "SCOORD"))
    x1, y1, x2, y2 = records["uterine_fibroid_det"]["box"]
    assert box.GraphicData == pytest.approx([x1, y1, x2, y1, x2, y2, x1, y2, x1, y1])
    landmarks = [item for group in groups(report, "IUGC") for item in items(group, "SCOORD")]
    points = records["IUGC"]["points"]
    pairs = [points[i] + points[j] for i, j in ((0, 1), (0, 2), (1, 2))]
    for item, places in zip(landmarks, [*points, *pairs, [x for point in points for x in point]], strict=True):
        assert item.GraphicData == pytest.approx(places)
    (group,) = groups(report, "breast_2cls")
    record = records["breast_2cls"]
    assert numbers(report, "breast_2cls") == [(record["probabilities"][record["label"]], "1")]
    evaluation = next(i for i in items(group, "CODE") if i.ConceptNameCodeSequence[0].CodeValue == "breast_2cls")
    assert evaluation.ConceptCodeSequence[0].CodeValue == f"breast_2cls.{record['label']}"


@pytest.mark.parametrize("kind", KINDS)
def test_objects_refer_to_the_image_and_its_predicted_frame(predicted: Predicted, kind: str) -> None:
    source, segmentation, report = predicted.sources[kind], predicted.segmentation(kind), predicted.report(kind)
    frame = source.NumberOfFrames // 2 + 1 if source.get("NumberOfFrames", 1) > 1 else None
    (image,) = segmentation.SourceImageSequence
    derived = [
        g.DerivationImageSequence[0].SourceImageSequence[0] for g in segmentation.PerFrameFunctionalGroupsSequence
    ]
    named = [item.ReferencedSOPSequence[0] for item in items(report, "IMAGE")]
    frames = [item for item in named if item.ReferencedSOPInstanceUID == segmentation.SOPInstanceUID]
    for item in (image, *derived, *(item for item in named if item not in frames)):
        assert item.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert item.ReferencedSOPClassUID == source.SOPClassUID
        assert item.get("ReferencedFrameNumber") == frame
    assert [item.ReferencedFrameNumber for item in frames] == [1, 2]
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0]
    assert {
        (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID)
        for series in evidence.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    } == {(made.SOPClassUID, made.SOPInstanceUID) for made in (source, segmentation)}


@pytest.mark.parametrize("kind", COMPLETE)
def test_objects_belong_to_the_patient_and_tell_no_more(predicted: Predicted, kind: str) -> None:
    source = predicted.sources[kind]
    for made in (predicted.segmentation(kind), predicted.report(kind)):
        assert {keyword: made.get(keyword) for keyword in PATIENT | STUDY} == PATIENT | STUDY
        assert made.StudyInstanceUID == source.StudyInstanceUID
        assert made.SeriesInstanceUID != source.SeriesInstanceUID
        assert {element.keyword for element in made.group_dataset(0x0010)} == set(PATIENT)
        assert b"SECRET" not in Path(made.filename).read_bytes()
        assert made.ContentQualification == "RESEARCH"
        assert made.SoftwareVersions == "0.1.0"
    assert predicted.segmentation(kind).SeriesDescription == f"AURORA {SEGMENTATION}"


def test_a_complete_geometry_is_passed_on_and_none_is_made_up(predicted: Predicted) -> None:
    ct, plain = predicted.segmentation("ct"), predicted.segmentation("us_plain")
    assert ct.FrameOfReferenceUID == GEOMETRY["FrameOfReferenceUID"]
    shared, position = ct.SharedFunctionalGroupsSequence[0], ct.PerFrameFunctionalGroupsSequence[0]
    assert position.PlanePositionSequence[0].ImagePositionPatient == GEOMETRY["ImagePositionPatient"]
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == GEOMETRY["ImageOrientationPatient"]
    assert shared.PixelMeasuresSequence[0].PixelSpacing == GEOMETRY["PixelSpacing"]
    assert "FrameOfReferenceUID" not in plain
    assert "PlanePositionSequence" not in plain.PerFrameFunctionalGroupsSequence[0]


def test_what_an_image_lacks_is_empty_or_new(predicted: Predicted) -> None:
    (warning,) = (line for line in predicted.result.output.splitlines() if line.startswith("images lack"))
    missing = [f"{keyword} (1)" for keyword in (*PATIENT, *STUDY, "StudyInstanceUID", "SeriesInstanceUID")]
    optional = {"IssuerOfPatientID (1)", "StudyDescription (1)"}
    assert set(warning.partition("objects: ")[2].split(", ")) == set(missing) - optional
    segmentation, report = predicted.segmentation("bare"), predicted.report("bare")
    assert segmentation.StudyInstanceUID == report.StudyInstanceUID
    assert not any(str(made.get(keyword) or "") for made in (segmentation, report) for keyword in PATIENT | STUDY)


def test_images_without_objects_are_told(predicted: Predicted) -> None:
    assert predicted.result.exit_code == 0
    assert "1 images got no DICOM objects, because they aren't DICOM" in predicted.result.output
    assert predicted.records("cut")[SEGMENTATION]["fallback"]
    for name in ("cut", "plain"):
        assert not {"segmentation", "report"} & predicted.records(name)[SEGMENTATION].keys()
    assert len(list((predicted.output / "dicom").iterdir())) == 2 * len(KINDS)


def test_an_object_that_cant_be_made_ends_nothing(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise ValueError("no such class")

    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in" / "a.dcm", "us_plain")
    monkeypatch.setattr("inference.predict.dicom.writer.segmentation", refuse)
    result = predict(weights, tmp_path / "in", tmp_path / "out")
    assert result.exit_code == 0
    assert f"no DICOM objects for {tmp_path / 'in' / 'a.dcm'}: ValueError: no such class" in result.output
    assert not (tmp_path / "out" / "dicom").exists()


def test_without_highdicom_nothing_is_predicted(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((40, 40), np.uint8))
    result = predict(weights, tmp_path, tmp_path / "out")
    assert str(result.exception) == "--save dicom needs highdicom, which isn't installed: pip install highdicom"
    assert getattr(result.exception, "exit_code", None) == 2
    assert not list((tmp_path / "out").rglob("*.json*"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_validator_finds_no_error(predicted: Predicted, kind: str) -> None:
    if not VALIDATOR:
        pytest.skip("dciodvfy isn't installed (apt install dicom3tools)")
    for made in (predicted.segmentation(kind), predicted.report(kind)):
        assert errors(Path(made.filename)) == []


def errors(path: Path) -> list[str]:
    """Return what dciodvfy finds wrong in a DICOM object; nothing where it isn't installed."""
    if not VALIDATOR:
        return []
    done = subprocess.run([VALIDATOR, "-new", str(path)], capture_output=True, text=True, check=False)
    return [line for line in done.stderr.splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("task_id", ["Körper, länglich", "longer than any text may be" * 4])
def test_several_frames_are_one_segmentation_and_one_report(tmp_path: Path, task_id: str) -> None:
    image = write_image(tmp_path / "cine.dcm", "us_cine")
    source, frames = read_source(tmp_path / "cine.dcm"), [0, 2, 4]
    masks = np.random.default_rng(0).integers(0, 3, (3, 59, 83)).astype(np.uint8)
    task = Task(task_id, TaskType.SEGMENTATION, 3)
    made = segmentation(source, frames, masks, task)
    made.save_as(tmp_path / "seg.dcm")
    read = highdicom.seg.segread(tmp_path / "seg.dcm")
    found = read.get_pixels_by_source_frame(image.SOPInstanceUID, [5, 1, 3], combine_segments=True)
    assert np.array_equal(found, masks[[2, 0, 1]])
    assert read.SourceImageSequence[0].ReferencedFrameNumber == [1, 3, 5]
    assert read.SegmentSequence[1].SegmentedPropertyTypeCodeSequence[0].LongCodeValue == f"{task.id}.2"
    findings = [Finding(result_of(task, masks[i]), frames[i], made, i) for i in range(3)]
    report(source, findings).save_as(tmp_path / "sr.dcm")
    named = [item.ReferencedSOPSequence[0] for item in items(pydicom.dcmread(tmp_path / "sr.dcm"), "IMAGE")]
    for segment, origin, (frame, number) in zip(
        named[::2], named[1::2], [(frame, number) for frame in range(3) for number in (1, 2)], strict=True
    ):
        assert np.array_equal(read.pixel_array[segment.ReferencedFrameNumber - 1], masks[frame] == number)
        assert origin.ReferencedFrameNumber == frames[frame] + 1
    assert errors(tmp_path / "seg.dcm") == errors(tmp_path / "sr.dcm") == []


def test_the_frames_of_a_cine_are_in_one_segmentation_and_one_report(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    image = write_image(tmp_path / "in" / "cine.dcm", "us_cine")
    done = predict(weights, tmp_path / "in", tmp_path / "out", "dicom,masks,records", "--frames", "every:2")
    assert done.exit_code == 0, done.output
    records = json.loads((tmp_path / "out" / "records" / "cine.json").read_text())
    masked = [record for record in records if record["task"] == SEGMENTATION]
    assert [record["frame"] for record in masked] == [0, 2, 4]
    (path,) = {record["segmentation"] for record in masked}
    found = highdicom.seg.segread(tmp_path / "out" / path).get_pixels_by_source_frame(
        image.SOPInstanceUID, [1, 3, 5], combine_segments=True
    )
    for mask, record in zip(found, masked, strict=True):
        assert np.array_equal(cv2.imread(str(tmp_path / "out" / record["mask"]), cv2.IMREAD_UNCHANGED), mask)
    (path,) = {record["report"] for record in records}
    report = pydicom.dcmread(tmp_path / "out" / path)
    for task in TASKS:
        measured = [item["value"] for r in records if r["task"] == task for item in r["measurements"]]
        stated = [value for value, _ in numbers(report, task)]
        assert [value for value in stated if value in measured] == measured
    assert errors(tmp_path / "out" / path) == []


def result_of(task: Task, mask: np.ndarray) -> MaskResult:
    shown = Image(np.zeros((*mask.shape, 3), np.uint8))
    return MaskResult(task, "a.dcm", None, mask.shape, 1.0, 1.0, (), None, None, _prediction=mask, _read=lambda: shown)


def test_classes_that_a_mask_lacks_are_absent(tmp_path: Path) -> None:
    write_image(tmp_path / "a.dcm", "us_plain")
    source, mask = read_source(tmp_path / "a.dcm"), np.zeros((59, 83), np.uint8)
    result = result_of(OFFICIAL[SEGMENTATION], mask)
    made = segmentation(source, [0], mask[None], result.task)
    assert not made.pixel_array.any()
    (group,) = groups(report(source, [Finding(result, 0, made)]), SEGMENTATION)
    pairs = [(i.ConceptNameCodeSequence[0], i.ConceptCodeSequence[0]) for i in items(group, "CODE")]
    stated = {name.CodeMeaning: value.CodeMeaning for name, value in pairs}
    assert stated.items() >= {f"{SEGMENTATION}, class {number}": "Absent" for number in (1, 2)}.items()


def test_highdicom_is_imported_only_when_needed() -> None:
    code = "import sys, inference.cli, inference.predict.predict; print('highdicom' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
