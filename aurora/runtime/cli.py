"""What the command lines of both stages share: how flags are read, and how a failure ends."""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO

import click

from aurora.errors import AuroraError, Stopped


class ShutdownRequest:
    """A signal handler; `wanted` becomes true when the signal arrives."""

    def __init__(self) -> None:
        self.wanted = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.wanted = True


@contextmanager
def graceful_shutdown() -> Iterator[ShutdownRequest]:
    """Inside, SIGTERM and SIGINT don't end the process but set the `ShutdownRequest` that is given."""
    stop = ShutdownRequest()
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# Whether they can be read is found by whoever reads them, who can say more.
FOLDER = click.Path(path_type=Path, file_okay=False, readable=False)
FILE = click.Path(path_type=Path, dir_okay=False, readable=False)
ENGINE = click.Choice(["torch", "onnx", "tensorrt"])
#: Settings of a group of commands.
GROUP = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
#: Settings of each command: --batch-size is AURORA_BATCH_SIZE, whatever the command.
ENVIRONMENT = {"auto_envvar_prefix": "AURORA"}


class TolerantStream:
    """A text stream for what is said: where it can't be written, that costs no answer, and no letter is too odd."""

    def __init__(self, stream: TextIO | None) -> None:
        # None is what Python gives where the caller has closed it.
        self._stream = stream or Path(os.devnull).open("w")  # noqa: SIM115  it stays open to the end
        if isinstance(self._stream, TextIOWrapper):
            self._stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _StdoutHandler(logging.StreamHandler[TextIO]):
    """Write records to whatever `sys.stdout` is at the time."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stdout

    @stream.setter
    def stream(self, value: TextIO) -> None:
        raise AttributeError("the stream is always sys.stdout")


def configure_logging(level: int = logging.INFO) -> None:
    """Print the messages of the logger "aurora" and those below it to stdout, without decoration.

    Only command lines call this: a program that imports the package configures logging itself.
    """
    logger = logging.getLogger("aurora")
    logger.setLevel(level)
    logger.propagate = False
    if not any(isinstance(handler, _StdoutHandler) for handler in logger.handlers):
        logger.addHandler(_StdoutHandler())


def run_command(group: click.Group) -> NoReturn:
    """Run a command line; whatever goes wrong, the last line says what and the exit code is the documented one."""
    sys.stdout, sys.stderr = TolerantStream(sys.stdout), TolerantStream(sys.stderr)
    configure_logging()
    try:
        # Left to itself, click ends a run that Ctrl-C stops with exit code 1.
        sys.exit(group(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        print("stopped by a signal", file=sys.stderr)
        sys.exit(Stopped.exit_code)
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
