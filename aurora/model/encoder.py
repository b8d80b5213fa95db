"""Qwen3-VL's vision tower without the language model: batched, in raster order, tapped at four blocks.

The parameters have the names of the published checkpoints (`patch_embed.proj`, `pos_embed`, `blocks.N.attn.qkv`, ...).
Two things differ from the library's tower, without changing values: tokens are in raster order instead of 2x2 merge
blocks, so that reshaping them to a map is spatially exact; and the two temporal kernels of the patch embedding, which
see the same still image, are summed into one `Conv2d`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from aurora.model.config import ROPE_THETA, EncoderConfig

NORM_EPS = 1e-6
# From this many tokens, storing the attention matrix for the backward pass costs too much memory.
FUSED_TOKENS = 256
#: Attention scores this far below the largest one of their row count as this far in an exported graph. Their
#: probabilities, below 1e-34, would be subnormal numbers, which take a processor a hundred times as long to multiply.
LEAST_SCORE = -80.0


def rotary_tables(grid: tuple[int, int], head_dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of the 2-D rotary embedding, each (rows x columns, head_dim), in raster order.

    A quarter of the channels rotates with the row, a quarter with the column, and the second half repeats the first,
    as in Qwen3-VL.
    """
    frequency = 1.0 / ROPE_THETA ** (torch.arange(0, head_dim // 2, 2, device=device).float() / (head_dim // 2))
    rows = torch.arange(grid[0], device=device).float()[:, None, None] * frequency
    columns = torch.arange(grid[1], device=device).float()[None, :, None] * frequency
    angles = torch.cat([rows.expand(*grid, -1), columns.expand(*grid, -1)], dim=-1).flatten(0, 1)
    return angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate queries or keys (..., tokens, head_dim) by their position, in float32."""
    first, second = x.float().chunk(2, dim=-1)
    quarter_turn = torch.cat([-second, first], dim=-1)
    return (x.float() * cos + quarter_turn * sin).to(x.dtype)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute softmax attention; query, key, value and result are (..., tokens, head_dim)."""
    few_on_cpu = value.device.type == "cpu" and value.dtype is torch.bfloat16 and value.shape[-2] < FUSED_TOKENS
    # For few tokens on a CPU, PyTorch's fused kernel takes twice as long as plain products, forward and backward. In an
    # exported graph it becomes plain products with more transpositions than these.
    if not (few_on_cpu or torch.compiler.is_exporting()):
        return F.scaled_dot_product_attention(query, key, value)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    if torch.compiler.is_exporting():
        scores = (scores - scores.amax(-1, keepdim=True)).clamp(min=LEAST_SCORE)
    return scores.softmax(-1) @ value


class PatchEmbed(nn.Module):
    """Embed pixels (B, 3, H, W) as patch vectors (B, C, H/patch, W/patch)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.hidden_size, config.patch_size, config.patch_size)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.proj(pixels)


class Attention(nn.Module):
    """Full self-attention over the tokens of one image, with rotary positions."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.num_heads, width // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = attend(rotate(query, cos, sin), rotate(key, cos, sin), value)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))


class MLP(nn.Module):
    """A block's feed-forward network, with the tanh approximation of GELU."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.linear_fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.linear_fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_fc2(F.gelu(self.linear_fc1(x), approximate="tanh"))


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=NORM_EPS)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=NORM_EPS)
        self.attn = Attention(config)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x), cos, sin)
        return x + self.mlp(self.norm2(x))


class Encoder(nn.Module):
    """The tower up to its last tap; there is no final norm.

    With `gradient_checkpointing` set, training stores only the inputs of each block and recomputes its activations in
    the backward pass.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.gradient_checkpointing = False
        self.patch_embed = PatchEmbed(config)
        self.pos_embed = nn.Embedding(config.num_position_embeddings, config.hidden_size)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.apply(_initialise)

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """Return the learned position embeddings (1, C, rows, columns) on a grid of (rows, columns).

        The square table is resampled bilinearly with aligned corners, as in Qwen3-VL.
        """
        side = round(self.config.num_position_embeddings**0.5)
        table = self.pos_embed.weight.T.view(1, -1, side, side)
        return F.interpolate(table.float(), grid, mode="bilinear", align_corners=True).to(table.dtype)

    def forward(self, pixels: Tensor, token_bias: Tensor | None = None) -> list[Tensor]:
        """Encode pixels as four token maps (B, C, rows, columns), the outputs of the blocks `config.taps`.

        Args:
            pixels: (B, 3, H, W) in [-1, 1]; H and W are multiples of the patch size. The patch at rows i*patch and
                columns j*patch becomes position (i, j) of the maps.
            token_bias: (B, C, rows, columns), added to the embedded patches.
        """
        x = self.patch_embed(pixels)
        if token_bias is not None:
            x = x + token_bias
        grid = (x.shape[2], x.shape[3])
        x = (x + self.positions(grid)).flatten(2).transpose(1, 2)
        cos, sin = rotary_tables(grid, self.config.hidden_size // self.config.num_heads, x.device)
        outputs = {}
        for index, block in enumerate(self.blocks):
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, cos, sin, use_reentrant=False)
            else:
                x = block(x, cos, sin)
            outputs[index] = x
        # In this order, so that ONNX Runtime cancels the permutation with the pyramid's.
        return [outputs[tap].unflatten(1, grid).permute(0, 3, 1, 2) for tap in self.config.taps]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
