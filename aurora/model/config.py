"""The model's dimensions; plain data, so that a checkpoint is described without torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Dimensions of the vision tower, under the names of Qwen3-VL's `vision_config`."""

    depth: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    patch_size: int = 16
    num_position_embeddings: int = 2304

    def __post_init__(self) -> None:
        if self.hidden_size % (4 * self.num_heads):
            raise ValueError(
                f"hidden_size must be a multiple of 4 x num_heads for the 2-D rotary embedding, "
                f"found {self.hidden_size} and {self.num_heads} heads"
            )

    @property
    def taps(self) -> tuple[int, ...]:
        """The four blocks whose outputs feed the pyramid, evenly spaced from the first to the last."""
        return tuple(round(i * (self.depth - 1) / 3) for i in range(4))


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything that fixes the network's shape, apart from the task registry.

    `image_size` is the side in pixels of the square image that the model sees, a multiple of 64 (or of
    twice the patch size).
    """

    encoder: EncoderConfig
    pyramid_width: int
    image_size: int

    def __post_init__(self) -> None:
        step = 2 * self.encoder.patch_size
        if self.image_size <= 0 or self.image_size % step:
            raise ValueError(f"image_size must be a multiple of {step}, found {self.image_size}")

    def to_record(self) -> dict[str, Any]:
        """The configuration as a JSON-ready record."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `to_record`; raises `KeyError` or `TypeError` on other content."""
        return cls(**{**record, "encoder": EncoderConfig(**record["encoder"])})


PRESETS = {
    "tiny": ModelConfig(EncoderConfig(6, 192, 768, 3), pyramid_width=64, image_size=256),
    "small": ModelConfig(EncoderConfig(12, 256, 1024, 4), pyramid_width=96, image_size=256),
}
