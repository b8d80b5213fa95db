"""`python -m training`."""

import sys

from aurora.errors import AuroraError
from training.cli import main

if __name__ == "__main__":
    try:
        main(prog_name="python -m training")
    except AuroraError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
