"""`python -m training`."""

from aurora.command import run_command
from training.cli import main

if __name__ == "__main__":
    run_command(main, "python -m training")
