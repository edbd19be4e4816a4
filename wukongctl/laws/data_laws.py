"""Laws of the amount of data at a fixed size, with the tests and caveats of laws of size."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from wukongctl.decisions import Interval
from wukongctl.laws.curves import Curve, Method, analyze
from wukongctl.laws.data_scaling import by_size, single_epoch, varies
from wukongctl.laws.fit import Fit
from wukongctl.laws.forms import form_named
from wukongctl.laws.notes import EXPLANATIONS, NoteCode, differ_at_one_cost
from wukongctl.laws.points import PointSet

LEAST_AMOUNTS = 3


@dataclass(frozen=True, slots=True)
class Amount:
    """The runs with one amount of data, with their mean loss."""

    examples: int
    loss: float
    runs: int


@dataclass(frozen=True, slots=True)
class DataLaw:
    """Loss against examples, y = E + A D^-c, for one size of one curve, and its `analysis` as a curve.

    In the analysis x is in examples, not in billions.
    """

    curve: str
    gflop_per_example: float
    amounts: tuple[Amount, ...]
    law: Fit
    notes: tuple[NoteCode, ...]
    analysis: Curve

    @property
    def intervals(self) -> dict[str, Interval]:
        """Interval of every parameter."""
        return self.analysis.intervals


def data_laws(source: PointSet, method: Method) -> Iterator[DataLaw]:
    """One law per size that was trained on at least three amounts of data; its form is `power`.

    `method.at` are numbers of examples.
    """
    method = replace(method, form=form_named("power"), floor=None)
    along = replace(source, axis=source.data)
    for (curve, gflop), runs in by_size(single_epoch(source.points)).items():
        known = [run for run in runs if run.examples]
        amounts = {run.examples for run in known}
        if not varies([run.examples for run in runs]) or len(amounts) < LEAST_AMOUNTS:
            continue
        points = [replace(run, x=float(run.examples or 0)) for run in known]
        found = analyze(curve, points, along, method, draw_to=None)
        if found.law is not None:
            each = tuple(Amount(round(size.x), size.loss, size.runs) for size in found.sizes)
            mixed = differ_at_one_cost(runs)
            yield DataLaw(curve, gflop, each, found.law, tuple(_notes({*found.notes}, mixed)), found)


def _notes(codes: set[NoteCode], mixed: bool) -> Iterator[NoteCode]:
    """The notes of a curve over data: amounts differ by design; `mixed` sizes are different models."""
    for code in EXPLANATIONS:
        if code in codes - {"unequal_data"} or (mixed and code == "unequal_params"):
            yield code
