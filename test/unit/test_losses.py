"""Each loss is lowest at the truth, and training's frame is the decoder's frame."""

from itertools import product

import numpy as np
import pytest
import torch

from aurora.kinds.detection import decode_box
from aurora.kinds.landmarks import decode_points
from training.fit.losses import (
    HEATMAP_SIGMA_CELLS,
    detection_loss,
    giou_loss,
    positive_cells,
    regression_loss,
    segmentation_loss,
)

GRIDS = pytest.mark.parametrize("grid", [(16, 16), (16, 24), (24, 16)])


def perfect_maps(box: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """The detection output (1, 5, *grid) of a network that is sure of `box` (4,)."""
    y, x = torch.meshgrid(*((torch.arange(count) + 0.5) / count for count in grid), indexing="ij")
    x1, y1, x2, y2 = box
    reach = (((x - (x1 + x2) / 2).abs() <= (x2 - x1) / 4) & ((y - (y1 + y2) / 2).abs() <= (y2 - y1) / 4)).float()
    return torch.stack([20 * reach - 10, x - x1, y - y1, x2 - x, y2 - y])[None]


def test_segmentation_prefers_the_truth() -> None:
    shares = torch.zeros(1, 3, 8, 8)
    shares[:, 0], shares[:, 1, :4], shares[:, 0, :4] = 1, 1, 0
    sure = 20 * shares - 10
    assert segmentation_loss(sure, shares) < 0.3  # the absent class keeps a little of the Dice term
    assert segmentation_loss(sure.roll(4, dims=2), shares) > 1


@GRIDS
def test_detection_loss_vanishes_for_the_box_that_the_decoder_returns(grid: tuple[int, int]) -> None:
    box = torch.tensor([0.2, 0.3, 0.7, 0.6])
    maps = perfect_maps(box, grid)
    assert detection_loss(maps, box[None]) < 1e-3
    np.testing.assert_allclose(decode_box(maps[0].numpy()), box.numpy(), atol=1e-5)


@pytest.mark.parametrize("cells", [24, 48, 32])
@pytest.mark.parametrize("pixels", [192, 256, 384, 640, 1000])
def test_every_small_box_aligned_with_pixels_has_a_positive_cell(cells: int, pixels: int) -> None:
    """The grid's two directions are alike, so all positions along one are combined with a few along the other."""
    edges = [(start, start + size) for size in (1, 2, 3, 5, 8) for start in range(pixels - size + 1)]
    others = edges[:: len(edges) // 7]
    boxes = torch.tensor([(x1, y1, x2, y2) for (x1, x2), (y1, y2) in product(edges, others)]) / pixels
    assert positive_cells(boxes, cells, cells).any(dim=(1, 2)).all()
    assert positive_cells(boxes[:, [1, 0, 3, 2]], cells, cells).any(dim=(1, 2)).all()


@GRIDS
def test_a_box_smaller_than_a_cell_is_learnt(grid: tuple[int, int]) -> None:
    maps = torch.zeros(1, 5, *grid, requires_grad=True)
    detection_loss(maps, torch.tensor([[0.5, 0.5, 0.51, 0.51]])).backward()
    assert maps.grad is not None
    assert maps.grad[:, 1:].abs().sum() > 0


def test_giou_by_hand() -> None:
    a, b = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[2.0, 0.0, 3.0, 1.0]])
    assert giou_loss(a, a).item() == pytest.approx(0.0)
    assert giou_loss(a, b).item() == pytest.approx(1 + 1 / 3)


@GRIDS
def test_regression_loss_is_lowest_where_the_decoder_finds_the_point(grid: tuple[int, int]) -> None:
    points = torch.tensor([[[0.31, 0.62]]])
    heatmaps = torch.zeros(1, 1, *grid, requires_grad=True)
    optimizer = torch.optim.Adam([heatmaps], lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        loss = regression_loss(heatmaps, points)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    np.testing.assert_allclose(decode_points(heatmaps.detach().numpy()[0]), points[0].numpy(), atol=2e-3)


@GRIDS
def test_the_heatmap_wanted_is_as_wide_as_high_in_cells(grid: tuple[int, int]) -> None:
    rows, columns = torch.meshgrid(*(torch.arange(count) + 0.5 - count / 2 for count in grid), indexing="ij")
    heatmap = -0.5 * (rows**2 + columns**2) / HEATMAP_SIGMA_CELLS**2
    assert regression_loss(heatmap[None, None], torch.tensor([[[0.5, 0.5]]])) < 1e-5
