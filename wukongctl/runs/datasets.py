"""Runs by the data that they were trained on: those of different data cannot be compared."""

from collections.abc import Sequence
from dataclasses import dataclass

from wukongctl.config.suggestions import did_you_mean
from wukongctl.errors import UsageError
from wukongctl.runs.folders import RunRecord

SHOWN_FINGERPRINT = 12


@dataclass(frozen=True, slots=True)
class RunsOfDataset:
    """The runs trained on one prepared dataset; `label` tells it from others of the same name."""

    label: str
    runs: tuple[RunRecord, ...]


def by_dataset(runs: Sequence[RunRecord], chosen: str | None = None) -> list[RunsOfDataset]:
    """The runs of each dataset, by name, or those of the dataset `chosen` by its name or label.

    Prepared in two ways, a dataset counts as two. Raises `UsageError` when no run is of `chosen`.
    """
    found: dict[tuple[str, str], list[RunRecord]] = {}
    for run in runs:
        found.setdefault((run.info.data.dataset, run.info.data.fingerprint), []).append(run)
    names = [name for name, _ in found]
    groups = [
        RunsOfDataset(
            name if names.count(name) == 1 else f"{name} {mark[:SHOWN_FINGERPRINT]}", tuple(members)
        )
        for (name, mark), members in sorted(found.items())
    ]
    if chosen is None:
        return groups
    matching = [one for one in groups if chosen in (one.label, one.runs[0].info.data.dataset)]
    if not matching:
        known = sorted({*names, *(one.label for one in groups)})
        listed = f"there are runs of {', '.join(f'`{name}`' for name in known)}"
        raise UsageError(f"no run is of dataset `{chosen}`", hint=did_you_mean(chosen, known) or listed)
    return matching
