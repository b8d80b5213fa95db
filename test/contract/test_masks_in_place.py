"""Masks that `run` and `predict` write for a volume lie where the volume lies, so that a viewer shows them on it."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from click.testing import CliRunner

from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.config import PRESETS
from aurora.tasks import OFFICIAL, registry
from inference.cli import main

AXES = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0], [0.48, 0.64, 0.6]])
COUNT, HEIGHT, WIDTH = 4, 40, 56


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "w.safetensors"
    checkpoint.save(path, Aurora(PRESETS["micro"], registry([OFFICIAL["cervix"]])), {})
    return path


@pytest.fixture
def volume(tmp_path: Path) -> sitk.Image:
    """A volume in root/images that is turned and moved, with its file."""
    (tmp_path / "root" / "images").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, HEIGHT, WIDTH)).astype(np.uint8)
    image = sitk.GetImageFromArray(pixels)
    image.SetDirection(AXES.ravel().tolist())
    image.SetSpacing((0.25, 0.5, 2))
    image.SetOrigin((12.5, -30, 7))
    sitk.WriteImage(image, str(tmp_path / "root" / "images" / "a.nii.gz"))
    return image


def is_slice(path: Path, volume: sitk.Image, number: int) -> bool:
    """Return whether a mask lies where a slice of the volume lies."""
    mask = sitk.ReadImage(str(path))
    assert mask.GetSize() == (WIDTH, HEIGHT, 1)
    ends = [(0, 0), (WIDTH - 1, 0), (0, HEIGHT - 1)]
    first = [mask.TransformIndexToPhysicalPoint((x, y, 0)) for x, y in ends]
    second = [volume.TransformIndexToPhysicalPoint((x, y, number)) for x, y in ends]
    return np.allclose(first, second, atol=1e-4)


@pytest.mark.parametrize("ending", [".nii.gz", ".seg.nrrd", ".mha"])
def test_the_mask_of_a_run_lies_on_its_image(tmp_path: Path, weights: Path, volume: sitk.Image, ending: str) -> None:
    table = tmp_path / "root" / "csv_files" / "a.csv"
    table.parent.mkdir()
    row = f"cervix,segmentation,2,../images/a.nii.gz,../masks/a{ending}"
    table.write_text(f"task_id,task_name,num_classes,image_path,mask_path\n{row}\n")
    arguments = ["run", "--input", str(tmp_path / "root"), "--output", str(tmp_path / "out"), "--weights", str(weights)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert is_slice(tmp_path / "out" / "masks" / f"a{ending}", volume, 2)


def test_predict_writes_each_slice_where_it_lies(tmp_path: Path, weights: Path, volume: sitk.Image) -> None:
    image = tmp_path / "root" / "images" / "a.nii.gz"
    for frames, names in (("middle", ["a.cervix"]), ("all", [f"a.cervix/{number:04}" for number in range(COUNT)])):
        out = tmp_path / frames
        arguments = ["predict", str(image), "--task", "cervix", "--output", str(out), "--save", "nifti"]
        found = CliRunner().invoke(main, [*arguments, "--frames", frames, "--weights", str(weights)])
        assert found.exit_code == 0, found.output
        assert sorted(path.relative_to(out / "nifti").as_posix() for path in (out / "nifti").rglob("*.nii.gz")) == [
            f"{name}.nii.gz" for name in names
        ]
    assert is_slice(tmp_path / "middle" / "nifti" / "a.cervix.nii.gz", volume, 2)
    for number in range(COUNT):
        assert is_slice(tmp_path / "all" / "nifti" / "a.cervix" / f"{number:04}.nii.gz", volume, number)
