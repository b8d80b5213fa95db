"""Write a long JSON array item by item."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from aurora.runtime.text import dump_json


@contextmanager
def json_array(file: TextIO) -> Iterator[Callable[[Any], None]]:
    """Yield a function that appends an item to the array that the block writes to `file`, a line per item.

    Example:
        >>> with json_array(sys.stdout) as append:
        ...     append({"id": 1})
        [
        {"id": 1}
        ]
    """
    separator = "[\n"

    def append(item: Any) -> None:
        nonlocal separator
        file.write(separator + dump_json(item))
        separator = ",\n"

    yield append
    file.write("[]" if separator == "[\n" else "\n]")
