"""The tower against the library's own, and a probe that its maps lie where the image does."""

import pytest
import torch
from torch import Tensor

from aurora.model.config import PRESETS, EncoderConfig
from aurora.model.encoder import Encoder

CONFIG = EncoderConfig(depth=4, hidden_size=96, intermediate_size=192, num_heads=3)
# How much a patch is brighter than the one above it, and than the one to its left.
ROW, COLUMN = 1e-3, 1e-1


@pytest.fixture(scope="module")
def library_tower():  # type: ignore[no-untyped-def]
    """transformers' tower with random weights of the configuration above."""
    from transformers import Qwen3VLVisionModel
    from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLVisionConfig

    torch.manual_seed(0)
    config = Qwen3VLVisionConfig(
        depth=CONFIG.depth,
        hidden_size=CONFIG.hidden_size,
        intermediate_size=CONFIG.intermediate_size,
        num_heads=CONFIG.num_heads,
        num_position_embeddings=CONFIG.num_position_embeddings,
        out_hidden_size=64,
        deepstack_visual_indexes=[1],
    )
    tower = Qwen3VLVisionModel._from_config(config, attn_implementation="sdpa").eval()
    for parameter in tower.parameters():  # away from the initial zeros and ones, so that each one counts
        parameter.data += 0.05 * torch.randn_like(parameter)
    return tower


def ours_from(tower) -> Encoder:  # type: ignore[no-untyped-def]
    encoder = Encoder(CONFIG)
    state = {name: value for name, value in tower.state_dict().items() if name in encoder.state_dict()}
    state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"].sum(2)
    encoder.load_state_dict(state)
    return encoder.eval()


def merge_order(pixels: Tensor) -> Tensor:
    """Pixels (B, 3, H, W) as the library's processor packs them: 2x2 merge blocks of patches, two equal frames."""
    batch, _, height, width = pixels.shape
    x = pixels.view(batch, 3, height // 32, 2, 16, width // 32, 2, 16).permute(0, 2, 5, 3, 6, 1, 4, 7)
    return x.unsqueeze(6).expand(*x.shape[:6], 2, 16, 16).reshape(-1, 3 * 2 * 16 * 16)


def raster(tokens: Tensor, batch: int, grid: tuple[int, int]) -> Tensor:
    """Tokens in merge order (B x rows x columns, C) to maps (B, C, rows, columns)."""
    x = tokens.view(batch, grid[0] // 2, grid[1] // 2, 2, 2, -1)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(batch, -1, *grid)


@pytest.mark.parametrize("size", [(128, 128), (64, 192), (448, 320)])
def test_every_tap_equals_the_librarys(library_tower, size) -> None:  # type: ignore[no-untyped-def]
    pixels = torch.rand(2, 3, *size) * 2 - 1
    grid = (size[0] // 16, size[1] // 16)
    blocks: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda *io: blocks.append(io[2])) for block in library_tower.blocks]
    with torch.no_grad():
        library_tower(merge_order(pixels), torch.tensor([[1, *grid]] * 2))
        maps = ours_from(library_tower)(pixels)
    for hook in hooks:
        hook.remove()
    for tap, found in zip(CONFIG.taps, maps, strict=True):
        expected = raster(blocks[tap], 2, grid)
        assert (found - expected).norm() / expected.norm() < 1e-5


def probe_encoder() -> Encoder:
    """A tower whose every output is the mean of the patch's red channel: blocks and positions add nothing."""
    encoder = Encoder(CONFIG)
    for parameter in encoder.parameters():
        parameter.data.zero_()
    encoder.patch_embed.proj.weight.data[:, 0] = 1 / 256
    return encoder


def coordinate_image(grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """An image (1, 3, H, W) whose red channel is its patch's coordinates, and the same as a map (rows, columns)."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    expected = ROW * rows + COLUMN * columns
    red = expected.repeat_interleave(16, 0).repeat_interleave(16, 1)
    return torch.stack([red, torch.zeros_like(red), torch.zeros_like(red)])[None], expected


@pytest.mark.parametrize("grid", [(8, 8), (4, 12)])
def test_coordinate_probe_passes(grid: tuple[int, int]) -> None:
    image, expected = coordinate_image(grid)
    for found in probe_encoder()(image):
        torch.testing.assert_close(found[0, 0], expected, atol=ROW / 10, rtol=0)


def test_coordinate_probe_fails_on_a_naive_reshape_of_merge_order() -> None:
    image, expected = coordinate_image((16, 16))
    tokens = merge_order(image).view(-1, 3, 2, 16, 16)[:, 0].mean((1, 2, 3))
    misplaced = (tokens.view(16, 16) - expected).abs() > ROW / 10
    assert misplaced.float().mean() > 0.8
    torch.testing.assert_close(raster(tokens[:, None], 1, (16, 16))[0, 0], expected)


def test_taps_are_evenly_spaced() -> None:
    assert PRESETS["tiny"].encoder.taps == (0, 2, 3, 5)
    assert EncoderConfig(24, 1024, 4096, 16).taps == (0, 8, 15, 23)
    assert EncoderConfig(27, 1152, 4304, 16).taps == (0, 9, 17, 26)


def test_a_width_that_the_rotary_embedding_cannot_split_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 4 x num_heads"):
        EncoderConfig(2, 90, 90, 3)
