"""Which versions of the libraries that answers depend on are installed."""

from importlib.metadata import PackageNotFoundError, version

LIBRARIES = (
    "numpy",
    "opencv-python-headless",
    "SimpleITK",
    "pillow",
    "pydantic",
    "onnxruntime",
    "torch",
    "scikit-learn",
)


def libraries() -> dict[str, str]:
    """The version of each of `LIBRARIES`, or "absent"."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found
