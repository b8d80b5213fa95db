"""The files of `deploy`: scripts, run with a fake docker, and a Kubernetes job whose numbers agree."""

import gzip
import hashlib
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from inference.serve.serve import GRACE_SECONDS
from inference.serve.service import ServeSettings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SCRIPTS = sorted(path.name for path in DEPLOY.glob("*.sh"))
# Logs its arguments. `run` prints what the test asks for on stderr; the image's user is root.
DOCKER = """#!/bin/sh
echo "$*" >> "$DOCKER_LOG"
case "$1 $2" in
  "save "*) printf image ;;
  "run "*) printf '%s' "$DOCKER_STDERR" >&2; exit "${DOCKER_CODE:-0}" ;;
esac
"""


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    """Return a folder with a program `docker` that only logs its arguments."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(DOCKER)
    (tmp_path / "bin" / "docker").chmod(0o755)
    return tmp_path


def script(docker: Path, name: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    paths = {"PATH": f"{docker / 'bin'}:{os.environ['PATH']}", "DOCKER_LOG": str(docker / "log")}
    command = ["bash", str(DEPLOY / name), *map(str, arguments)]
    return subprocess.run(command, env=os.environ | paths | variables, capture_output=True, text=True, check=False)


def calls(docker: Path) -> list[str]:
    return (docker / "log").read_text().splitlines()


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_shell_understands_a_script(name: str) -> None:
    shell = (DEPLOY / name).read_text(encoding="utf-8").splitlines()[0].rpartition("/")[2].split()[-1]
    done = subprocess.run([shell, "-n", DEPLOY / name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_image_that_writes_nothing_to_stderr_checks_its_own_predictions(docker: Path) -> None:
    ended = script(docker, "test-run.sh", "aurora", docker)
    assert (ended.returncode, ended.stderr) == (0, "")
    predict, pack = (call for call in calls(docker) if call.startswith("run "))
    assert all("--network none" in call and f"{docker}:/input/:ro" in call for call in (predict, pack))
    assert predict.endswith(" aurora")
    assert " pack --input /input --predictions /output " in pack


def test_an_image_that_writes_to_stderr_fails_and_is_not_packed(docker: Path) -> None:
    ended = script(docker, "test-run.sh", "aurora", docker, DOCKER_STDERR="a warning\n")
    assert ended.returncode == 1
    assert ended.stderr == "a warning\nexpected nothing on stderr, found the lines above\n"
    assert not any(" pack " in call for call in calls(docker))


def test_an_image_that_fails_ends_the_script_with_its_code(docker: Path) -> None:
    ended = script(docker, "test-run.sh", "aurora", docker, DOCKER_STDERR="error: no\n", DOCKER_CODE="3")
    assert (ended.returncode, ended.stderr) == (3, "error: no\n")


def test_a_saved_image_comes_with_its_checksum(docker: Path) -> None:
    file = docker / "image.tar.gz"
    assert script(docker, "save.sh", "aurora", file).returncode == 0
    assert calls(docker) == ["save aurora"]
    assert gzip.decompress(file.read_bytes()) == b"image"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert Path(f"{file}.sha256").read_text() == f"{digest}  {file}\n"
    assert not Path(f"{file}.part").exists()


def test_a_shard_of_the_array_needs_its_folders(docker: Path) -> None:
    ended = script(docker, "slurm-array.sh", INPUT="", OUTPUT="out")
    assert ended.returncode != 0
    assert "expected the folder that holds csv_files/" in ended.stderr


def test_the_service_in_a_cluster_is_asked_where_it_listens() -> None:
    deployment, service = yaml.safe_load_all((DEPLOY / "kubernetes-serve.yaml").read_text(encoding="utf-8"))
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    (port,) = container["ports"]
    probes = [container[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert probes == [{"path": "/health", "port": port["name"]}] * 3
    assert port["containerPort"] == ServeSettings(Path("in"), Path("out")).port
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    assert service["spec"]["selector"] == pod["metadata"]["labels"] == deployment["spec"]["selector"]["matchLabels"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > GRACE_SECONDS


def test_every_pod_of_the_job_gets_its_own_shard() -> None:
    job = yaml.safe_load((DEPLOY / "kubernetes-job.yaml").read_text(encoding="utf-8"))
    spec = job["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    variables = {entry["name"]: entry for entry in container["env"]}
    assert (job["kind"], spec["completionMode"]) == ("Job", "Indexed")
    assert variables["JOB_COMPLETIONS"]["value"] == str(spec["completions"])
    assert "--shard auto --resume" in " ".join(container["args"])
    assert "$(JOB_COMPLETION_INDEX)" in " ".join(container["args"])
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["template"]["spec"]["volumes"]}
