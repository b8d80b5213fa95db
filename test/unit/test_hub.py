"""Weights on a hub: pushed there by the command, and loaded from there, with the library's own client."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from support.hub import Hub
from support.small_weights import save_small_weights

import aurora
from aurora.errors import UsageError, WeightsError
from aurora.runtime.files import sha256
from training.push.card import Publication
from training.push.push import prepare
from training.push.scores import read_scores
from training.push.upload import require_access

NAME, TOKEN = "me/small", "hf_secret"
ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "test/cases/Segmentation/Two/cervix/IMAGES/cervix_test_00000.png"
TASK = "cervix_multi"

# The library reads its settings when it is imported, hence a process for each.
LOAD = """
import json, sys
import aurora
from aurora.errors import AuroraError

image, task, *requests = json.loads(sys.argv[1])
for name, arguments in requests:
    try:
        model = aurora.load(name, **arguments)
        result = model.predict(image, task)
        found = {"revision": model.revision, "file": model.engine.path.name, "record": result.to_record(),
                 "mask": result.mask.tolist(), "torch": "torch" in sys.modules}
    except AuroraError as error:
        found = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(found))
"""
UPLOAD = """
import json, sys
from pathlib import Path
from aurora.errors import AuroraError
from training.push.upload import require_access, upload

folder, repository, private = json.loads(sys.argv[1])
try:
    require_access(repository)
    found = {"commit": upload(Path(folder), repository, private=private)}
except AuroraError as error:
    found = {"error": type(error).__name__, "message": str(error)}
print(json.dumps(found))
"""
Run = Callable[..., dict[str, Any]]
RunAll = Callable[..., list[dict[str, Any]]]


class Pushed(NamedTuple):
    hub: Hub
    weights: Path
    commit: str
    done: subprocess.CompletedProcess[str]


def run(*words: object, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, words)], env=env, cwd=ROOT, capture_output=True, text=True)


def report_on(weights: Path) -> dict[str, Any]:
    """The parts of a report by `training evaluate --json` that `push` reads."""
    ends = {"low": 0.25, "high": 0.75, "undefined": 0}
    task = {"task_id": TASK, "type": "segmentation", "rows": 9, "predicted": 8, "fallbacks": 1, "classes": {}}
    task |= {"metrics": {"dsc": 0.5, "hd": None}, "composite": 0.5, "intervals": {"composite": ends}}
    common = {"rows": 9, "resamples": 10, "seed": 0, "types": {}, "problems": []}
    return common | {"weights": "w", "sha256": sha256(weights), "tasks": [task], "composite": 0.5, "interval": ends}


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushed]:
    """Small weights that the command has pushed to a hub."""
    folder = tmp_path_factory.mktemp("pushed")
    weights = save_small_weights(folder, (TASK, "IUGC"))
    (folder / "report.json").write_text(json.dumps(report_on(weights)))
    flags = ["--to", NAME, "--license", "cc-by-4.0", "--dataset", "me/scans", "--report", folder / "report.json"]
    with Hub(folder / "hub") as hub:
        env = hub.environment(folder / "home") | {"HF_TOKEN": TOKEN}
        done = run("-m", "training", "push", "--weights", weights, *flags, env=env)
        assert done.returncode == 0, done.stderr
        yield Pushed(hub, weights, [*hub.commits(NAME)][-1], done)


@pytest.fixture
def hub(pushed: Pushed) -> Iterator[Hub]:
    """The hub with the pushed weights; what a test changes is undone."""
    sent = {name: dict(commits) for name, commits in pushed.hub.sent.items()}
    pushed.hub.requests.clear()
    yield pushed.hub
    pushed.hub.status = pushed.hub.write_status = None
    pushed.hub.gated.clear()
    pushed.hub.private.clear()
    pushed.hub.sent = sent


@pytest.fixture
def load_all(hub: Hub, tmp_path: Path) -> RunAll:
    """Loads weights in a process of its own and predicts an image, one request after another; what came of each."""

    def loaded(*requests: tuple[str, dict[str, str]], **settings: str) -> list[dict[str, Any]]:
        words = [(name, {"engine": "onnx"} | arguments) for name, arguments in requests]
        done = run(
            "-c", LOAD, json.dumps([str(IMAGE), TASK, *words]), env=hub.environment(tmp_path / "home") | settings
        )
        assert done.returncode == 0, done.stderr
        found = [json.loads(line) | {"stderr": done.stderr} for line in done.stdout.splitlines()]
        assert all("\n" not in one.get("message", "") for one in found)
        return found

    return loaded


@pytest.fixture
def load(load_all: RunAll) -> Run:
    """Loads the pushed weights like `load_all`."""

    def loaded(environment: dict[str, str] | None = None, **arguments: str) -> dict[str, Any]:
        (found,) = load_all((f"hf:{NAME}", arguments), **(environment or {}))
        return found

    return loaded


@pytest.fixture
def upload(hub: Hub, tmp_path: Path) -> Run:
    """Uploads a folder in a process of its own; what came of it."""

    def uploaded(
        repository: str, *, private: bool = False, license: str = "cc-by-4.0", **settings: str
    ) -> dict[str, Any]:
        folder = tmp_path / "folder"
        folder.mkdir(exist_ok=True)
        (folder / "README.md").write_text(f"---\nlicense: {license}\n---\n")
        (folder / "model.safetensors").write_bytes(b"weights")
        env = hub.environment(tmp_path / "home") | {"HF_TOKEN": TOKEN} | settings
        done = run("-c", UPLOAD, json.dumps([str(folder), repository, private]), env=env)
        assert done.returncode == 0, done.stderr
        assert TOKEN not in done.stdout + done.stderr
        found = json.loads(done.stdout)
        assert "\n" not in found.get("message", "")
        return found

    return uploaded


def test_a_push_is_one_commit_and_says_how_to_load_it(pushed: Pushed) -> None:
    assert f'aurora.load("hf:{NAME}", revision="{pushed.commit}")' in pushed.done.stdout
    assert TOKEN not in pushed.done.stdout + pushed.done.stderr
    first, files = pushed.hub.commits(NAME).values()
    names = ["README.md", "SHA256SUMS", "config.json", "model.onnx", "model.safetensors"]
    assert sorted(files.keys() - first.keys()) == names
    assert 2 * pushed.weights.stat().st_size > 3 * len(files["model.safetensors"])  # float16


def test_the_card_tells_the_hub_licence_data_and_scores(pushed: Pushed) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard(pushed.hub.commits(NAME)[pushed.commit]["README.md"].decode())
    assert (card.data.license, card.data.library_name, card.data.datasets) == (
        "cc-by-4.0",
        "aurora-ultrasound",
        ["me/scans"],
    )
    assert {"ultrasound", "image-segmentation", "keypoint-detection"} <= set(card.data.tags)
    (result,) = card.data.eval_results  # the distance is not defined
    assert (result.task_type, result.dataset_name, result.metric_type, result.metric_value) == (
        "image-segmentation",
        TASK,
        "dsc",
        0.5,
    )
    assert f"| {TASK} | 8 | DSC 0.500 | 0.500 [0.250, 0.750] |" in card.text


def test_the_description_for_readers_comes_from_the_checkpoint(pushed: Pushed) -> None:
    config = json.loads(pushed.hub.commits(NAME)[pushed.commit]["config.json"])
    assert config["presets"] == ["micro"]
    assert config["model"]["image_size"] == [64, 64]
    assert {"id": "IUGC", "type": "Regression", "num_classes": 3} in [
        {key: task[key] for key in ("id", "type", "num_classes")} for task in config["tasks"]
    ]


@pytest.mark.parametrize(("engine", "file"), [("onnx", "model.onnx"), ("torch", "model.safetensors")])
def test_pushed_weights_predict_as_local_ones(
    pushed: Pushed, load: Run, tmp_path: Path, engine: Any, file: str
) -> None:
    found = load(engine=engine, revision=pushed.commit)
    assert (found["revision"], found["file"], found["torch"]) == (pushed.commit, file, engine == "torch")
    assert found["stderr"] == ""
    for name in ("model.safetensors", "model.onnx"):
        (tmp_path / name).write_bytes(pushed.hub.commits(NAME)[pushed.commit][name])
    local = aurora.load(tmp_path / "model.safetensors", engine=engine).predict(IMAGE, TASK)
    assert found["record"] == json.loads(json.dumps(local.to_record()))
    assert np.array_equal(found["mask"], local.mask)
    fetched = [path.rpartition("/")[2] for method, path, _ in pushed.hub.requests if method == "GET"]
    assert fetched == ["SHA256SUMS", file]


def test_without_a_commit_the_newest_is_taken_and_named(pushed: Pushed, hub: Hub, load_all: RunAll) -> None:
    newest = hub.push(NAME, {"README.md": b"another"})
    requests = [{}, {"revision": "main"}, {"revision": pushed.commit}]
    found = load_all(*((f"hf:{NAME}", arguments) for arguments in requests))
    assert [one["revision"] for one in found] == [newest, newest, pushed.commit]
    warning = f"hf:{NAME} is at commit {newest} now; name this commit as the revision to keep these weights\n"
    assert found[0]["stderr"] == 2 * warning


def test_offline_the_cache_of_the_revision_is_enough(pushed: Pushed, hub: Hub, load: Run, load_all: RunAll) -> None:
    requests = [(f"hf:{NAME}", {}), (f"hf:{NAME}", {"revision": pushed.commit})]
    online = load_all(*requests)
    asked = len(hub.requests)
    *again, other = load_all(*requests, (f"hf:{NAME}", {"revision": "v2"}), HF_HUB_OFFLINE="1")
    assert [one["record"] for one in again] == [one["record"] for one in online]
    assert load(environment={"HF_ENDPOINT": "http://127.0.0.1:9"})["revision"] == pushed.commit
    assert len(hub.requests) == asked
    assert "HF_HUB_OFFLINE is set" in other["message"]
    assert f"run 'hf download {NAME} --revision v2 --local-dir small'" in other["message"]


def test_a_damaged_file_is_named_and_can_be_fetched_again(pushed: Pushed, hub: Hub, load: Run, tmp_path: Path) -> None:
    load(revision=pushed.commit)
    (file,) = (tmp_path / "home").rglob("snapshots/*/model.onnx")
    file.write_bytes(file.read_bytes()[:-1])
    found = load(revision=pushed.commit)
    assert (found["error"], "model.onnx of me/small is damaged" in found["message"]) == ("WeightsError", True)
    command = re.search(r"'hf (download [^']*)'", found["message"])
    assert command
    env = hub.environment(tmp_path / "home")
    subprocess.run([Path(sys.executable).with_name("hf"), *command[1].split()], env=env, check=True)
    assert load(revision=pushed.commit)["revision"] == pushed.commit


def test_what_cannot_be_loaded_is_one_sentence(hub: Hub, load_all: RunAll) -> None:
    hub.push("me/bare", {"README.md": b""})
    cases = [
        ("hf:me/absent", {}, "WeightsError", "found no public repository me/absent; check the name, or set HF_TOKEN"),
        (f"hf:{NAME}", {"revision": "v9"}, "WeightsError", "me/small has no revision v9"),
        ("hf:me/bare", {}, "WeightsError", "expected SHA256SUMS in me/bare on the hub, found none; name a repository"),
        ("hf:small", {}, "UsageError", "expected weights on the hub such as hf:ORG/NAME, found hf:small"),
        ("w.onnx", {"revision": "v1"}, "UsageError", "expected weights such as hf:ORG/NAME for the revision v1"),
    ]
    found = load_all(*((name, arguments) for name, arguments, _, _ in cases))
    for one, (_, _, error, message) in zip(found, cases, strict=True):
        assert (one["error"], message in one["message"]) == (error, True), one["message"]


def test_a_gated_repository_needs_a_token(pushed: Pushed, hub: Hub, load: Run) -> None:
    hub.gated.add(NAME)
    assert "accept its licence" in load()["message"]
    assert load(environment={"HF_TOKEN": TOKEN})["revision"] == pushed.commit


def test_a_hub_that_forbids_is_quoted(hub: Hub, load: Run) -> None:
    hub.status = 403
    assert "can't fetch SHA256SUMS of me/small (the hub responded with 403 Forbidden" in load()["message"]


def test_without_the_library_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"pip install 'aurora-ultrasound\[hub\]'"):
        aurora.load(f"hf:{NAME}")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["predict", IMAGE, "--task", TASK, "--output", "OUT"], 0),
        (["predict", IMAGE, "--output", "OUT"], 2),  # lists the tasks of the weights
        (["run", "--input", ROOT / "test/cases", "--output", "OUT"], 4),
        (["tasks"], 4),
    ],
    ids=["predict", "predict without a task", "run", "tasks"],
)
def test_only_predict_and_serve_ask_the_hub(
    pushed: Pushed, hub: Hub, tmp_path: Path, words: list[object], code: int
) -> None:
    flags = [tmp_path / "out" if word == "OUT" else word for word in words] + ["--weights", f"hf:{NAME}"]
    flags += ["--revision", pushed.commit] if words[0] == "predict" else []
    done = run("-m", "inference", *flags, env=hub.environment(tmp_path / "home"))
    assert done.returncode == code, done.stderr
    if code == 4:
        assert f"found hf:{NAME}, and only aurora.load(), 'inference predict' and 'inference serve'" in done.stderr
        assert hub.requests == []
    else:
        assert TASK in done.stdout


@pytest.mark.slow
def test_a_prepared_folder_is_what_a_push_sends(pushed: Pushed, tmp_path: Path) -> None:
    scores = read_scores(pushed.weights.with_name("report.json"))
    prepare(pushed.weights, tmp_path / "look", Publication(NAME, "cc-by-4.0", ("me/scans",), scores))
    files = {path.name: path.read_bytes() for path in (tmp_path / "look").iterdir()}
    assert files == {key: data for key, data in pushed.hub.commits(NAME)[pushed.commit].items() if key in files}
    assert len(files) == 5


def test_a_folder_in_use_is_refused(pushed: Pushed) -> None:
    with pytest.raises(UsageError, match="expected a new or empty folder"):
        prepare(pushed.weights, pushed.weights.parent, Publication(NAME, "cc-by-4.0"))


def test_scores_of_other_weights_are_refused(pushed: Pushed, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(report_on(pushed.weights) | {"sha256": "0" * 64}))
    scores = read_scores(tmp_path / "report.json")
    with pytest.raises(UsageError, match=r"expected a report on .*found one on w with SHA-256 0000"):
        prepare(pushed.weights, tmp_path / "look", Publication(NAME, "cc-by-4.0", scores=scores))
    assert not (tmp_path / "look").exists()


@pytest.mark.parametrize("text", ["", "{}", '{"weights": 3}'])
def test_what_is_no_report_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(UsageError, match=r"expected a report that .*report\.json \(.*name another with --report"):
        read_scores(tmp_path / "report.json")


def test_damaged_weights_are_not_pushed(pushed: Pushed, tmp_path: Path) -> None:
    weights = save_small_weights(tmp_path)
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="is damaged"):
        prepare(weights, tmp_path / "look", Publication(NAME, "cc-by-4.0"))


def test_a_second_push_replaces_the_files(pushed: Pushed, hub: Hub, upload: Run) -> None:
    commit = upload(NAME)["commit"]
    assert [*hub.commits(NAME)][-1] == commit != pushed.commit
    assert hub.commits(NAME)[commit]["model.safetensors"] == b"weights"
    assert [path.removesuffix("/main").rpartition("/")[2] for method, path, _ in hub.requests if method == "POST"] == [
        "create",
        "validate-yaml",
        "preupload",
        "batch",
        "commit",
    ]


def test_a_private_repository_is_created_as_one(hub: Hub, upload: Run) -> None:
    upload("me/closed", private=True)
    assert hub.private == {"me/closed"}
    found = upload(NAME, private=True)
    assert f"expected {NAME} to be private, found it public" in found["message"]


@pytest.mark.parametrize(
    ("status", "settings", "error", "message"),
    [
        (401, {}, "OutputError", "the hub doesn't know the token in HF_TOKEN"),
        (403, {}, "OutputError", "the token may not write to me/other (the hub responded with 403 Forbidden"),
        (500, {}, "OutputError", "can't upload to me/other (the hub responded with 500 Internal Server Error)"),
        (None, {"HF_ENDPOINT": "http://127.0.0.1:9"}, "OutputError", "can't upload to me/other (ConnectError: "),
        (None, {"HF_HUB_OFFLINE": "1"}, "UsageError", "found HF_HUB_OFFLINE set"),
        (None, {"HF_TOKEN": ""}, "UsageError", "expected a token in HF_TOKEN, found none"),
    ],
)
def test_an_upload_that_fails_is_one_sentence(
    hub: Hub, upload: Run, status: int | None, settings: dict[str, str], error: str, message: str
) -> None:
    hub.write_status = status
    found = upload("me/other", **settings)
    assert (found["error"], message in found["message"]) == (error, True), found["message"]
    assert hub.commits("me/other") == {}


def test_a_licence_that_the_hub_lacks_is_named(hub: Hub, upload: Run) -> None:
    found = upload("me/other", license="mine")
    assert "the hub rejects the model card" in found["message"]
    assert '"license" must be one of' in found["message"]


def test_a_name_that_no_repository_has_is_refused() -> None:
    with pytest.raises(UsageError, match="expected ORG/NAME with --to, found small"):
        require_access("small")
