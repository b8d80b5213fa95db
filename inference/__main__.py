"""`python -m inference`: the container's entrypoint."""

import sys
import traceback

from aurora.errors import AuroraError
from inference.cli import main


def entrypoint() -> None:
    """Run the command line; whatever goes wrong, the last line says what and the exit code is the documented one."""
    try:
        main(prog_name="python -m inference")
    except AuroraError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception as error:
        traceback.print_exc()
        print(f"internal error: {type(error).__name__}: {error}; please report it", file=sys.stderr)
        sys.exit(AuroraError.exit_code)


if __name__ == "__main__":
    entrypoint()
