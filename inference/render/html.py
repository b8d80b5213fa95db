"""Render the HTML templates in this folder, and embed pictures in them."""

import math
from base64 import b64encode
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from aurora import __version__

JPEG_QUALITY = 80


def render(template: str, **values: Any) -> bytes:
    """Render a template in this folder with `values`; return the page in UTF-8."""
    return _environment().get_template(template).render(values).encode(errors="backslashreplace")


def picture(pixels: np.ndarray) -> str:
    """Encode an image (H, W, 3) RGB as a JPEG in a data URL."""
    encoded = cv2.imencode(".jpg", pixels[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1]
    return "data:image/jpeg;base64," + b64encode(encoded.tobytes()).decode()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["version"] = __version__
    environment.filters.update(count=lambda value: f"{value:,}", fixed=_fixed, percent=lambda value: f"{value:.1%}")
    return environment


def _fixed(value: float | None, digits: int = 3) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:,.{digits}f}"
