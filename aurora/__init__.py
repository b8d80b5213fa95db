"""AURORA: one model for many ultrasound tasks.

Example:
    >>> import aurora
    >>> model = aurora.load()
    >>> model.predict("head.png", "fetal_head").mask.shape
    (562, 799)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aurora.api import Model, frames, load

__version__ = "0.1.0"
__all__ = ["Model", "__version__", "frames", "load"]


def __getattr__(name: str) -> Any:
    """Import the interface when it is first used, so that importing the package costs nothing."""
    if name in ("Model", "frames", "load"):
        from aurora import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
