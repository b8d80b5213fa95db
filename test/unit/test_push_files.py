"""The files that a push publishes say nothing of the machine on which they were made."""

import sys
from pathlib import Path

from support.small_weights import save_small_weights

from aurora.model.checkpoint import read_spec
from training.push.card import Publication
from training.push.push import prepare

#: The provenance of a checkpoint. Its configuration and that of its initial weights contain paths of a machine.
PROVENANCE = {
    "config": {"init_from": "/home/jane/a.safetensors", "encoder": "runs/jane/b.safetensors", "preset": "micro"},
    "init_from": {"config": {"teachers": ["C:\\Users\\jane\\c.safetensors", "../jane/d.safetensors"], "stem": None}},
    "encoder": {"source": "Qwen/Qwen3-VL-2B-Instruct", "sha256": {"e.safetensors": "0"}},
    "data": ["scans"],
}


def test_what_is_published_names_no_folder_of_the_machine(tmp_path: Path) -> None:
    weights = save_small_weights(tmp_path, ("cervix_multi", "IUGC"), PROVENANCE)
    prepare(weights, tmp_path / "look", Publication("me/small", "cc-by-4.0"))
    files = {path.name: path.read_bytes() for path in (tmp_path / "look").iterdir()}
    assert len(files) == 5
    root = Path(__file__).resolve().parents[2]
    for name, content in files.items():
        for text in ("jane", str(root), sys.prefix, str(tmp_path)):
            assert text.encode() not in content, (name, text)
    assert read_spec(tmp_path / "look" / "model.safetensors").provenance == {
        "config": {"init_from": "a.safetensors", "encoder": "b.safetensors", "preset": "micro"},
        "init_from": {"config": {"teachers": ["c.safetensors", "d.safetensors"], "stem": None}},
        "encoder": {"source": "Qwen/Qwen3-VL-2B-Instruct", "sha256": {"e.safetensors": "0"}},
        "data": ["scans"],
    }
