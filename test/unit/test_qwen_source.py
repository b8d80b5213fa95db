"""Where a checkpoint's files come from: folders, and the hub as the library itself asks for it."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.hub import Hub

from aurora.errors import UsageError, WeightsError
from training.qwen.source import open_source

NAME = "Qwen/Small"
CONFIG = b'{"model_type": "qwen3_vl"}'
WEIGHTS = Random(0).randbytes(1_000_000)
CHUNK = 10 << 20  # the library writes, and so resumes, in steps of 10 MiB

# The library reads its settings when it is imported, hence a process for each; it also waits between attempts.
SCRIPT = """
import json, resource, sys, time
from aurora.errors import AuroraError
from training.qwen.source import open_source

time.sleep = lambda seconds: None
name, revision, most, *files = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(most), int(most)))
try:
    source = open_source(name, revision or None)
    paths = {file: path and str(path) for file in files for path in [source.fetch(file)]}
    listing = None if files else source.files()
    print(json.dumps({"name": source.name, "revision": source.revision, "paths": paths, "listing": listing}))
except AuroraError as error:
    cause = type(error.__cause__).__name__
    print(json.dumps({"error": type(error).__name__, "message": str(error), "cause": cause}))
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Any]:
    folder = tmp_path / "hub" / NAME
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(CONFIG)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "README.md").write_bytes(b"never asked for")
    with Hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def environment(hub: Any, tmp_path: Path) -> dict[str, str]:
    return hub.environment(tmp_path / "home")


@pytest.fixture
def opened(environment: dict[str, str]) -> Callable[..., dict[str, Any]]:
    """Opens a source in a process of its own and fetches files from it; what came of it."""

    def run(name: str, *files: str, revision: str = "", most: int = -1, **settings: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, name, revision, str(most), *files],
            env=environment | settings,
            cwd=Path(__file__).resolve().parents[2],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert "error" not in found or "\n" not in found["message"]
        return found

    return run


def hf(command: str, environment: dict[str, str], folder: Path) -> None:
    """Run a command of the hub's own command line in `folder`."""
    _, *arguments = shlex.split(command)
    program = Path(sys.executable).with_name("hf")
    subprocess.run([program, *arguments], env=environment, cwd=folder, check=True, capture_output=True)


def test_a_folder_has_the_files_that_lie_in_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(CONFIG)
    source = open_source(str(tmp_path))
    assert (source.name, source.revision, source.files()) == (tmp_path.name, None, ["config.json"])
    assert source.fetch("config.json") == tmp_path / "config.json"
    assert source.fetch("model.safetensors") is None
    assert source.fetch(f"../{tmp_path.name}/config.json") is None


def test_a_file_is_no_source(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.touch()
    with pytest.raises(UsageError, match=r"found the file .*name its folder"):
        open_source(str(file))


@pytest.mark.parametrize("name", ["", "Qwen3-VL", "/no/folder", "./weights", "~/weights", "a/b/c", "weights/", "a\0/b"])
def test_what_looks_like_a_path_is_not_looked_for_on_the_hub(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"expected a folder or a hub id such as Qwen/.*found no folder"):
        open_source(name)


def test_a_folder_has_no_revision(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave out v1"):
        open_source(str(tmp_path), "v1")


def test_without_the_library_only_folders_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match="huggingface_hub, which isn't installed: pip install"):
        open_source(NAME)


def test_asked_files_come_from_one_commit(hub: Any, opened: Callable[..., dict[str, Any]]) -> None:
    found = opened(NAME, "model.safetensors", "model.safetensors.index.json")
    commit = hub.commit(NAME)
    assert (found["name"], found["revision"]) == (NAME, commit)
    assert Path(found["paths"]["model.safetensors"]).read_bytes() == WEIGHTS
    assert found["paths"]["model.safetensors.index.json"] is None
    resolved = [path.partition("/resolve/")[2] for _, path, _ in hub.requests if "/resolve/" in path]
    assert list(dict.fromkeys(resolved)) == [
        "main/config.json",
        f"{commit}/model.safetensors",
        f"{commit}/model.safetensors.index.json",
    ]


def test_a_download_goes_on_where_the_connection_was_cut(hub: Any, opened: Callable[..., dict[str, Any]]) -> None:
    weights = Random(1).randbytes(CHUNK + 1000)
    (hub.root / NAME / "model.safetensors").write_bytes(weights)
    hub.cuts["model.safetensors"] = [CHUNK + 500]
    found = opened(NAME, "model.safetensors")
    assert Path(found["paths"]["model.safetensors"]).read_bytes() == weights
    ranges = [range for method, path, range in hub.requests if method == "GET" and path.endswith("model.safetensors")]
    assert ranges == [None, f"bytes={CHUNK}-"]


def test_a_connection_that_stays_cut_leaves_nothing_behind(hub: Any, opened: Callable[..., dict[str, Any]]) -> None:
    hub.cuts["model.safetensors"] = [300_000] + [0] * 6
    found = opened(NAME, "model.safetensors")
    assert (found["error"], found["cause"]) == ("WeightsError", "RemoteProtocolError")
    assert "can't fetch model.safetensors of Qwen/Small" in found["message"]
    again = opened(NAME, "model.safetensors")
    assert Path(again["paths"]["model.safetensors"]).read_bytes() == WEIGHTS


def test_a_full_disk_is_named(opened: Callable[..., dict[str, Any]]) -> None:
    found = opened(NAME, "model.safetensors", most=100_000)
    assert found["error"] == "WeightsError"
    assert "model.safetensors of Qwen/Small (OSError: [Errno 27] File too large)" in found["message"]


@pytest.mark.parametrize(
    ("name", "revision", "kind", "message"),
    [
        (
            "Qwen/Absent",
            "",
            "WeightsError",
            "expected a folder or a hub id such as Qwen/Qwen3-VL-2B-Instruct, found no public repository Qwen/Absent",
        ),
        (NAME, "v9", "WeightsError", "Qwen/Small has no revision v9"),
        ("Qwen/Bare", "", "WeightsError", "expected config.json in Qwen/Bare on the hub, found none"),
        ("Qwen/a--b", "", "UsageError", "found Qwen/a--b"),
    ],
)
def test_what_the_hub_lacks_is_one_sentence(
    hub: Any, opened: Callable[..., dict[str, Any]], name: str, revision: str, kind: str, message: str
) -> None:
    (hub.root / "Qwen/Bare").mkdir()
    found = opened(name, revision=revision)
    assert found["error"] == kind
    assert message in found["message"]


def test_a_gated_repository_asks_for_a_token(hub: Any, opened: Callable[..., dict[str, Any]]) -> None:
    hub.gated.add(NAME)
    found = opened(NAME)
    assert (found["error"], found["cause"]) == ("WeightsError", "GatedRepoError")
    assert "accept its licence" in found["message"]
    assert opened(NAME, HF_TOKEN="hf_x")["listing"] == ["README.md", "config.json", "model.safetensors"]


def test_a_hub_that_is_down_is_not_taken_for_no_connection(hub: Any, opened: Callable[..., dict[str, Any]]) -> None:
    hub.status = 503
    found = opened(NAME)
    assert found["error"] == "WeightsError"
    assert "can't fetch config.json of Qwen/Small (the hub responded with 503 Service Unavailable)" in found["message"]


def test_no_connection_says_how_to_carry_the_files_over(
    opened: Callable[..., dict[str, Any]], environment: dict[str, str], tmp_path: Path
) -> None:
    found = opened(NAME, revision="main", HF_ENDPOINT="http://127.0.0.1:9")
    assert found["error"] == "WeightsError"
    assert "the hub can't be reached (ConnectError: " in found["message"]
    command = re.search("hf download [^']*", found["message"])
    assert command
    hf(command[0], environment, tmp_path)
    source = open_source(str(tmp_path / "Small"))
    assert source.files() == ["config.json", "model.safetensors"]
    assert (tmp_path / "Small/model.safetensors").read_bytes() == WEIGHTS


def test_offline_and_not_in_the_cache_says_so(opened: Callable[..., dict[str, Any]]) -> None:
    found = opened(NAME, revision="v2", HF_HUB_OFFLINE="1")
    assert (found["error"], found["cause"]) == ("WeightsError", "LocalEntryNotFoundError")
    assert "the hub can't be reached (HF_HUB_OFFLINE is set)" in found["message"]
    assert "hf download Qwen/Small --revision v2 " in found["message"]


def test_offline_the_cache_is_enough(hub: Any, opened: Callable[..., dict[str, Any]]) -> None:
    files = ("model.safetensors", "model.safetensors.index.json")
    online = opened(NAME, *files)
    asked = len(hub.requests)
    assert opened(NAME, *files, HF_HUB_OFFLINE="1") == online
    assert len(hub.requests) == asked


def test_offline_what_hf_put_into_the_cache_is_enough(
    opened: Callable[..., dict[str, Any]], environment: dict[str, str], tmp_path: Path
) -> None:
    hf(f"hf download {NAME}", environment, tmp_path)
    found = opened(NAME, "model.safetensors", "model.safetensors.index.json", HF_HUB_OFFLINE="1")
    assert Path(found["paths"]["model.safetensors"]).read_bytes() == WEIGHTS
    assert found["paths"]["model.safetensors.index.json"] is None


def test_a_folder_of_git_lfs_pointers_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(WeightsError, match=r"is a Git LFS pointer.*'git lfs pull'"):
        open_source(str(tmp_path))
