"""`python -m inference`: the container's entrypoint."""

from aurora.runtime.cli import run_command
from inference.cli import main


def entrypoint() -> None:
    """Run the command line and end the process; also what the script `aurora-inference` calls."""
    run_command(main)


if __name__ == "__main__":
    entrypoint()
