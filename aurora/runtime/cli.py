"""Options, logging, signal handling and exit codes of the command lines."""

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

from aurora.errors import AuroraError, DeviceError, Stopped
from aurora.runtime.hardware import MORE_THREADS, NO_THREAD, library_threads, require_threads


class ShutdownRequest:
    """A flag that is set when SIGTERM or SIGINT arrives; see `graceful_shutdown`."""

    def __init__(self) -> None:
        self.requested = False


@contextmanager
def graceful_shutdown() -> Iterator[ShutdownRequest]:
    """Catch the first SIGTERM or SIGINT and set `ShutdownRequest.requested`; a second one acts as usual.

    Example:
        >>> with graceful_shutdown() as shutdown:
        ...     for step in steps:
        ...         if shutdown.requested:
        ...             break
    """
    shutdown = ShutdownRequest()

    def request(number: int, frame: FrameType | None) -> None:
        shutdown.requested = True
        restore()

    def restore() -> None:
        for signal_number, handler in handlers.items():
            signal.signal(signal_number, handler)

    handlers = {number: signal.signal(number, request) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield shutdown
    finally:
        restore()


# Click doesn't check that a path is readable, because the code that reads it gives a better message.
FOLDER = click.Path(path_type=Path, file_okay=False, readable=False)
FILE = click.Path(path_type=Path, dir_okay=False, readable=False)
ENGINE = click.Choice(["torch", "onnx", "onnx-int8", "tensorrt"])
#: click settings of a group of commands.
GROUP = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
#: click settings of every command: --batch-size is also AURORA_BATCH_SIZE.
ENVIRONMENT = {"auto_envvar_prefix": "AURORA"}


class TolerantStream:
    """A text stream that ignores write errors and escapes characters it can't encode."""

    def __init__(self, stream: TextIO | None) -> None:
        # Python gives None for a stream that the caller has closed.
        self._stream = stream or Path(os.devnull).open("w")  # noqa: SIM115  it stays open until the process ends
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
    """Write records to the current `sys.stdout`."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stdout

    @stream.setter
    def stream(self, value: TextIO) -> None:
        raise AttributeError("the stream is always sys.stdout")


def configure_logging(level: int = logging.INFO) -> None:
    """Print the messages of the logger "aurora" and its children to stdout, without decoration.

    Only the command lines call this: a program that imports the package configures logging itself.
    """
    logger = logging.getLogger("aurora")
    logger.setLevel(level)
    logger.propagate = False
    if not any(isinstance(handler, _StdoutHandler) for handler in logger.handlers):
        logger.addHandler(_StdoutHandler())


def run_command(group: click.Command) -> NoReturn:
    """Run a command line and exit; after a failure the last line says what went wrong.

    The exit code is that of the `AuroraError` or of the click exception, or 6 for an internal error.
    """
    sys.stdout, sys.stderr = TolerantStream(sys.stdout), TolerantStream(sys.stderr)
    configure_logging()
    try:
        require_threads(library_threads())
        # In standalone mode click would exit with 1 after Ctrl-C.
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
        if str(error) == NO_THREAD:
            print(f"error: {NO_THREAD}; {MORE_THREADS}", file=sys.stderr)
            sys.exit(DeviceError.exit_code)
        traceback.print_exc()
        print(f"internal error: {type(error).__name__}: {error}; please report it", file=sys.stderr)
        sys.exit(AuroraError.exit_code)
