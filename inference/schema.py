"""JSON Schemas of the files that a run writes, made from the types that write them."""

from typing import Any

from pydantic import TypeAdapter

from aurora.answers import JSON_FILES
from inference.report.record import RunRecord
from inference.writer import RECORDS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
REPORT = "report.json"
#: The files by name: the three lists of answers, and what `run --report FILE.json` writes.
NAMES = (*JSON_FILES.values(), REPORT)


def schema(name: str) -> dict[str, Any]:
    """The schema of one of `NAMES`."""
    types = {JSON_FILES[kind]: list[record] for kind, record in RECORDS.items()}  # type: ignore[valid-type]
    adapter: TypeAdapter[Any] = TypeAdapter(types.get(name, RunRecord))
    return {"$schema": DIALECT, "title": name} | adapter.json_schema(mode="serialization")
