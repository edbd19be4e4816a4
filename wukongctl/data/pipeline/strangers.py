"""Values that training never saw, or that are not there, counted while new rows are encoded.

A new user here and there is what the out-of-vocabulary id is for. Where most values of a feature are unknown
that were known in every prepared split, the file is written otherwise, and its scores would say nothing.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from wukongctl.config.dataset import DatasetSpec
from wukongctl.data.pipeline import near_misses
from wukongctl.data.pipeline.lookup import LookupTable
from wukongctl.data.statistics import Statistics, Tally

SURPRISE, ALARM = 0.1, 0.5
"""Unknown values are worth a word once their share is twice the usual one and this much more; above the
second they are an error."""
LEAST = 20
"""Values from which on most of them being unknown says something of how they are written."""
KEPT, SHOWN = 50, 3
"""Of each feature, unknown values that are remembered, and that a message shows."""


class Strangers:
    """What is strange about the rows so far; `vocabularies` are by the position of the feature."""

    def __init__(
        self, spec: DatasetSpec, vocabularies: Mapping[int, LookupTable], statistics: Statistics | None
    ) -> None:
        self.names = [name for name, _ in spec.columns]
        self.vocabularies, self.statistics = vocabularies, statistics
        self.tallies = [_tally(vocabularies.get(index)) for index in range(len(self.names))]
        self.examples: dict[int, list[str]] = {index: [] for index in vocabularies}

    def count(self, table: pa.Table) -> None:
        """Count encoded rows, missing numbers being NULL."""
        for name, tally in zip(self.names, self.tallies, strict=True):
            tally.add(table[name].combine_chunks())

    def note(self, index: int, values: pa.Array, ids: np.ndarray) -> None:
        """Remember some of the distinct `values` of a feature that have the id of unknown ones."""
        known = self.examples[index]
        if len(known) >= KEPT:
            return
        unknown = np.flatnonzero(ids[:-1] == self.vocabularies[index].unknown)[:KEPT]
        found = values.take(pa.array(unknown)).to_pylist()
        known += [value for value in found if value and value.strip() and value not in known]

    def unknown(self) -> dict[str, float]:
        """By feature, the share of the values so far that training never saw, missing ones aside."""
        return {self.names[index]: _share(self.tallies[index]) for index in self.vocabularies}

    def surprises(self) -> list[str]:
        """What a person should know: features with far more unknown values than any prepared split has."""
        found = []
        for name, share in self.unknown().items():
            usual = self._usual(name)[0] if self.statistics is not None else 0.0
            if share > 2 * usual + SURPRISE:
                found.append(
                    f"{share:.1%} of the values of `{name}` are unknown to the run; "
                    f"in the prepared dataset at most {usual:.1%} are"
                )
        return found

    def alarms(self) -> list[str]:
        """What should not be scored unasked: features whose values are mostly unknown, or missing, while
        they are not in the prepared dataset. Of a few values nothing is claimed."""
        found = []
        for index, (name, tally) in enumerate(zip(self.names, self.tallies, strict=True)):
            usual_unknown, usual_missing = self._usual(name)
            if tally.items >= LEAST and is_alarming(_share(tally), usual_unknown):
                found.append(
                    f"{_share(tally):.1%} of the values of `{name}` are unknown to the run, in the prepared "
                    f"dataset at most {usual_unknown:.1%}: {self._listed(index)}"
                )
            missing = tally.missing / max(tally.rows, 1)
            if tally.rows >= LEAST and is_alarming(missing, usual_missing):
                found.append(
                    f"`{name}` is missing in {missing:.1%} of the rows, in the prepared dataset in at most "
                    f"{usual_missing:.1%}"
                )
        return found

    def _usual(self, name: str) -> tuple[float, float]:
        """The largest share of unknown and of missing values that a prepared split has; 1 if not known."""
        known = self.statistics.features.get(name) if self.statistics is not None else None
        if known is None:
            return 1.0, 1.0
        return max((known.unknown or {}).values(), default=0.0), max(known.missing.values(), default=0.0)

    def _listed(self, index: int) -> str:
        """Some unknown values, those first that resemble a known one."""
        some = self.examples[index][:KEPT]
        known = near_misses.alike(some, self.vocabularies[index].values)
        some.sort(key=lambda value: value not in known)
        return ", ".join(
            f"`{value}`, where training has `{known[value]}`" if value in known else f"`{value}`"
            for value in some[:SHOWN]
        )


def _tally(table: LookupTable | None) -> Tally:
    return Tally() if table is None else Tally(unknown_id=table.unknown, missing_id=table.missing)


def _share(tally: Tally) -> float:
    return tally.unknown / max(tally.items, 1)


def is_alarming(share: float, usual: float) -> bool:
    """Whether `share` of the rows is too strange to score, given the `usual` share in the prepared splits."""
    return share > max(ALARM, 2 * usual + SURPRISE)
