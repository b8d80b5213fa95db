"""Follow the measurements of a cine over its frames, from the records of the frames."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: The columns of `change_table`.
COLUMNS = (
    *("source", "task", "measurement", "structure", "unit", "frames", "mean"),
    *("smallest", "smallest_frame", "largest", "largest_frame", "fractional_change"),
)


@dataclass(slots=True)
class Series:
    """The values of one quantity, and the numbers of the frames that have one; a probability has no unit."""

    name: str
    structure: int | None
    structure_name: str | None
    unit: str
    frames: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The quantity with its class, in plain words."""
        if self.structure is None:
            return self.name
        return f"{self.name} of {self.structure_name or f'class {self.structure}'}"

    @property
    def fractional_change(self) -> float | None:
        """(largest - smallest) / largest area; None for what isn't an area.

        Between the end of diastole and of systole this is the fractional area change of a ventricle (Lang et al., JASE
        28:1-39, 2015).
        """
        largest = max(self.values)
        return (largest - min(self.values)) / largest if self.name == "area" and largest else None


def series_of(records: Iterable[Mapping[str, Any]]) -> list[Series]:
    """Return the measurements, probabilities and the confidence of one cine and task; fallbacks have none."""
    found: dict[tuple[str, int | None, str], Series] = {}
    for record in records:
        if record["fallback"] is None:
            for name, structure, named, unit, value in _quantities(record):
                series = found.setdefault((name, structure, unit), Series(name, structure, named, unit))
                series.frames.append(record["frame"])
                series.values.append(value)
    return list(found.values())


def shown(series: Sequence[Series]) -> list[Series]:
    """Return the series that a picture shows: of the measurements of a mask only the areas."""
    masks = any(item.name == "area" for item in series)
    return [item for item in series if not masks or item.name in ("area", "confidence")]


def by_task(records: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the records of a cine by the ids of their tasks."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        found.setdefault(record["task"], []).append(record)
    return found


def change_table(records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield, for each task and series of a cine, how its values change, as `COLUMNS`."""
    for task, frames in by_task(records).items():
        for series in series_of(frames):
            smallest, largest = min(series.values), max(series.values)
            change = series.fractional_change
            numbers = (
                *(len(series.values), sum(series.values) / len(series.values)),
                *(smallest, series.frames[series.values.index(smallest)]),
                *(largest, series.frames[series.values.index(largest)], change),
            )
            structure = series.structure_name or series.structure
            values = (frames[0]["source"], task, series.name, structure, series.unit, *numbers)
            yield dict(zip(COLUMNS, values, strict=True))


def in_words(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the range of what is measured in the frames of one cine and task, in a line."""
    fallbacks = sum(record["fallback"] is not None for record in records)
    parts = [f"{len(records)} frames" + (f", {fallbacks} of them by a fallback" if fallbacks else "")]
    for series in shown(series_of(records)):
        if series.name != "confidence":
            ends = f"{_short(min(series.values))} to {_short(max(series.values))} {series.unit}".rstrip()
            parts.append(f"{series.label}: {ends}")
    return "; ".join(parts)


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _quantities(record: Mapping[str, Any]) -> Iterator[tuple[str, int | None, str | None, str, float]]:
    for item in record["measurements"]:
        yield item["name"], item["structure"], item["structure_name"], item["unit"], item["value"]
    for label, probability in enumerate(record.get("probabilities", ())):
        yield "probability", label, record["names"][label] if record["names"] else None, "", probability
    yield "confidence", None, None, "", record["confidence"]
