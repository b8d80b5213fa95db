"""What the command lines of both stages share: how flags are read, and how a failure ends."""

import sys
import traceback
from pathlib import Path
from typing import NoReturn

import click

from aurora.errors import AuroraError, Stopped

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
#: Settings of a group of commands.
GROUP = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
#: Settings of each command: --batch-size is AURORA_BATCH_SIZE, whatever the command.
ENVIRONMENT = {"auto_envvar_prefix": "AURORA"}


def run_command(group: click.Group, name: str) -> NoReturn:
    """Run a command line; whatever goes wrong, the last line says what and the exit code is the documented one."""
    try:
        group(prog_name=name)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.exit_code)
    except AuroraError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception as error:
        traceback.print_exc()
        print(f"internal error: {type(error).__name__}: {error}; please report it", file=sys.stderr)
        sys.exit(AuroraError.exit_code)
    sys.exit(0)
