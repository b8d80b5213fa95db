"""Runs that get a signal, and their continuation."""

import re
import subprocess
import sys
import time

from faults.catalogue.bench import ROOT, Bench, Ended

COPIES = 80


def many(bench: Bench) -> None:
    """Add rows for a run of a second or more."""
    names = [f"copy{number}.png" for number in range(COPIES)]
    for name in names:
        (bench.root / "images" / name).hardlink_to(bench.root / "images" / "0.png")
    bench.rows(*(f"lung,segmentation,2,../images/{name},../masks/{name}" for name in names))


def stopped(bench: Bench, number: int) -> Ended:
    """Send a signal to a run after its first masks."""
    many(bench)
    command = [sys.executable, "-m", "inference", *bench.flags("--batch-size", 1)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while len(list(bench.out.glob("masks/*.png"))) < 3 and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    return bench.ended(process.returncode, out, _counts_hidden(err))


def _counts_hidden(text: str) -> str:
    """Hide the number of rows, which depends on the machine."""
    return re.sub(r"\d+ of \d+ rows", "N of N rows", text)


def continued(bench: Bench, ended: Ended) -> Ended:
    again = bench.run("--batch-size", 1, "--resume")
    assert again.code == 0
    assert "rows are taken over" in again.out
    assert bench.predictions() == COPIES + 4
    return ended
