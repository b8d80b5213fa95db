"""Places that training can't write to: the last line names the cause and the cure, as that of a run does."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from faults.catalogue.outputs import mounted

from aurora.errors import OutputError
from training.cli import main
from training.phantom import generate

SMOKE = Path(__file__).resolve().parents[2] / "training" / "configs" / "smoke.yaml"
COMMANDS = {
    "fit": ["--config", SMOKE, "--data", "DATA", "--out"],
    "pretrain": ["--config", SMOKE, "--data", "DATA", "device=cpu", "image_size=64", "batch_size=2", "--out"],
    "phantom": ["--cases", 1, "--seed", 0, "--tasks", "breast_2cls", "--out"],
    "baseline": ["--train", "DATA", "--data", "DATA", "--out"],
    "import-data": ["DATA/Classification/Two", "--format", "folders", "--task", "mine", "--out"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    generate(root, cases=2, seed=0, tasks=["breast_2cls", "lung_2cls"], size_scale=0.2)
    return root


@pytest.fixture
def call(data: Path) -> Callable[[str, Path], str]:
    """Returns the last line of a command that writes to a place."""

    def called(name: str, out: Path) -> str:
        words = [str(word).replace("DATA", str(data)) for word in COMMANDS[name]]
        result = CliRunner().invoke(main, [name, *words, str(out)])
        assert isinstance(result.exception, OutputError), result.output
        return str(result.exception)

    return called


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_mounted_read_only(call: Callable[[str, Path], str], tmp_path: Path, name: str) -> None:
    with mounted(tmp_path / "out", "ro"):
        said = call(name, tmp_path / "out" / "new")
    assert "Read-only file system; running as " in said
    assert f"{tmp_path / 'out'} belongs to uid 0 with mode " in said
    assert "; mount it writable (docker run -v without :ro) or name another " in said


def test_an_immutable_folder(call: Callable[[str, Path], str], tmp_path: Path) -> None:
    if os.geteuid() or subprocess.run(["chattr", "+i", str(tmp_path)], capture_output=True).returncode:
        pytest.skip("no folder can be made immutable here")
    try:
        said = call("fit", tmp_path)
    finally:
        subprocess.run(["chattr", "-i", str(tmp_path)], check=True)
    assert "; make it changeable (lsattr shows an immutable folder, chattr -i changes it) or name another " in said


def test_a_full_disk(call: Callable[[str, Path], str], tmp_path: Path) -> None:
    with mounted(tmp_path / "out", "size=4k"):
        (tmp_path / "out" / "other").write_bytes(bytes(4096))
        said = call("fit", tmp_path / "out")
    assert "; make room (0 MiB are free) or name another place with --out" in said
