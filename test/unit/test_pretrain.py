"""Pre-training: what is hidden can't be seen, only that counts, and it is learnt; the file is one to start from."""

import logging
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from aurora.errors import DeviceError, ImageError, InputError, OutputError, Stopped, UsageError, WeightsError
from aurora.model import checkpoint
from aurora.model.aurora import Aurora, normalise
from aurora.model.config import PRESETS
from aurora.rows import image_file, read_rows
from training.cli import main
from training.config import FitConfig
from training.fit.distributed import ProcessGroup
from training.phantom import generate
from training.pretrain.images import UnlabelledImages, find_images
from training.pretrain.pretrain import MASK_RATIO, MaskedImageModel, pretrain, random_mask

ALONE = ProcessGroup(torch.device("cpu"))
CONFIG = FitConfig(
    preset="micro",
    steps=4,
    image_size=64,
    batch_size=4,
    warmup_steps=1,
    precision="fp32",
    device="cpu",
    log_every=2,
)
SMOKE = Path(__file__).resolve().parents[2] / "training" / "configs" / "smoke.yaml"


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unlabelled")
    generate(folder, cases=4, seed=3, tasks=["lung", "organ_cls"], split="test", size_scale=0.4)
    return folder


def masked_model(size: tuple[int, int] = (64, 96)) -> MaskedImageModel:
    torch.manual_seed(0)
    return MaskedImageModel(Aurora(replace(PRESETS["micro"], image_size=size), {}))


def pixels(count: int, size: tuple[int, int]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return normalise(torch.randint(0, 256, (count, *size, 3), dtype=torch.uint8, generator=generator))


def test_as_many_squares_as_said_are_hidden_elsewhere_in_every_image() -> None:
    hidden = random_mask(50, (6, 5), torch.Generator().manual_seed(0))
    assert hidden.shape == (50, 1, 6, 5)
    assert hidden.unique().tolist() == [0.0, 1.0]
    assert hidden.sum((1, 2, 3)).unique().tolist() == [round(MASK_RATIO * 30)]
    assert len({tuple(image.flatten().tolist()) for image in hidden}) == 50
    assert torch.equal(hidden, random_mask(50, (6, 5), torch.Generator().manual_seed(0)))
    assert ((hidden.mean(0) - MASK_RATIO).abs() < 0.3).all()


def test_no_part_of_the_network_sees_what_is_hidden() -> None:
    network, images = masked_model(), pixels(2, (64, 96))
    assert network.grid == (2, 3)
    hidden = torch.tensor([[[[1.0, 0, 0], [0, 0, 1]]], [[[0.0, 1, 0], [0, 1, 0]]]])
    covered = hidden.repeat_interleave(32, 2).repeat_interleave(32, 3).expand_as(images) > 0
    seen: list[torch.Tensor] = []
    assert network.model.stem is not None
    for part in (network.model.stem, network.model.encoder):
        part.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(images, hidden)
    assert len(seen) == 2
    for image in seen:
        assert (image[covered] == 0).all()
        assert torch.equal(image[~covered], images[~covered])


def test_the_loss_is_the_mean_error_of_the_hidden_cells_alone() -> None:
    network, images = masked_model(), pixels(2, (64, 96))
    network.to_colours.weight.data.zero_()
    network.to_colours.bias.data = torch.tensor([0.5, -0.25, 0.0])
    hidden = torch.tensor([[[[1.0, 0, 0], [0, 0, 1]]], [[[0.0, 1, 0], [0, 1, 0]]]])
    expected = []
    for image, row, column in ((0, 0, 0), (0, 1, 2), (1, 0, 1), (1, 1, 1)):
        square = images[image, :, 32 * row : 32 * row + 32, 32 * column : 32 * column + 32].numpy()
        cells = square.reshape(3, 8, 4, 8, 4).mean(axis=(2, 4))
        expected.append(np.abs(np.array([0.5, -0.25, 0.0])[:, None, None] - cells).mean())
    assert network(images, hidden).item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_each_picture_comes_once_before_any_comes_again(unlabelled: Path) -> None:
    found = find_images([unlabelled, unlabelled], "error")
    assert len(found) == 8
    config = CONFIG.model_copy(update={"augment": (), "num_workers": 3})
    first, again = (iter(UnlabelledImages(found, config)) for _ in range(2))
    rounds = [np.concatenate([next(first), next(first)]) for _ in range(2)]
    for batch in rounds:
        assert len({image.tobytes() for image in batch}) == 8
    assert not np.array_equal(*rounds)
    assert np.array_equal(rounds[0], np.concatenate([next(again), next(again)]))


def test_pictures_are_turned_and_mirrored(unlabelled: Path) -> None:
    found = find_images([unlabelled], "error")[:1]
    batch = next(iter(UnlabelledImages(found, CONFIG)))
    assert len({image.tobytes() for image in batch}) == 4


def test_bad_pictures_are_named_or_left_out(unlabelled: Path, tmp_path: Path) -> None:
    generate(tmp_path, cases=2, seed=4, tasks=["organ_cls"], size_scale=0.4)
    spoilt = image_file(tmp_path, read_rows(tmp_path).rows[0])
    spoilt.write_bytes(b"no image")
    found = find_images([tmp_path], "error")
    with pytest.raises(ImageError, match=spoilt.name):
        next(iter(UnlabelledImages(found, CONFIG)))
    album = UnlabelledImages(found, CONFIG.model_copy(update={"on_bad_case": "skip"}))
    assert next(iter(album)).shape == (4, 64, 64, 3)
    assert list(album.skipped) == [spoilt]
    with pytest.raises(InputError, match="found none among 1"):
        next(iter(UnlabelledImages(found[:1], CONFIG.model_copy(update={"on_bad_case": "skip"}))))


def test_a_row_whose_path_leads_nowhere_is_named_or_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate(tmp_path, cases=2, seed=4, tasks=["organ_cls"], size_scale=0.4)
    table = next((tmp_path / "csv_files").iterdir())
    head, first, *rest = table.read_text().splitlines()
    blank = ",".join("" if "../" in cell else cell for cell in first.split(","))
    table.write_text("\n".join([head, blank, *rest]) + "\n")
    with pytest.raises(ImageError, match="image_path is blank"):
        find_images([tmp_path], "error")
    assert len(find_images([tmp_path], "skip")) == 1
    assert "left out: " in capsys.readouterr().out


def test_it_learns_and_a_run_begins_with_what_it_learnt(tmp_path: Path) -> None:
    generate(tmp_path / "data", cases=4, seed=3, tasks=["lung", "fetal_head"], size_scale=0.4)
    weights, run = tmp_path / "masked.safetensors", CliRunner()
    given = ["--config", str(SMOKE), "--data", str(tmp_path / "data")]
    settings = [
        "preset=micro",
        "image_size=64",
        "steps=60",
        "batch_size=8",
        "log_every=20",
        "device=cpu",
        "augment=false",
    ]
    done = run.invoke(main, ["pretrain", *given, "--out", str(weights), *settings, "augment=false"])
    assert done.exit_code == 0, done.output
    losses = [float(line.split()[5]) for line in done.output.splitlines() if line.startswith("step")]
    assert len(losses) == 3
    assert losses[2] < 0.8 * losses[0]
    model, spec = checkpoint.load(weights)
    assert (dict(spec.tasks), spec.provenance["images"], spec.provenance["step"]) == ({}, 8, 60)
    done = run.invoke(main, ["export", "--weights", str(weights), "--out", str(tmp_path / "masked.onnx")])
    assert isinstance(done.exception, WeightsError)
    assert "expected weights with tasks, found none in" in str(done.exception)
    # So slowly that nothing but a weight's beginning can be seen.
    settings = ["image_size=64", "steps=1", "batch_size=4", "device=cpu", "val_share=0", "learning_rate=1e-12"]
    done = run.invoke(main, ["fit", *given, "--out", str(tmp_path / "run"), f"init_from={weights}", *settings])
    assert done.exit_code == 0, done.output
    begun = checkpoint.load(tmp_path / "run" / "best.safetensors")[0].state_dict()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(begun[name], tensor)


class SignalAt(logging.Handler):
    """Send SIGTERM to this process once a step is logged."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith(f"step {self.step} "):
            signal.raise_signal(signal.SIGTERM)


def test_a_stop_keeps_the_weights(unlabelled: Path, tmp_path: Path) -> None:
    logger, handler = logging.getLogger("aurora.training"), SignalAt(2)
    logger.addHandler(handler)
    try:
        with pytest.raises(Stopped, match=r"stopped at step 3 of 4; init_from=.*out.safetensors starts with"):
            pretrain(CONFIG, [unlabelled], tmp_path / "out.safetensors", ALONE)
    finally:
        logger.removeHandler(handler)
    assert checkpoint.read_spec(tmp_path / "out.safetensors").provenance["step"] == 3


def test_a_place_that_can_not_be_written_is_found_out_at_the_first_step(unlabelled: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="name another place with --out"):
        pretrain(CONFIG.model_copy(update={"steps": 10**9}), [unlabelled], tmp_path / "file" / "out.safetensors", ALONE)


def test_a_loss_that_is_not_finite_and_several_processes_are_refused(unlabelled: Path, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"learning_rate": 1e30, "warmup_steps": 0})
    with pytest.raises(DeviceError, match=r"found a loss of .* at step"):
        pretrain(config, [unlabelled], tmp_path / "out.safetensors", ALONE)
    with pytest.raises(UsageError, match="expected one process for pre-training, found 2"):
        pretrain(CONFIG, [unlabelled], tmp_path / "out.safetensors", ProcessGroup(torch.device("cpu"), 0, 2))


def test_what_is_unusual_about_images_is_counted(
    unlabelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    shutil.copytree(unlabelled, root)
    first = image_file(root, read_rows(root).rows[0])
    first.write_bytes(cv2.imencode(".png", cv2.imread(str(first)).astype(np.uint16) * 200)[1].tobytes())
    pretrain(CONFIG.model_copy(update={"steps": 2}), [root], tmp_path / "w.safetensors", ALONE)
    assert f"warnings (1): uint16 pixels were scaled from their 1st..99th percentile to 8 bits [{first.name}]" in (
        capsys.readouterr().out
    )
