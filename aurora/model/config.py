"""The model's dimensions; plain data, so that reading a checkpoint's description needs no PyTorch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

STRIDES = (4, 8, 16, 32)
#: The coarsest stride of the stem, which must be the encoder's patch size.
STEM_PATCH = 16
#: Published networks that can be a stem; see `aurora.model.efficientnet`.
STEMS = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
#: Groups of the convolutions' GroupNorm.
NORM_GROUPS = 8
#: Base of the rotary embedding's frequencies.
ROPE_THETA = 10_000.0


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Dimensions of the vision tower, with the names of Qwen3-VL's `vision_config`."""

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
        """The indices of the four blocks that feed the pyramid, evenly spaced from the first to the last."""
        return tuple(round(i * (self.depth - 1) / 3) for i in range(4))


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything that determines the network's shape, apart from the task registry.

    Attributes:
        encoder: the vision tower.
        pyramid_width: channels of every pyramid level.
        image_size: height and width of the model's input in pixels, each a multiple of twice the patch size.
        stem_width: channels of the small convolutional stem's first layer; 0 for no such stem.
        stem: a published convolutional network in `STEMS` as the stem; None for none.
        novelty: whether the model says how unlike its training images each image is.

    Raises:
        ValueError: the dimensions don't fit together.
    """

    encoder: EncoderConfig
    pyramid_width: int
    image_size: tuple[int, int]
    stem_width: int = 0
    stem: str | None = None
    novelty: bool = False

    def __post_init__(self) -> None:
        step = 2 * self.encoder.patch_size
        if any(side <= 0 or side % step for side in self.image_size):
            raise ValueError(f"image_size must be multiples of {step}, found {self.image_size}")
        if (self.stem_width or self.stem) and self.encoder.patch_size != STEM_PATCH:
            raise ValueError(f"a stem needs patches of {STEM_PATCH} pixels, found {self.encoder.patch_size}")
        if self.stem_width and self.stem:
            raise ValueError(f"expected stem_width or stem, found {self.stem_width} and {self.stem}")
        if self.stem and self.stem not in STEMS:
            raise ValueError(f"stem must be one of {', '.join(STEMS)}, found {self.stem}")
        if self.stem_width < 0 or self.stem_width % NORM_GROUPS:
            raise ValueError(f"stem_width must be a multiple of {NORM_GROUPS}, found {self.stem_width}")

    def to_record(self) -> dict[str, Any]:
        """Return the configuration as a JSON-ready record."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Parse a record made by `to_record`; a single number for `image_size` is the side of a square.

        Raises:
            KeyError, TypeError, ValueError: the record has other content.
        """
        size = record["image_size"]
        height, width = (size, size) if isinstance(size, int) else size
        return cls(**{**record, "encoder": EncoderConfig(**record["encoder"]), "image_size": (height, width)})


_2B = EncoderConfig(24, 1024, 4096, 16)
_8B = EncoderConfig(27, 1152, 4304, 16)

#: Configurations by name; `micro` is for tests and smoke runs. Those of Qwen3-VL are from the published config.json
#: files, which `import-encoder` reads.
PRESETS = {
    "micro": ModelConfig(EncoderConfig(4, 48, 96, 3), pyramid_width=16, image_size=(64, 64), stem_width=8),
    "tiny": ModelConfig(EncoderConfig(6, 192, 768, 3), pyramid_width=64, image_size=(256, 256), stem_width=16),
    "tiny-lite0": ModelConfig(
        EncoderConfig(3, 192, 768, 3), pyramid_width=64, image_size=(192, 192), stem="efficientnet-lite0"
    ),
    "small": ModelConfig(EncoderConfig(12, 256, 1024, 4), pyramid_width=96, image_size=(256, 256), stem_width=16),
    "qwen3-vl-2b": ModelConfig(_2B, pyramid_width=256, image_size=(448, 448)),
    "qwen3-vl-4b": ModelConfig(_2B, pyramid_width=256, image_size=(448, 448)),
    "qwen3-vl-8b": ModelConfig(_8B, pyramid_width=256, image_size=(448, 448)),
    "qwen3-vl-32b": ModelConfig(_8B, pyramid_width=256, image_size=(448, 448)),
}
