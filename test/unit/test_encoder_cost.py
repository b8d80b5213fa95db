"""The counter against the arithmetic of a transformer, and the page that quotes it."""

from pathlib import Path

import pytest
import torch

from aurora.model.config import PRESETS, EncoderConfig
from aurora.model.encoder import Encoder
from training.bench.encoder_cost import SIDES, cost_table, count, measure

PAGE = Path(__file__).resolve().parents[2] / "docs" / "encoder.md"
SMALL = EncoderConfig(depth=4, hidden_size=48, intermediate_size=96, num_heads=3)


@pytest.mark.parametrize("name", ["tiny", "qwen3-vl-2b"])
def test_flops_are_those_of_the_products(name: str) -> None:
    config, tokens = PRESETS[name].encoder, 16 * 28
    width = config.hidden_size
    linear = 2 * tokens * width * (4 * width + 2 * config.intermediate_size)
    attention = 2 * 2 * tokens**2 * width
    patches = 2 * tokens * width * 3 * 16 * 16
    assert count(config, (256, 448)).flops == config.depth * (linear + attention) + patches


def test_parameters_are_the_encoders() -> None:
    assert count(SMALL, (64, 64)).parameters == sum(p.numel() for p in Encoder(SMALL).parameters())


def test_recomputing_keeps_one_float32_map_per_block_and_the_pixels() -> None:
    maps, pixels = SMALL.depth * 32 * SMALL.hidden_size * 4, 3 * 64 * 128 * 2
    assert count(SMALL, (64, 128)).kept_recomputing == maps + pixels


def test_what_is_kept_grows_with_the_tokens() -> None:
    assert count(SMALL, (512, 512)).kept == pytest.approx(4 * count(SMALL, (256, 256)).kept, rel=0.01)


def test_a_training_step_counts_as_three_forward_passes() -> None:
    flops = count(SMALL, (64, 64)).flops
    speeds = measure(SMALL, (64, 64), torch.device("cpu"), batch=2, ceiling=1e12)
    assert speeds.keys() == {"forward", "training"}
    for name, passes in (("forward", 1), ("training", 3)):
        assert speeds[name].share_of_ceiling == pytest.approx(speeds[name].images_per_second * passes * flops / 1e12)
    assert speeds["training"].peak_memory >= speeds["forward"].peak_memory >= count(SMALL, (64, 64)).parameters * 4


@pytest.mark.slow
def test_the_page_quotes_the_counter() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    header, rule, *rows = cost_table(sides=SIDES[:1]).splitlines()
    start = lines.index(header)
    assert lines[start + 1] == rule
    end = lines.index("", start)
    assert lines[start + 2 : end : len(SIDES)] == rows
    encoders = {preset.encoder for name, preset in PRESETS.items() if name != "micro"}
    assert end - start - 2 == len(SIDES) * len(rows) == len(SIDES) * len(encoders)
