"""Prometheus' text format, read.

In: an exposition. Out: the value of each series.
"""

from prometheus_client.parser import text_string_to_metric_families

Series = dict[frozenset[tuple[str, str]], float]


def series(exposition: str, name: str, **labels: str) -> Series:
    """All series of one name that have these labels, by their other labels."""
    wanted = labels.items()
    return {
        frozenset(sample.labels.items() - wanted): sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
        if sample.name == name and wanted <= sample.labels.items()
    }


def value(exposition: str, name: str, **labels: str) -> float | None:
    """The sum of all series of one name that have these labels; None if there is none."""
    found = series(exposition, name, **labels)
    return sum(found.values()) if found else None
