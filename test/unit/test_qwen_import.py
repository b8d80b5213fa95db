"""The vision tower out of a whole checkpoint: the same bits, little memory, and the same maps as the library's."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.qwen import TINY_TEXT, TINY_VISION, library_blocks, make_checkpoint, relative_error

from aurora.errors import UsageError, WeightsError
from aurora.model.config import PRESETS
from aurora.model.encoder import Encoder
from training.imported import read_encoder
from training.qwen.config import read_layout
from training.qwen.importer import import_encoder

KERNEL = "patch_embed.proj.weight"


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("sharded"), shard_size="2MB")


def whole_tower(folder: Path) -> dict[str, torch.Tensor]:
    """The tower's tensors as the library's own loader finds them."""
    from transformers import AutoModel

    return AutoModel.from_pretrained(folder, dtype="auto").visual.state_dict()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("language_head", [True, False], ids=["model.visual.", "visual."])
def test_every_bit_is_the_published_one(tmp_path: Path, dtype: torch.dtype, language_head: bool) -> None:
    folder = make_checkpoint(tmp_path / "published", dtype=dtype, language_head=language_head)
    import_encoder(str(folder), tmp_path / "encoder.safetensors")
    expected, found = whole_tower(folder), load_file(tmp_path / "encoder.safetensors")
    assert found.keys() == {name for name in expected if "merger" not in name}
    for name, tensor in found.items():
        wanted = expected[name].float().sum(2) if name == KERNEL else expected[name]
        assert tensor.dtype == wanted.dtype
        assert torch.equal(tensor, wanted)


def test_an_imported_encoder_gives_the_librarys_maps(sharded: Path, tmp_path: Path) -> None:
    from transformers import AutoModel

    import_encoder(str(sharded), tmp_path / "encoder.safetensors")
    file = read_encoder(tmp_path / "encoder.safetensors")
    assert file.config == PRESETS["tiny"].encoder
    encoder, pixels = Encoder(file.config).eval(), torch.rand(1, 3, 64, 128) * 2 - 1
    file.load_into(encoder)
    blocks = library_blocks(AutoModel.from_pretrained(sharded, dtype=torch.float32).visual, pixels)
    with torch.no_grad():
        for tap, found in zip(file.config.taps, encoder(pixels), strict=True):
            assert relative_error(found, blocks[tap]) < 1e-5


def test_it_says_where_it_comes_from(sharded: Path, tmp_path: Path) -> None:
    import_encoder(str(sharded), tmp_path / "encoder.safetensors")
    provenance = read_encoder(tmp_path / "encoder.safetensors").provenance
    assert provenance["source"] == sharded.name
    listed = {f"{digest}  {name}" for name, digest in provenance["sha256"].items()}
    sums = subprocess.run(["sha256sum", *provenance["sha256"]], cwd=sharded, capture_output=True, text=True)
    assert listed == set(sums.stdout.splitlines())


def test_blocks_behind_the_last_tap_are_dropped_and_their_shards_not_opened(sharded: Path, tmp_path: Path) -> None:
    copy = tmp_path / "published"
    copy.mkdir()
    index = json.loads((sharded / "model.safetensors.index.json").read_text())["weight_map"]
    needed = {file for name, file in index.items() if name.startswith(("model.visual.blocks.0.", "model.visual.p"))}
    for name in ("config.json", "model.safetensors.index.json", *needed):
        (copy / name).symlink_to(sharded / name)
    assert import_encoder(str(copy), tmp_path / "encoder.safetensors", depth=1).depth == 1
    assert {name.split(".")[1] for name in load_file(tmp_path / "encoder.safetensors") if "blocks" in name} == {"0"}


def test_a_depth_beyond_the_tower_is_refused(sharded: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"depth of at most 6.*found 7"):
        import_encoder(str(sharded), tmp_path / "encoder.safetensors", depth=7)


@pytest.mark.parametrize("name", ["qwen3-vl-2b", "qwen3-vl-8b"])
def test_the_layout_of_a_published_size_is_the_librarys(tmp_path: Path, name: str) -> None:
    from transformers import Qwen3VLConfig, Qwen3VLVisionModel

    preset = PRESETS[name].encoder
    vision = {"depth": preset.depth, "hidden_size": preset.hidden_size, "num_heads": preset.num_heads}
    config = Qwen3VLConfig(vision_config=vision | {"intermediate_size": preset.intermediate_size})
    config.save_pretrained(tmp_path)
    layout = read_layout(tmp_path / "config.json")
    assert layout.encoder == preset
    with torch.device("meta"):
        published, ours = Qwen3VLVisionModel(config.vision_config).state_dict(), Encoder(preset).state_dict()
    assert layout.shapes == {name: tuple(t.shape) for name, t in published.items() if "merger" not in name}
    assert layout.shapes.keys() == ours.keys()


def test_the_mixture_of_experts_models_have_the_same_tower(tmp_path: Path) -> None:
    from transformers import Qwen3VLMoeConfig, Qwen3VLMoeVisionModel

    config = Qwen3VLMoeConfig(vision_config=dict(TINY_VISION))
    config.save_pretrained(tmp_path)
    with torch.device("meta"):
        published = Qwen3VLMoeVisionModel(config.vision_config).state_dict()
    layout = read_layout(tmp_path / "config.json")
    assert layout.shapes == {name: tuple(t.shape) for name, t in published.items() if "merger" not in name}


def test_an_imported_encoder_is_not_a_checkpoint_nor_the_reverse(sharded: Path, weights: Path, tmp_path: Path) -> None:
    from aurora.model import checkpoint

    import_encoder(str(sharded), tmp_path / "encoder.safetensors")
    with pytest.raises(WeightsError, match=r"not an AURORA checkpoint.*found aurora-encoder"):
        checkpoint.read_spec(tmp_path / "encoder.safetensors")
    with pytest.raises(WeightsError, match=r"not an imported encoder.*found aurora;"):
        read_encoder(weights)


IMPORT = "from training.qwen.importer import import_encoder; import_encoder(sys.argv[1], Path(sys.argv[2]))"
# The library maps the file too; a weight is in memory once it is used.
LOAD = """from transformers import AutoModel
model = AutoModel.from_pretrained(sys.argv[1], dtype='auto')
for parameter in model.parameters(): parameter.sum()
"""


def peak_memory(code: str, *arguments: Path) -> int:
    """Bytes that a fresh interpreter held at most while it ran `code`, pages mapped from files among them."""
    script = f"import sys\nfrom pathlib import Path\n{code}\nprint(Path('/proc/self/status').read_text())"
    command = [sys.executable, "-c", script, *map(str, arguments)]
    status = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_the_import_needs_little_more_memory_than_the_tower(tmp_path: Path) -> None:
    vision = {"depth": 8, "hidden_size": 768, "intermediate_size": 3072, "num_heads": 12}
    text = TINY_TEXT | {"vocab_size": 100_000, "hidden_size": 512}
    folder = make_checkpoint(tmp_path / "full", vision=vision, text=text, dtype=torch.float32, shard_size="200MB")
    out = tmp_path / "encoder.safetensors"
    partial, full = peak_memory(IMPORT, folder, out), peak_memory(LOAD, folder)
    print(f"tower {out.stat().st_size / 1e6:.0f} MB, import {partial / 1e6:.0f} MB, whole model {full / 1e6:.0f} MB")
    assert partial <= 1.3 * out.stat().st_size
    assert partial < 0.6 * full
