"""A compact set of hashed values."""

from collections.abc import Hashable


class SeenHashes:
    """A set that stores only the 64-bit hash of each added value.

    Two values with the same hash count as one. The probability of such a pair among n values is about n^2 / 2^65 (the
    birthday problem): 3 in a million for ten million values.

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
