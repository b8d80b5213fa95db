"""The Python interface: any kind of image, the predictions of `run`, and what a wrong call is told."""

import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image as Pillow

import aurora
from aurora.api import BoxResult, ClassResult, MaskResult, Model, PointsResult
from aurora.engine.pytorch import ModuleEngine
from aurora.errors import ImageError, UsageError, WeightsError
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.checkpoint import Spec
from aurora.model.config import PRESETS
from aurora.predict.pipeline import predictions, read_from
from aurora.predict.request import Job, request_of
from aurora.rows import Row
from aurora.tasks import OFFICIAL, registry

TASKS = registry([OFFICIAL[name] for name in ("cervix_multi", "breast_2cls", "uterine_fibroid_det", "IUGC")])
RESULTS = {
    "cervix_multi": MaskResult,
    "breast_2cls": ClassResult,
    "uterine_fibroid_det": BoxResult,
    "IUGC": PointsResult,
}


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    network = Aurora(PRESETS["micro"], TASKS).eval()
    for parameter in network.heads.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return Model(ModuleEngine(network, Spec(network.config, TASKS, {})))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(5):
        noise = cv2.GaussianBlur(rng.integers(0, 256, (70 + number, 90, 3)).astype(np.uint8), (0, 0), 4)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX))
    return sorted(folder.iterdir())


def values(result: aurora.api.Result) -> dict:
    """What a result says, without the name of its source."""
    record = result.to_record() | ({"mask": result.mask.tolist()} if isinstance(result, MaskResult) else {})
    return {name: value for name, value in record.items() if name != "source"}


@pytest.mark.parametrize("task", TASKS)
def test_every_form_of_an_image_gives_the_same_result(model: Model, files: list[Path], task: str) -> None:
    pixels = cv2.imread(str(files[0]))[..., ::-1]
    forms = [files[0], str(files[0]), files[0].read_bytes(), pixels, Pillow.open(files[0])]
    first, *others = [model.predict(form, task) for form in forms]
    assert type(first) is RESULTS[task]
    assert first.source == str(files[0])
    assert others[-1].source == "image 1"
    assert all(values(other) == values(first) for other in others)


def test_the_content_of_a_common_format_passes_through_no_file(
    model: Model, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aurora.api.images.temporary_file", None)
    content = files[0].read_bytes()
    assert values(model.predict(content, "breast_2cls")) == values(model.predict(files[0], "breast_2cls"))
    with pytest.raises(ImageError, match="is a text file"):
        model.predict(b"a letter of many words", "breast_2cls")


def test_grey_and_deep_arrays(model: Model) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
    grey = model.predict(ramp, "breast_2cls")
    assert values(model.predict(np.repeat(ramp[..., None], 3, 2), "breast_2cls")) == values(grey)
    deep = model.predict(ramp.astype(np.uint16) * 200, "breast_2cls")
    assert deep.warnings == ("uint16 pixels were scaled from their 1st..99th percentile to 8 bits",)


def test_results_are_those_of_a_run(model: Model, files: list[Path]) -> None:
    rows = [
        [Row(t.id, t.type, t.num_classes, f"../{path.name}", None, path.name, {}) for t in TASKS.values()]
        for path in files
    ]
    jobs = [Job([request_of(row, TASKS) for row in group]) for group in rows]
    read = read_from(files[0].parent, model.engine)
    run = list(predictions(model.engine, jobs, read, 2, use=lambda predicted: predicted))
    found = [result for group in model.predict_many(files, list(TASKS), batch_size=2) for result in group]
    for result, predicted in zip(found, run, strict=True):
        assert (result.task.id, result.expected) == (predicted.row.task_id, predicted.confidence)
        if isinstance(result, MaskResult):
            assert np.array_equal(result.mask, predicted.prediction)
        else:
            stated = predicted.prediction.model_dump()
            told = {ClassResult: "predicted_probs", BoxResult: "bbox_pixels", PointsResult: "predicted_points_pixels"}
            value = getattr(result, type(result).VALUES[-1])
            assert np.ravel(value).tolist() == stated[told[type(result)]]


def test_images_are_read_one_after_another(model: Model, files: list[Path]) -> None:
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield files[0]

    stream = model.predict_many(endless(), "breast_2cls", batch_size=2)
    first = [next(stream) for _ in range(3)]
    assert [len(group) for group in first] == [1, 1, 1]
    assert len(taken) < 40
    stream.close()


def test_a_bad_image_does_not_end_the_others(model: Model, files: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    groups = list(model.predict_many([files[0], bad, tmp_path / "absent.png", files[1]], ["breast_2cls", "IUGC"]))
    assert [group[0].fallback is None for group in groups] == [True, False, False, True]
    assert groups[1][1].answer.startswith("none: ")
    assert groups[1][0].confidence is None
    with pytest.raises(ImageError, match=r"bad\.png"):
        model.predict(bad, "breast_2cls")


def test_overlays_show_the_prediction_on_the_image(model: Model, files: list[Path]) -> None:
    pixels = cv2.imread(str(files[0]))[..., ::-1]
    for task in TASKS:
        result = model.predict(files[0], task)
        picture = result.overlay()
        assert picture.shape == pixels.shape
        changed = (picture != pixels).any(axis=2)
        assert 0 < changed.mean() < 0.6
        assert result.overlay(side=45).shape[1] == 45
    box = model.predict(files[0], "uterine_fibroid_det")
    left, top = (round(value) for value in box.box[:2])
    assert (box.overlay()[top : top + 2, left : left + 2] != pixels[top : top + 2, left : left + 2]).any()


def test_measurements_take_the_pixel_size(model: Model, files: list[Path]) -> None:
    in_pixels, in_mm = model.predict(files[0], "IUGC"), model.predict(files[0], "IUGC", pixel_size=0.5)
    for one, other in zip(in_pixels.measurements, in_mm.measurements, strict=True):
        factor = 1 if one.unit == "deg" else 0.5
        assert (other.name, other.value) == (one.name, pytest.approx(one.value * factor))
    assert {item.unit for item in in_mm.measurements} == {"mm", "deg"}
    wide = model.predict(files[0], "uterine_fibroid_det", pixel_size=(1.0, 2.0))
    plain = model.predict(files[0], "uterine_fibroid_det")
    assert wide.measurements[0].value == pytest.approx(2 * plain.measurements[0].value)
    assert wide.measurements[1].value == pytest.approx(plain.measurements[1].value)
    with pytest.raises(UsageError, match="expected a pixel size above 0 mm, found -1"):
        model.predict(files[0], "IUGC", pixel_size=-1)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 4, 5, 6)), r"an array \(H, W\) or \(H, W, 3\), found one of shape \(3, 4, 5, 6\)"),
        (np.array([["a", "b"]]), "an array of numbers, found one of <U1"),
        (3, "a path, bytes, an array or a Pillow image, found int"),
    ],
)
def test_what_is_no_image_is_named(model: Model, image: object, message: str) -> None:
    with pytest.raises((UsageError, ImageError), match=message):
        model.predict(image, "breast_2cls")  # type: ignore[arg-type]


def test_an_unknown_task_gets_the_nearest_names(model: Model, files: list[Path]) -> None:
    with pytest.raises(UsageError, match="found 'breast2cls'; did you mean breast_2cls"):
        model.predict(files[0], "breast2cls")
    with pytest.raises(UsageError, match="at least one task"):
        next(model.predict_many(files, []))


def test_threads_share_a_model(model: Model, files: list[Path]) -> None:
    expected = [values(model.predict(path, "IUGC")) for path in files]
    found: dict[int, list[dict]] = {}

    def work(number: int) -> None:
        found[number] = [values(model.predict(path, "IUGC")) for path in files]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(found.values()) == [expected] * 4


def test_weights_are_loaded_by_path(tmp_path: Path, files: list[Path]) -> None:
    torch.manual_seed(1)
    checkpoint.save(tmp_path / "w.safetensors", Aurora(PRESETS["micro"], TASKS), {})
    model = aurora.load(tmp_path / "w.safetensors", engine="torch")
    assert list(model.tasks) == list(TASKS)
    assert repr(model).startswith("Model(4 tasks, PyTorch")
    assert model.predict(files[0], "breast_2cls").probabilities.sum() == pytest.approx(1)
    with pytest.raises(WeightsError, match="absent"):
        aurora.load(str(tmp_path / "absent.onnx"))


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, aurora; print({'numpy', 'cv2', 'torch', 'onnxruntime'} & set(sys.modules)); aurora.load"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
