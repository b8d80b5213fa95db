"""Errors a user can cause, each with the exit code the command line ends with.

A message is one plain sentence: what was expected, what was found, what to do.
"""


class AuroraError(Exception):
    """Base of every error that is the user's to mend; `exit_code` is what the process ends with."""

    exit_code = 6


class UsageError(AuroraError):
    """A flag, setting or configuration is wrong."""

    exit_code = 2


class InputError(AuroraError):
    """The input folder, its CSV files or the labels in them can't be used."""

    exit_code = 3


class WeightsError(AuroraError):
    """The checkpoint is missing, damaged or of another model."""

    exit_code = 4


class OutputError(AuroraError):
    """The answers can't be written."""

    exit_code = 5


class DeviceError(AuroraError):
    """The device that was asked for is absent, or it failed."""

    exit_code = 6


class ImageError(AuroraError):
    """One image can't be used; the row gets a fallback answer and the run goes on.

    `reason` says why without naming the `place` (the file, or the row), so that equal reasons can be counted.
    """

    exit_code = 3

    def __init__(self, reason: str, place: object) -> None:
        super().__init__(f"{place}: {reason}")
        self.reason = reason


class Stopped(AuroraError):
    """A signal ended the run; what it had done is kept."""

    exit_code = 143
