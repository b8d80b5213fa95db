"""Errors a user can fix, each with the exit code of the command line.

A message is one plain sentence: what was expected, what was found, what to do.
"""


class AuroraError(Exception):
    """Base class of errors the user can fix; the process exits with `exit_code`."""

    exit_code = 6


class UsageError(AuroraError):
    """A flag, setting or configuration is wrong."""

    exit_code = 2


class InputError(AuroraError):
    """The input folder, its CSV files or the labels in them can't be used."""

    exit_code = 3


class WeightsError(AuroraError):
    """The checkpoint is missing, damaged or doesn't fit the model."""

    exit_code = 4


class OutputError(AuroraError):
    """The output can't be written."""

    exit_code = 5


class DeviceError(AuroraError):
    """The requested device is absent or failed."""

    exit_code = 6


class ImageError(AuroraError):
    """An image can't be used; its rows get a fallback and the run continues.

    Args:
        reason: what is wrong, without naming the source, so that equal reasons can be counted.
        source: the file or row, for the message.
        size: height and width in pixels, if they are known although the pixels are not.
    """

    exit_code = 3

    def __init__(self, reason: str, source: object, size: tuple[int, int] | None = None) -> None:
        super().__init__(f"{source}: {reason}")
        self.reason, self.size = reason, size


class Stopped(AuroraError):
    """A signal ended the run; its finished work is kept."""

    exit_code = 143
