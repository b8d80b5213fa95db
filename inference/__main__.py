"""`python -m inference`: the entrypoint of the container."""

from aurora.runtime.cli import run_command
from inference.cli import main


def entrypoint() -> None:
    """Run the command line and exit; the script `aurora-inference` calls this too."""
    run_command(main)


if __name__ == "__main__":
    entrypoint()
