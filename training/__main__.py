"""Run `python -m training`."""

from aurora.runtime.cli import run_command
from training.cli import main


def entrypoint() -> None:
    """Run the command line and end the process; also what the script `aurora-training` calls."""
    run_command(main)


if __name__ == "__main__":
    entrypoint()
