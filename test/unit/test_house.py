"""The house rules: which way imports point, how long a file is, what starts without the heavy libraries."""

import hashlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import aurora

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("aurora", "inference", "training", "test")


def test_imports_point_one_way() -> None:
    # In a process of its own, because the linter disables all loggers that exist.
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("room", ROOMS)
def test_files_stay_under_400_lines(room: str) -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / room).rglob("*.py")}
    assert lengths, f"no Python files in {room}"
    assert {str(path): n for path, n in lengths.items() if n >= 400} == {}


def test_tasks_rows_and_errors_start_without_heavy_libraries() -> None:
    code = "import sys, aurora.tasks, aurora.rows, aurora.errors; print({'torch', 'cv2', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")


def test_the_image_names_the_version_of_the_code() -> None:
    assert f'image.version="{aurora.__version__}"' in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_image_names_the_weights_in_it() -> None:
    checksum = hashlib.sha256((ROOT / "weights" / "aurora-tiny.safetensors").read_bytes()).hexdigest()
    assert f'aurora.weights.sha256="{checksum}"' in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_an_installed_package_has_the_weights() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert "weights" in settings["packages"]["find"]["include"]
    shipped = {path for pattern in settings["package-data"]["weights"] for path in (ROOT / "weights").glob(pattern)}
    assert shipped >= {path for path in (ROOT / "weights").rglob("*") if path.is_file()}
