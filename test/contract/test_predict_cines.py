"""`inference predict` on cines: frames, masks, one video and one picture of curves for each task, and tables."""

import csv
import json
import re
from itertools import count
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image as Pillow

import aurora
from aurora.errors import InputError, Stopped, UsageError
from aurora.images import read_image
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.config import PRESETS
from aurora.runtime.cli import ShutdownRequest
from aurora.tasks import OFFICIAL, registry
from inference.cli import main
from inference.predict import predict as command
from inference.predict.series import Series
from inference.render.curves import draw_curves

TASKS = ("cervix_multi", "breast_2cls", "uterine_fibroid_det", "IUGC")
COUNT, HEIGHT, WIDTH = 6, 49, 63  # a video has even sides
RNG = np.random.default_rng(0)
NOISE = cv2.GaussianBlur(RNG.integers(0, 256, (HEIGHT, WIDTH + 8 * COUNT)).astype(np.uint8), (0, 0), 4)
FRAMES = np.stack([cv2.normalize(NOISE[:, 8 * n : 8 * n + WIDTH], None, 0, 255, cv2.NORM_MINMAX) for n in range(COUNT)])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    network = Aurora(PRESETS["micro"], registry([OFFICIAL[name] for name in TASKS]))
    for parameter in network.heads.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    checkpoint.save(path, network, {})
    return path


@pytest.fixture
def gif(tmp_path: Path) -> Path:
    path = tmp_path / "scans" / "heart.gif"
    path.parent.mkdir()
    first, *others = (Pillow.fromarray(frame) for frame in FRAMES)
    first.save(path, save_all=True, append_images=others, duration=100)
    return path


@pytest.fixture
def avi(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20, (64, 48))
    for frame in FRAMES:
        writer.write(cv2.cvtColor(cv2.resize(frame, (64, 48)), cv2.COLOR_GRAY2BGR))
    writer.release()
    return path


def predict(weights: Path, *arguments: object) -> Result:
    words = ["predict", *map(str, arguments), "--weights", str(weights), "--engine", "torch"]
    return CliRunner().invoke(main, words, catch_exceptions=False)


def flags(output: Path, *tasks: str) -> list[object]:
    return ["--output", output, *[word for name in tasks or TASKS for word in ("--task", name)]]


def records(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "results.jsonl").read_text().splitlines()]


def video(path: Path) -> np.ndarray:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        read, frame = capture.read()
        if not read:
            return np.stack(frames)[..., ::-1]
        frames.append(frame)


def test_a_cine_gives_masks_videos_curves_and_tables(weights: Path, gif: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = predict(weights, gif.parent, "--frames", "all", *flags(out))
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == f"predicted 1 of 1 images with {COUNT} frames; results: {out}"
    found = records(out)
    assert [(r["frame"], r["task"]) for r in found] == [(n, task) for n in range(COUNT) for task in TASKS]
    assert json.loads((out / "records" / "heart.json").read_text()) == found
    model = aurora.load(weights, engine="torch")
    groups = list(model.predict_many(aurora.frames(gif), TASKS))
    for record, expected in zip(found, (result for group in groups for result in group), strict=True):
        assert {name: record[name] for name in expected.to_record()} == json.loads(json.dumps(expected.to_record()))
    masks = [out / "masks" / "heart.cervix_multi" / f"{number:04}.png" for number in range(COUNT)]
    for number, (path, group) in enumerate(zip(masks, groups, strict=True)):
        assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), group[0].mask)
        assert found[number * len(TASKS)]["mask"] == str(path.relative_to(out))
    assert sorted(path.name for path in (out / "overlays").iterdir()) == sorted(f"heart.{t}.mp4" for t in TASKS)
    with (out / "results.csv").open(newline="") as file:
        assert [row["frame"] for row in csv.DictReader(file)] == [str(n) for n in range(COUNT) for _ in TASKS]


def test_the_video_shows_the_predictions_on_the_frames(weights: Path, gif: Path, tmp_path: Path) -> None:
    predict(weights, gif, "--frames", "all", *flags(tmp_path / "out", "cervix_multi"))
    path = tmp_path / "out" / "overlays" / "heart.cervix_multi.mp4"
    shown = video(path).astype(int)
    assert shown.shape == (COUNT, HEIGHT + 1, WIDTH + 1, 3)
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    model = aurora.load(weights, engine="torch")
    for picture, (result,), frame in zip(
        shown, model.predict_many(aurora.frames(gif), "cervix_multi"), FRAMES, strict=True
    ):
        overlay = result.overlay().astype(int)
        drawn = (overlay != frame[..., None]).any(axis=2)
        assert drawn.any()
        picture = picture[:HEIGHT, :WIDTH]
        assert np.abs(picture - overlay).mean() < 25
        assert np.abs(picture - frame[..., None])[drawn].mean() > 2 * np.abs(picture - frame[..., None])[~drawn].mean()


def test_the_changes_of_a_cine_are_tabled(weights: Path, gif: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(weights, gif, "--frames", "all", "--pixel-size", 0.5, *flags(out))
    with (out / "cines.csv").open(newline="") as file:
        table = {(row["task"], row["measurement"], row["structure"]): row for row in csv.DictReader(file)}
    areas: dict[int, float] = {}
    for record in records(out):
        for item in record["measurements"] if record["task"] == "cervix_multi" else ():
            if (item["name"], item["structure"]) == ("area", 1):
                areas[record["frame"]] = item["value"]
    row = table["cervix_multi", "area", "1"]
    largest, smallest = max(areas, key=areas.__getitem__), min(areas, key=areas.__getitem__)
    assert (row["unit"], row["frames"]) == ("mm2", str(len(areas)))
    assert (row["largest_frame"], row["smallest_frame"]) == (str(largest), str(smallest))
    assert float(row["mean"]) == pytest.approx(np.mean([*areas.values()]))
    assert float(row["fractional_change"]) == pytest.approx(1 - areas[smallest] / areas[largest])
    assert table["uterine_fibroid_det", "width", ""]["fractional_change"] == ""
    assert ("breast_2cls", "probability", "0") in table
    assert ("IUGC", "angle of progression", "") in table
    assert ("IUGC", "confidence", "") in table


def test_the_curves_have_axes_units_and_names(weights: Path, gif: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(weights, gif, "--frames", "all", "--pixel-size", 0.5, *flags(out))
    expected = {
        "cervix_multi": {"mm²", "area of class 1", "confidence"},
        "breast_2cls": {"probability, confidence", "probability of class 0", "probability of class 1"},
        "uterine_fibroid_det": {"mm", "width", "height"},
        "IUGC": {"mm", "°", "distance 1-2", "angle of progression"},
    }
    for task, words in expected.items():
        picture = ElementTree.parse(out / "curves" / f"heart.{task}.svg")
        texts = {element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")}
        assert words | {f"heart.gif, {task}", "time in s", "0.5"} <= texts


def test_a_curve_has_a_gap_where_a_frame_has_no_value() -> None:
    series = Series("area", 1, None, "px2", [0, 2, 8, 10], [1.0, 2.0, 4.0, 4.0])
    picture = draw_curves("a <b>", [series], range(0, 12, 2), None).decode()
    (path, *_) = re.findall(r'<path d="(M[^"]*L[^"]*)"', picture)
    assert path == "M0.0,121.9h0L96.0,83.8M384.0,7.6h0L480.0,7.6"  # 4 is 5 % below the upper edge
    assert "a &lt;b&gt;" in picture
    assert ">frame</text>" in picture


def test_without_frames_one_image_of_each_file_is_predicted(
    weights: Path, gif: Path, avi: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = predict(weights, gif, avi, *flags(out, "cervix_multi"))
    assert "files with several frames, of which one is taken: 2; --frames all predicts them all" in result.output
    still, middle = records(out)
    assert (still["frame"], middle["frame"]) == (None, COUNT // 2)
    assert sorted(path.name for path in (out / "overlays").iterdir()) == [
        "heart.cervix_multi.png",
        "sweep.cervix_multi.png",
    ]
    assert not (out / "cines.csv").exists()
    model = aurora.load(weights, engine="torch")
    assert still["answer"] == model.predict(gif, "cervix_multi").answer


@pytest.mark.parametrize(
    ("which", "numbers"), [("middle", [3]), ("every:4", [0, 4]), ("1:3", [1, 2]), ("4:", [4, 5]), (":1", [0])]
)
def test_frames_are_chosen(weights: Path, avi: Path, tmp_path: Path, which: str, numbers: list[int]) -> None:
    cv2.imwrite(str(tmp_path / "still.png"), FRAMES[0])
    out = tmp_path / "out"
    predict(weights, avi, tmp_path / "still.png", f"--frames={which}", *flags(out, "breast_2cls"))
    assert [record["frame"] for record in records(out)] == [*numbers, None]
    if which == "every:4":
        capture = cv2.VideoCapture(str(out / "overlays" / "sweep.breast_2cls.mp4"))
        assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(5)


def test_wrong_words_for_frames_are_told_what_is_right(weights: Path, gif: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected frames as all, middle, every:N or A:B, such as .* found 'half'"):
        predict(weights, gif, "--frames", "half", *flags(tmp_path / "out"))
    with pytest.raises(InputError, match="expected the frames 10:20, found"):
        predict(weights, gif, "--frames", "10:20", *flags(tmp_path / "out", "IUGC"))
    (record,) = records(tmp_path / "out")
    assert record["fallback"] == f"expected the frames 10:20, found {COUNT} frames; choose others"


def test_a_damaged_frame_is_a_fallback_and_black_in_the_video(weights: Path, gif: Path, tmp_path: Path) -> None:
    data = bytearray(gif.read_bytes())
    at = len(data) // 2
    data[at : at + 30] = b"\xff" * 30
    gif.write_bytes(data)
    out = tmp_path / "out"
    result = predict(weights, gif, "--frames", "all", "--strict", *flags(out, "cervix_multi"))
    assert result.exit_code == 10
    fallbacks = [record["frame"] for record in records(out) if record["fallback"]]
    assert fallbacks == [COUNT // 2]
    assert f"{COUNT} frames, 1 of them by a fallback" in result.output
    frames = video(out / "overlays" / "heart.cervix_multi.mp4")
    assert len(frames) == COUNT
    assert [number for number, frame in enumerate(frames) if np.median(frame) < 10] == fallbacks


def test_files_without_frames_are_fallbacks_and_nothing_else_is_an_error(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("once upon a time")
    (tmp_path / "empty.mp4").write_bytes(b"\0\0\0\x18ftypisom\0\0\2\0isomiso2")
    out = tmp_path / "out"
    with pytest.raises(
        InputError, match=r"^expected an image, found none .*empty\.mp4 is a video without a frame"
    ) as error:
        predict(weights, tmp_path, "--frames", "all", *flags(out, "cervix_multi", "IUGC"))
    assert error.value.exit_code == 3
    reasons = [record["fallback"] for record in records(out)]
    assert all("is a video without a frame" in reason for reason in reasons[:2])
    assert all("is a text file" in reason for reason in reasons[2:])


def test_a_cine_with_results_is_passed_over_unless_other_frames_are_wanted(
    weights: Path, gif: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = [gif, *flags(out, "cervix_multi"), "--frames"]
    predict(weights, *arguments, "all")
    first = records(out), (out / "cines.csv").read_text()
    again = predict(weights, *arguments, "all")
    assert "1 images have results already" in again.output
    assert (records(out), (out / "cines.csv").read_text()) == first
    assert "already" not in predict(weights, *arguments, "every:2").output
    assert len(records(out)) == COUNT // 2


def test_a_cine_that_was_interrupted_leaves_no_video_and_is_predicted_again(
    weights: Path, gif: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    arguments = [gif, "--frames", "all", "--batch-size", 1, *flags(out, "cervix_multi")]
    asked = count()
    late = property(lambda self: next(asked) > 2, lambda self, value: None)
    monkeypatch.setattr(ShutdownRequest, "requested", late, raising=False)
    assert predict(weights, *arguments).exit_code == Stopped.exit_code
    assert [path for path in (out / "overlays").rglob("*") if path.is_file()] == []
    assert not (out / "records").exists()
    monkeypatch.undo()
    assert predict(weights, *arguments).exit_code == 0
    assert len(records(out)) == COUNT


def test_the_parts_to_save_are_those_of_images(weights: Path, gif: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(weights, gif, "--frames", "all", "--save", "curves", *flags(out, "cervix_multi"))
    assert sorted(path.name for path in out.iterdir()) == [
        *("cines.csv", "curves", "results.csv", "results.html", "results.jsonl")
    ]
    assert "data:image/svg+xml;base64," in (out / "results.html").read_text()
    assert "curves" in command.PARTS


def test_frames_are_images_in_python(weights: Path, gif: Path, tmp_path: Path) -> None:
    model = aurora.load(weights, engine="torch")
    first = model.predict(next(aurora.frames(gif, "0:1")), "cervix_multi")
    assert (first.frame, first.source, first.to_record()["frame"]) == (0, str(gif), 0)
    assert np.array_equal(first.mask, model.predict(read_image(gif, gif.parent).pixels, "cervix_multi").mask)
    assert model.predict(gif, "cervix_multi").frame is None
