"""A set of values in little memory."""

from collections.abc import Hashable


class SeenHashes:
    """Which values have been added, known by their 64-bit hashes alone.

    A new value is mistaken for an added one if their hashes agree. Among n values, some pair does with a probability
    of about n^2 / 2^65 (the birthday problem): 3 in a million for ten million values.

    Example:
        >>> seen = SeenHashes()
        >>> seen.add("a"), seen.add("a"), "a" in seen
        (True, False, True)
    """

    def __init__(self) -> None:
        self._hashes: set[int] = set()

    def __contains__(self, value: Hashable) -> bool:
        return hash(value) in self._hashes

    def add(self, value: Hashable) -> bool:
        """Add a value; return whether it is new."""
        new = value not in self
        self._hashes.add(hash(value))
        return new
