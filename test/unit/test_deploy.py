"""The files of `deploy`: scripts that bash understands, and a Kubernetes job whose numbers agree."""

import subprocess
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SCRIPTS = sorted(path.name for path in DEPLOY.glob("*.sh"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_sound_and_say_what_they_do(name: str) -> None:
    text = (DEPLOY / name).read_text(encoding="utf-8")
    shell = text.splitlines()[0].rpartition("/")[2].split()[-1]
    done = subprocess.run([shell, "-n", DEPLOY / name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert text.splitlines()[1].startswith("# ")
    assert "set -eu" in text


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
