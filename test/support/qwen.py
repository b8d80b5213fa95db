"""Qwen3-VL as its own library has it: the tower to compare with, and checkpoints with random weights."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aurora.model.config import EncoderConfig

#: A tower with the dimensions of the preset `tiny`.
TINY_VISION = {"depth": 6, "hidden_size": 192, "intermediate_size": 768, "num_heads": 3}
TINY_TEXT = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 32,
}


def make_checkpoint(
    folder: Path,
    *,
    vision: dict[str, Any] = TINY_VISION,
    text: dict[str, Any] = TINY_TEXT,
    dtype: torch.dtype = torch.bfloat16,
    shard_size: str = "50GB",
    language_head: bool = True,
) -> Path:
    """Save a Qwen3-VL model to `folder`; without `language_head` its tensors bear the shorter prefix."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration, Qwen3VLModel

    torch.manual_seed(0)
    merger = {"out_hidden_size": text["hidden_size"], "deepstack_visual_indexes": [1, 2]}
    config = Qwen3VLConfig(text_config=dict(text), vision_config={**vision, **merger})
    kind = Qwen3VLForConditionalGeneration if language_head else Qwen3VLModel
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        kind(config).save_pretrained(folder, max_shard_size=shard_size)
    finally:
        torch.set_default_dtype(before)
    return folder


def make_library_tower(config: EncoderConfig):  # type: ignore[no-untyped-def]
    """transformers' tower of these dimensions with random weights."""
    from transformers import Qwen3VLVisionModel
    from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLVisionConfig

    torch.manual_seed(0)
    library_config = Qwen3VLVisionConfig(
        depth=config.depth,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_heads=config.num_heads,
        num_position_embeddings=config.num_position_embeddings,
        out_hidden_size=64,
        deepstack_visual_indexes=[0],
    )
    tower = Qwen3VLVisionModel._from_config(library_config, attn_implementation="sdpa").eval()
    for parameter in tower.parameters():  # away from the initial zeros and ones, so that each one counts
        parameter.data += 0.05 * torch.randn_like(parameter)
    return tower


def merge_order(pixels: Tensor) -> Tensor:
    """Pixels (B, 3, H, W) as the library's processor packs them: 2x2 merge blocks of patches, two equal frames."""
    batch, _, height, width = pixels.shape
    x = pixels.view(batch, 3, height // 32, 2, 16, width // 32, 2, 16).permute(0, 2, 5, 3, 6, 1, 4, 7)
    return x.unsqueeze(6).expand(*x.shape[:6], 2, 16, 16).reshape(-1, 3 * 2 * 16 * 16)


def raster(tokens: Tensor, batch: int, grid: tuple[int, int]) -> Tensor:
    """Tokens in merge order (B x rows x columns, C) to maps (B, C, rows, columns)."""
    x = tokens.view(batch, grid[0] // 2, grid[1] // 2, 2, 2, -1)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(batch, -1, *grid)


@torch.no_grad()
def library_blocks(tower, pixels: Tensor) -> list[Tensor]:  # type: ignore[no-untyped-def]
    """What each of the library's blocks gives for pixels (B, 3, H, W), as maps (B, C, rows, columns)."""
    batch, grid = len(pixels), (pixels.shape[2] // 16, pixels.shape[3] // 16)
    blocks: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda *io: blocks.append(io[2])) for block in tower.blocks]
    tower(merge_order(pixels), torch.tensor([[1, *grid]] * batch))
    for hook in hooks:
        hook.remove()
    return [raster(tokens, batch, grid) for tokens in blocks]


@torch.no_grad()
def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())
