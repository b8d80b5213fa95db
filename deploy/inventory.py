"""Inside an image: list the largest folders, and fail on files that only training, testing or building needs."""

import os
import shutil
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

APP = Path("/opt/app")
ELSEWHERE = {"/proc", "/sys", "/dev", "/tmp"}
COMPILERS = ("cc", "gcc", "g++", "clang", "ld", "make", "cmake", "nvcc", "rustc")
PACKAGES = ("training", "pytest", "hypothesis", "transformers", "tensorboard", "matplotlib", "onnx", "mypy", "ruff")
CACHES = (os.path.expanduser("~/.cache"), "/var/cache/apt/archives/partial", "/home")


def problems() -> list[str]:
    """Describe everything that shouldn't be in the image."""
    superfluous = [f"the compiler {path}" for path in map(shutil.which, COMPILERS) if path]
    superfluous += [f"the package {name}" for name in PACKAGES if find_spec(name)]
    superfluous += [f"{name} in {APP}" for name in ("test", "docs", "training", "deploy") if (APP / name).exists()]
    superfluous += [f"a cache, {path}" for path in CACHES if os.path.isdir(path) and os.listdir(path)]
    libraries = Path("/opt/venv")
    superfluous += [f"tests, {path}" for path in libraries.rglob("tests") if path.is_dir()]
    superfluous += [f"C headers, {path}" for path in libraries.glob("lib/*/site-packages/torch/include")]
    return superfluous


def sizes() -> Counter[str]:
    """Return the bytes in each folder: libraries by package, everything else by its two uppermost folders."""
    total: Counter[str] = Counter()
    for root, folders, names in os.walk("/"):
        folders[:] = [name for name in folders if os.path.join(root, name) not in ELSEWHERE]
        for name in names:
            path = os.path.join(root, name)
            depth = 7 if "/site-packages/" in path else 3
            total["/".join(path.split("/")[:depth])] += os.lstat(path).st_size
    return total


if __name__ == "__main__":
    for folder, size in sizes().most_common(25):
        print(f"{size / 1e6:8.1f} MB  {folder}")
    wrong = problems()
    print("\n".join(f"expected none in the image: {problem}" for problem in wrong))
    sys.exit(bool(wrong))
