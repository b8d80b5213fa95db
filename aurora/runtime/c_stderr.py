"""Catch what C libraries print to stderr, in the thread in which they print it.

Decoders such as libpng, libjpeg and GDCM report damage by printing it. In glibc the variable `stderr` may be assigned
and a stream may have a function of ours as its end ("The GNU C Library", 12.2 and 12.21.3.1). So the file descriptor 2
stays as it is: Python's own lines and the last words of a crash don't pass through here.
"""

import atexit
import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import local

#: The most bytes that are kept of what one block prints.
KEPT = 4096
# What glibc and the C++ library print before they end the process.
_LAST_WORDS = (b"Assertion", b"terminate called")

_thread = local()
_WRITE = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class _Functions(ctypes.Structure):
    """glibc's `cookie_io_functions_t`."""

    _fields_ = (("read", ctypes.c_void_p), ("write", _WRITE), ("seek", ctypes.c_void_p), ("close", ctypes.c_void_p))


@contextmanager
def caught_stderr() -> Iterator[list[str]]:
    """Catch what C libraries print to stderr in this thread; the list is filled with its different lines at the end.

    Where the C library isn't glibc, nothing is caught.

    Example:
        >>> with caught_stderr() as lines:
        ...     cv2.imdecode(data, cv2.IMREAD_COLOR)
        >>> lines
        ['Corrupt JPEG data: premature end of data segment']
    """
    _install()
    lines: list[str] = []
    before, _thread.printed = getattr(_thread, "printed", None), bytearray()
    try:
        yield lines
    finally:
        printed = _thread.printed or b""
        _thread.printed = before
        text = printed.decode("utf-8", "replace")
        lines += dict.fromkeys(line.strip() for line in text.splitlines() if line.strip())


def _write(cookie: int, data: int, length: int) -> int:
    text = ctypes.string_at(data, length)
    printed = getattr(_thread, "printed", None)
    if any(words in text for words in _LAST_WORDS):
        _thread.printed = printed = None
    if printed is None:
        os.write(2, text)
    elif len(printed) < KEPT:
        printed += text
    return length


_write_function = _WRITE(_write)  # glibc keeps no reference to it


@cache
def _install() -> None:
    """Let C libraries print to `_write`, until the interpreter ends."""
    library = ctypes.CDLL(None)
    try:
        stderr, open_stream = ctypes.c_void_p.in_dll(library, "stderr"), library.fopencookie
    except (ValueError, AttributeError):
        return
    open_stream.restype = ctypes.c_void_p
    stream = ctypes.c_void_p(open_stream(None, b"w", _Functions(None, _write_function, None, None)))
    library.setvbuf(stream, None, 2, ctypes.c_size_t(0))  # 2: unbuffered
    before, stderr.value = stderr.value, stream.value
    atexit.register(setattr, stderr, "value", before)
