"""`python -m inference`: the container's entrypoint."""

from aurora.command import run_command
from inference.cli import main


def entrypoint() -> None:
    """Run the command line and end the process."""
    run_command(main, "python -m inference")


if __name__ == "__main__":
    entrypoint()
