"""Scaling laws of your own points."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wukongctl.api.explained import explained
from wukongctl.api.frames import Frame, as_file
from wukongctl.config.report import ColumnsSpec, FormName
from wukongctl.decisions import Interval
from wukongctl.errors import UsageError
from wukongctl.laws.analysis import Report
from wukongctl.laws.analysis import build as build_report
from wukongctl.laws.columns import find
from wukongctl.laws.curves import Curve
from wukongctl.laws.forecast import Forecast, forecast
from wukongctl.laws.notes import explain
from wukongctl.laws.point_tables import read_table
from wukongctl.laws.table import PointTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Law:
    """A fitted scaling law, loss = E + A x^-c unless `form` says otherwise.

    `report` has all that `scale-report` knows: held-out sizes, rival forms, sensitivity, the plateau.
    """

    report: Report
    factor: float = 1.0
    """What 1 in the column of `x` is in the unit of `Point.x`."""

    @property
    def curve(self) -> Curve:
        """The analysis of the points."""
        return self.report.curves[0]

    @property
    def form(self) -> str:
        """`power`, `power0` (E = 0), `power-known-floor` or `loglin` (loss = p - q ln x)."""
        return self.curve.form.name

    @property
    def parameters(self) -> dict[str, float]:
        """Name → value; empty with fewer sizes than parameters."""
        return {} if self.curve.law is None else self.curve.law.parameters

    @property
    def intervals(self) -> dict[str, Interval]:
        """Name → interval of a parameter at the level of the report."""
        return self.curve.intervals

    @property
    def notes(self) -> dict[str, str]:
        """Limitations of the law, explained by code; empty if there are none."""
        return {code: explain(code, [self.curve.axis]) for code in self.curve.notes}

    @explained
    def predict(self, x: float) -> Forecast:
        """The loss of a new run at `x`: `loss`, `interval`, and `distance` beyond the fitted sizes.

        The form is the one that predicts held-out sizes best, see `Forecast.form`. The interval widens with
        the distance. Raises UsageError for an `x` that is not positive, or too few sizes.
        """
        if not 0 < x < math.inf:
            raise UsageError(f"there is no loss to predict at {x:g}", hint="`x` has to be positive")
        if self.curve.contest is None:
            raise UsageError(f"{len(self.curve.sizes)} sizes are too few to predict from", hint="add sizes")
        found = forecast(self.curve.contest, x * self.factor, level=self.report.level)
        return replace(found, x=x)

    def plot(self) -> "Figure":
        """Points, law and band as a figure of matplotlib."""
        from wukongctl.report.canvas import styled
        from wukongctl.report.plots import scaling_figure

        with styled():
            return scaling_figure(self.report, "wide")

    def _repr_svg_(self) -> str:
        """The plot, which a notebook shows."""
        from wukongctl.report.plots import scaling_svg

        return scaling_svg(self.report)

    def __repr__(self) -> str:
        found = ", ".join(
            f"{name} {value:.4g}{self._written(name)}" for name, value in self.parameters.items()
        )
        return f"Law({self.form}: {found or self.curve.status})"

    def _written(self, name: str) -> str:
        low, high = self.intervals.get(name, (math.nan, math.nan))
        return "" if math.isnan(low + high) else f" [{low:.4g}, {high:.4g}]"


@explained
def fit_law(
    frame: Frame,
    *,
    x: str | None = None,
    y: str | None = None,
    larger_is_better: bool | None = None,
    form: FormName | None = None,
    floor: float | None = None,
    level: float = 0.95,
) -> Law:
    """Fit a law to a table with a row per run.

    `x` is the column of compute, parameters, examples or any other positive number, `y` that of a loss, or of
    a metric of which larger values are better (known for AUC and the like); without them the columns are
    recognized by their names. Equal `x` are repetitions, whose spread is the noise. Rows whose `y` is NaN are
    listed, not fitted. `floor` is the loss that no model can go below, if it is known. Raises RecipeError
    with every cell that is wrong, UsageError for columns that are missing and for a table of several curves.
    """
    wanted = ColumnsSpec(x=x, y=y, larger_is_better=larger_is_better)
    with as_file(frame) as file:
        source = read_table(file, wanted)
        factor = find(PointTable.read(file), wanted).x.factor
    names = sorted({point.curve for point in source.points})
    if len(names) > 1:
        raise UsageError(f"the table has {len(names)} curves, {', '.join(names)}", hint="fit the rows of one")
    return Law(build_report(source, form=form, floor=floor, level=level), factor)
