"""The vision tower equals the library's, and its maps are spatially exact."""

from dataclasses import replace

import pytest
import torch
from support.qwen import library_blocks, make_library_tower, merge_order, raster, relative_error
from torch import Tensor

from aurora.model.aurora import normalise
from aurora.model.config import PRESETS, EncoderConfig
from aurora.model.encoder import Encoder, attend

CONFIG = EncoderConfig(depth=4, hidden_size=96, intermediate_size=192, num_heads=3)
BLOCK_2B = replace(PRESETS["qwen3-vl-2b"].encoder, depth=1)
BLOCK_8B = replace(PRESETS["qwen3-vl-8b"].encoder, depth=1)
# How much a patch is brighter than the one above it, and than the one to its left.
ROW, COLUMN = 1e-3, 1e-1


@pytest.fixture(scope="module")
def library_tower():  # type: ignore[no-untyped-def]
    return make_library_tower(CONFIG)


def ours_from(tower, config: EncoderConfig) -> Encoder:  # type: ignore[no-untyped-def]
    encoder = Encoder(config)
    state = {name: value for name, value in tower.state_dict().items() if name in encoder.state_dict()}
    state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"].sum(2)
    encoder.load_state_dict(state)
    return encoder.eval()


@pytest.mark.parametrize("size", [(128, 128), (64, 192), (448, 320)])
def test_every_tap_equals_the_librarys(library_tower, size) -> None:  # type: ignore[no-untyped-def]
    pixels = torch.rand(2, 3, *size) * 2 - 1
    blocks = library_blocks(library_tower, pixels)
    with torch.no_grad():
        maps = ours_from(library_tower, CONFIG)(pixels)
    for tap, found in zip(CONFIG.taps, maps, strict=True):
        assert relative_error(found, blocks[tap]) < 1e-5


def test_attention_in_bfloat16_is_the_fused_kernels() -> None:
    query, key, value = torch.randn(3, 2, 3, 20, 16).unbind(0)
    found = attend(query.bfloat16(), key.bfloat16(), value.bfloat16())
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    assert found.dtype is torch.bfloat16
    assert relative_error(found.float(), expected) < 1e-2


def test_attention_in_an_exported_graph_has_no_subnormal_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value = (40 * torch.randn(2, 3, 30, 16, generator=torch.manual_seed(seed)) for seed in (0, 1, 2))
    expected = attend(query, key, value)
    probabilities: list[Tensor] = []
    softmax = Tensor.softmax
    monkeypatch.setattr(Tensor, "softmax", lambda x, axis: probabilities.append(softmax(x, axis)) or probabilities[0])
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    torch.testing.assert_close(attend(query, key, value), expected)
    plain = ((query * 16**-0.5) @ key.transpose(-2, -1)).double()
    assert softmax(plain, -1).min() < torch.finfo(torch.float32).tiny < probabilities[0].min()


@pytest.mark.parametrize("config", [BLOCK_2B, BLOCK_8B], ids=["2b", "8b"])
def test_a_block_of_the_published_width_equals_the_librarys(config: EncoderConfig) -> None:
    tower, pixels = make_library_tower(config), torch.rand(2, 3, 64, 128) * 2 - 1
    with torch.no_grad():
        found = ours_from(tower, config)(pixels)[-1]
    assert relative_error(found, library_blocks(tower, pixels)[0]) < 1e-5


@pytest.mark.parametrize("size", [(256, 256), (448, 448), (512, 512), (320, 576)])
def test_positions_are_interpolated_as_the_librarys(library_tower, size) -> None:  # type: ignore[no-untyped-def]
    from transformers.vision_utils import get_vision_interpolation_indices_and_weights

    grid = (size[0] // 16, size[1] // 16)
    indices, weights = get_vision_interpolation_indices_and_weights(
        torch.tensor([[1, *grid]]), num_grid_per_side=48, mode="bilinear", align_corners=True, spatial_merge_size=2
    )
    expected = (library_tower.pos_embed(indices) * weights[:, :, None]).sum(1)
    found = ours_from(library_tower, CONFIG).positions(grid)
    assert relative_error(found, raster(expected, 1, grid)) < 1e-5


def test_pixel_values_equal_the_librarys_processor() -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    images = torch.randint(0, 256, (2, 256, 320, 3), dtype=torch.uint8)
    # The values of the published preprocessor_config.json.
    processor = Qwen2VLImageProcessorPil(
        patch_size=16, merge_size=2, temporal_patch_size=2, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    expected = processor(images=[image.numpy() for image in images], return_tensors="pt")
    assert expected["image_grid_thw"].tolist() == [[1, 16, 20]] * 2
    torch.testing.assert_close(merge_order(normalise(images)), expected["pixel_values"], atol=1e-6, rtol=0)


def test_one_encoder_serves_any_grid(library_tower) -> None:  # type: ignore[no-untyped-def]
    """Positions are interpolated again whenever the image size changes."""
    encoder = ours_from(library_tower, CONFIG)
    small, large = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 192, 128)
    with torch.no_grad():
        before = encoder(small)
        assert [tuple(tap.shape) for tap in encoder(large)] == [(1, 96, 12, 8)] * 4
        for first, again in zip(before, encoder(small), strict=True):
            assert torch.equal(first, again)


def test_gradient_checkpointing_changes_no_gradient() -> None:
    torch.manual_seed(0)
    encoder, pixels = Encoder(CONFIG), torch.rand(2, 3, 64, 96)
    gradients = []
    for encoder.gradient_checkpointing in (False, True):
        encoder.zero_grad()
        sum(tap.square().mean() for tap in encoder(pixels)).backward()  # type: ignore[union-attr]
        gradients.append([parameter.grad.clone() for parameter in encoder.parameters()])
    assert all(torch.equal(kept, again) for kept, again in zip(*gradients, strict=True))


def test_gradient_checkpointing_stores_less_for_the_backward_pass() -> None:
    encoder, pixels = Encoder(CONFIG), torch.rand(2, 3, 64, 96)
    kept = []
    for encoder.gradient_checkpointing in (False, True):
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):  # noqa: B023
            encoder(pixels)
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 3


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
    assert PRESETS["qwen3-vl-2b"].encoder.taps == (0, 8, 15, 23)
    assert PRESETS["qwen3-vl-8b"].encoder.taps == (0, 9, 17, 26)


def test_a_width_that_the_rotary_embedding_cannot_split_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 4 x num_heads"):
        EncoderConfig(2, 90, 90, 3)
