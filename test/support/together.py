"""One process of several that train together: records every step's loss, samples and sampler in a file.

`python test/support/together.py RECORD fit ...` runs `python -m training fit ...` without dropout, whose masks depend
on which process has which sample. In the environment, DIE_AT has the second process killed at that step, once per
RECORD, and STOP_AT the last one told to stop after that step.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from aurora.runtime.cli import run_command
from training.cli import main
from training.fit.trainer import Trainer


def watch(record: Path) -> None:
    step = Trainer.step
    build = Trainer.__init__

    def built(self: Trainer, *args: Any) -> None:
        build(self, *args)
        for module in self.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0

    def recorded(self: Trainer, number: int, batches: Any) -> Any:
        died = record.with_suffix(".died")
        if number == int(os.environ.get("DIE_AT", "0")) and self.group.rank == 1 and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        found = step(self, number, batches)
        line = {"step": number, "done": found, "sampler": self.sampler.losses, "rows": len(batches[0].images)}
        # One of the processes, the last, gets the signal; all are to end at this step.
        if number == int(os.environ.get("STOP_AT", "0")) and self.group.rank == self.group.world_size - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        with record.with_suffix(f".{self.group.rank}").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return found

    Trainer.__init__, Trainer.step = built, recorded  # type: ignore[method-assign]


if __name__ == "__main__":
    torch.set_num_threads(1)
    watch(Path(sys.argv.pop(1)))
    run_command(main)
