"""Tables for terminals and pages, and strict JSON."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def text_table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Align rows of cells in columns, two spaces apart; rows may differ in length.

    Example:
        >>> text_table([["task", "rows"], ["cervix", "12"]])
        ['task    rows', 'cervix  12']
    """
    lines = list(rows)
    columns = max(map(len, lines), default=0)
    widths = [max(len(line[i]) for line in lines if i < len(line)) for i in range(columns)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int | None = None) -> list[str]:
    """Format a Markdown table, one string per line.

    With `text_columns`, only that many columns are left-aligned, from the first; the others hold numbers and are
    right-aligned.

    Example:
        >>> markdown_table(["task", "rows"], [["cervix", "12"]], text_columns=1)
        ['| task | rows |', '| --- | ---: |', '| cervix | 12 |']
    """
    left = len(header) if text_columns is None else text_columns
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    return [f"| {' | '.join(cells)} |" for cells in (header, rule, *rows)]


def strict_json(value: Any) -> Any:
    """Return `value` with every float that JSON can't hold (NaN, infinity) replaced by None.

    Mappings become dicts with text keys, and tuples become lists.

    Example:
        >>> strict_json({"auc": float("nan"), "classes": (1, 2)})
        {'auc': None, 'classes': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {str(key): strict_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def dump_json(value: Any, indent: int | None = None) -> str:
    """Serialize `value` as strict JSON; numbers that aren't finite become null."""
    return json.dumps(strict_json(value), indent=indent, ensure_ascii=False, allow_nan=False)
