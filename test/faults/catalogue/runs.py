"""Faults of the machine, interruptions and flags."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from faults.catalogue.bench import ROOT, Bench, Ended, fault, needs
from faults.catalogue.stopping import COPIES, continued, many, stopped

import inference.run
from aurora.engine.base import Engine
from aurora.engine.select import open_engine
from aurora.tasks import TaskType

RUN, FLAGS = "The run and the machine", "Flags"


@fault(RUN, "SIGTERM, as `docker stop` sends it")
def terminated(bench: Bench) -> Ended:
    return continued(bench, stopped(bench, signal.SIGTERM))


@fault(RUN, "SIGINT, as Ctrl-C sends it")
def interrupted(bench: Bench) -> Ended:
    return continued(bench, stopped(bench, signal.SIGINT))


@fault(RUN, "SIGKILL or a loss of power, then `--resume`")
def killed(bench: Bench) -> Ended:
    assert stopped(bench, signal.SIGKILL).code == -signal.SIGKILL
    return continued(bench, bench.ended(0, "", ""))


class Changed:
    """An engine that changes the outputs of another."""

    def __init__(self, engine: Engine, change: Callable[[np.ndarray], None]) -> None:
        self.engine, self.change = engine, change
        self.path, self.name, self.spec = engine.path, engine.name, engine.spec
        self.batch_size, self.num_workers, self.checksum = engine.batch_size, engine.num_workers, engine.checksum

    def run(self, images: np.ndarray, rows: Mapping[TaskType, np.ndarray]) -> dict[TaskType, np.ndarray]:
        outputs = self.engine.run(images, rows)
        for output in outputs.values():
            self.change(output)
        return outputs


def with_outputs(change: Callable[[np.ndarray], None]) -> Callable[[Bench], Ended]:
    def make(bench: Bench) -> Ended:
        bench.patch.setattr(inference.run, "open_engine", lambda *place: Changed(open_engine(*place), change))
        return bench.run()

    return make


fault(RUN, "a model whose output is NaN")(with_outputs(lambda output: output.fill(np.nan)))
fault(RUN, "a model whose output is infinite")(with_outputs(lambda output: output.fill(np.inf)))

# The first batch is computed image by image. When the second one comes, all threads are there, and the address space is
# bounded to what is in use and a little more.
LIMITED = """
import collections, resource, runpy, sys
import numpy as np
import aurora.engine.onnx_runtime as engine
real, room, calls = engine.OnnxEngine.run, int(sys.argv.pop(1)) << 20, []
def one_by_one(self, images, rows):
    parts = collections.defaultdict(list)
    for number in range(len(images)):
        wanted = {kind: index[index == number] * 0 for kind, index in rows.items() if (index == number).any()}
        for kind, output in real(self, images[number:number + 1], wanted).items():
            parts[kind].append(output)
    return {kind: np.concatenate(outputs) for kind, outputs in parts.items()}
def run(self, images, rows):
    calls.append(len(images))
    if len(calls) == 1:
        return one_by_one(self, images, rows)
    if len(calls) == 2:
        status = dict(line.split(":") for line in open("/proc/self/status"))
        resource.setrlimit(resource.RLIMIT_AS, (int(status["VmSize"].split()[0]) * 1024 + room, -1))
    return real(self, images, rows)
engine.OnnxEngine.run = run
sys.argv[0] = "inference"
runpy.run_module("inference", run_name="__main__", alter_sys=True)
"""


@fault(RUN, "memory for fewer images at once than `--batch-size`")
def little_memory(bench: Bench) -> Ended:
    needs(sys.platform == "linux", "the address space is only bounded on Linux")
    many(bench)
    words = bench.flags("--batch-size", 32)
    command = [sys.executable, "-c", LIMITED, "40", *words]
    few_arenas = os.environ | {"MALLOC_ARENA_MAX": "1"}
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=few_arenas)
    assert ended.returncode == 0, ended
    assert bench.predictions() == COPIES + 4
    return bench.ended(ended.returncode, ended.stdout, ended.stderr)


@fault(RUN, "a GPU that is requested but absent")
def no_gpu(bench: Bench) -> Ended:
    import onnxruntime

    needs("CUDAExecutionProvider" not in onnxruntime.get_available_providers(), "this onnxruntime has CUDA")
    ended = bench.run("--device", "cuda")
    assert list(bench.out.iterdir()) == []
    return ended


@fault(RUN, "a GPU that PyTorch doesn't find")
def no_torch_gpu(bench: Bench) -> Ended:
    import torch

    needs(not torch.cuda.is_available(), "there is a GPU")
    return bench.run("--engine", "torch", "--device", "cuda:1", weights=bench.weights.with_suffix(".safetensors"))


@fault(RUN, "no network, no home, no environment, a read-only root, 64 MB of shared memory and an unknown user")
def bare_machine(bench: Bench) -> Ended:
    needs(os.geteuid() == 0 and shutil.which("unshare") and shutil.which("setpriv"), "needs root, unshare and setpriv")
    bench.open_to_all()
    bench.out.mkdir()
    os.chown(bench.out, 4242, 4242)
    script = (
        f"mount --bind {bench.out} {bench.out} && mount -o remount,bind,ro /"
        " && mount -t tmpfs -o size=64m none /dev/shm"
        " && exec setpriv --reuid 4242 --regid 4242 --clear-groups --inh-caps -all,+dac_read_search"
        ' --ambient-caps -all,+dac_read_search env -i "$@"'
    )
    before = ("unshare", "--mount", "--net", "sh", "-c", script, "sh")
    works = subprocess.run([*before, "true"], capture_output=True).returncode == 0
    needs(works, "no namespace can be made here")
    ended = bench.process(before=before)
    assert {path.stat().st_uid for path in bench.out.rglob("*")} == {4242}, ended
    return ended


@fault(RUN, "root, and another user's output folder")
def as_owner(bench: Bench) -> Ended:
    needs(os.geteuid() == 0, "only root can give files away")
    bench.out.mkdir()
    os.chown(bench.out, 4343, 4344)
    ended = bench.run()
    assert {(path.stat().st_uid, path.stat().st_gid) for path in bench.out.rglob("*")} == {(4343, 4344)}
    return ended


@fault(RUN, "a log that can't be written")
def no_log(bench: Bench) -> Ended:
    with Path("/dev/full").open("w") as nowhere:
        command = [sys.executable, "-m", "inference", *bench.flags()]
        ended = subprocess.run(command, cwd=ROOT, stdout=nowhere, stderr=subprocess.PIPE, text=True)
    assert bench.predictions() == 4
    return bench.ended(ended.returncode, "", ended.stderr)


@fault(RUN, "a log whose reader goes away")
def broken_pipe(bench: Bench) -> Ended:
    command = [sys.executable, "-m", "inference", *bench.flags()]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.close()
        assert process.stderr
        err = process.stderr.read()
    assert bench.predictions() == 4
    return bench.ended(process.returncode, "", err)


@fault(RUN, "a log that is closed from the beginning")
def closed_log(bench: Bench) -> Ended:
    ended = bench.process(before=("sh", "-c", 'exec "$@" >&- 2>&-', "sh"))
    assert bench.predictions() == 4
    return ended


@fault(RUN, "a terminal that only supports ASCII")
def ascii_only(bench: Bench) -> Ended:
    bench.rows("läsion,classification,2,../images/ä.png,")
    return bench.process(env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})


@fault(RUN, "file names that aren't text")
def odd_names(bench: Bench) -> Ended:
    shutil.rmtree(bench.root)
    bench.root.mkdir()
    (Path(os.fsdecode(os.fsencode(bench.root) + b"/\xff.csv"))).touch()
    return bench.process()


@fault(RUN, "fallbacks under `--strict`")
def strict(bench: Bench) -> Ended:
    bench.rows("new_cls,classification,4,../images/0.png,")
    return bench.run("--strict")


@fault(RUN, "a row left out under `--strict`")
def strict_rows(bench: Bench) -> Ended:
    bench.rows("mystery,guess,4,../images/0.png,")
    return bench.run("--strict")


WORDS = {
    "a flag that doesn't exist": ("--colour", "red"),
    "a device that doesn't exist": ("--device", "tpu"),
    "a batch of no images": ("--batch-size", 0),
    "an engine that doesn't exist": ("--engine", "abacus"),
}


def given(words: tuple[object, ...]) -> Callable[[Bench], Ended]:
    return lambda bench: bench.run(*words)


for name, words in WORDS.items():
    fault(FLAGS, name)(given(words))


@fault(FLAGS, "no `--input`")
def no_input(bench: Bench) -> Ended:
    bench.patch.setattr(bench, "flags", lambda *flags, **places: ["run", "--output", str(bench.out)])
    return bench.run()
