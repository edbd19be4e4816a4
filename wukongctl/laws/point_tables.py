"""The points of a table: any loss against compute, parameters or data, one run per row."""

from dataclasses import dataclass
from pathlib import Path

from wukongctl.config.report import ColumnsSpec
from wukongctl.errors import UsageError
from wukongctl.laws.axis import DATA
from wukongctl.laws.columns import Count, PointColumns, find
from wukongctl.laws.measure import MEASURES, Measure, is_larger_better, loss_named, shortfall
from wukongctl.laws.points import Excluded, Point, PointSet, in_order
from wukongctl.laws.table import PointRow, PointTable

LARGEST_LOSS = 1e6
DIVERGED_CELLS = ("diverged", "nan", "inf", "+inf")
EVERY_COLUMN = ColumnsSpec()


def read_table(path: Path, wanted: ColumnsSpec = EVERY_COLUMN) -> PointSet:
    """Read a table of points: separated values with a header, JSON lines or Parquet, one run per row.

    Columns are named by `wanted`, or recognized: `model, gflop_per_example` and a loss such as `logloss`,
    `relative_logloss` (percent) or `excess_logloss` (over the Bayes optimum); any other loss or metric
    against compute, parameters, examples or tokens. Optional: `seed`, `examples`, `dense_params`, `passes`
    (epochs), `group` (curves of different groups are not compared); other columns are ignored. Runs with a
    loss of `diverged`, `nan` or `inf`, or with a reason in `excluded`, are listed but not fitted. Raises
    `RecipeError` with the position of every invalid cell, `UsageError` for columns that are not found.
    """
    table = PointTable.read(path)
    reader = _Reader(table, columns := find(table, wanted), measure := _measure(table, columns, wanted))
    points: list[Point] = []
    excluded: list[Excluded] = []
    seen: dict[tuple[object, ...], PointRow] = {}
    for row in table.rows:
        entry = reader.entry(row)
        if isinstance(entry, Excluded):
            excluded.append(entry)
        elif entry is not None:
            first = seen.setdefault(entry.identity, row)
            if first is not row:
                where = f"line {first.line}" if first.line else f"row {first.number}"
                hint = "give each run its own `seed`"
                table.add_problem(row, columns.curve or columns.x.column, f"the same run as {where}", hint)
            points.append(entry)
    table.raise_problems()
    if not points:
        raise UsageError(f"no finished run in `{path}`", hint="add a row per run")
    return PointSet(
        in_order(points),
        measure.name,
        floor=0.0 if measure.name == "excess_logloss" else None,
        excluded=tuple(excluded),
        axis=columns.x.axis,
        data=columns.facts["examples"].axis if "examples" in columns.facts else DATA,
        shortfall=measure if measure.column else None,
        remarks=_remarks(columns, measure),
    )


def _remarks(columns: PointColumns, measure: Measure) -> tuple[str, ...]:
    """How the table was understood, unless its columns are those of points.csv."""
    if columns.x.column == "gflop_per_example" and measure.name in MEASURES:
        return ()
    inverted = (
        f" The loss is {measure.title}: {measure.direction}." if measure.column else " Smaller is better."
    )
    return (columns.summary + inverted,)


def _measure(table: PointTable, columns: PointColumns, wanted: ColumnsSpec) -> Measure:
    larger = wanted.larger_is_better
    if not (is_larger_better(columns.loss) if larger is None else larger):
        return loss_named(columns.loss)
    if wanted.best is not None:
        return shortfall(columns.loss, wanted.best)
    values = [_float(row.cells.get(columns.loss, "")) for row in table.rows]
    return shortfall(columns.loss, 100.0 if max(values, default=0.0) > 1 else 1.0)


def _float(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return 0.0


@dataclass(frozen=True)
class _Reader:
    """Rows of a table to points; problems are recorded in the table."""

    table: PointTable
    columns: PointColumns
    measure: Measure

    def entry(self, row: PointRow) -> Point | Excluded | None:
        """The run of one row, or None after recording its problems."""
        table, columns = self.table, self.columns
        before = len(table.problems)
        curve = self._curve(row)
        x = self._x(row)
        facts = {name: self._fact(row, name, count) for name, count in columns.facts.items()}
        diverged = row.cells.get(columns.loss, "").lower() in DIVERGED_CELLS
        loss = None if diverged else self._loss(row)
        if len(table.problems) > before or x is None:
            return None
        seed, where = facts.get("seed"), f"line {row.line}" if row.line else f"row {row.number}"
        seed = None if seed is None else int(seed)
        if diverged or loss is None:
            return Excluded(curve, x, "diverged", seed, where)
        if reason := self._text(row, "excluded"):
            return Excluded(curve, x, reason, seed, where, loss)
        examples, dense = (
            None if (n := facts.get(k)) is None else int(n) for k in ("examples", "dense_params")
        )
        group = self._text(row, "group") or None
        return Point(curve, x, loss, seed, examples, dense, facts.get("passes"), group=group)

    def _curve(self, row: PointRow) -> str:
        name = self.columns.curve
        if name is None:
            return self.table.path.stem
        curve = " ".join(row.cells.get(name, "").split())  # a line break would break every table
        if not curve:
            self.table.add_problem(row, name, f"`{name}` is empty")
        return curve

    def _text(self, row: PointRow, fact: str) -> str:
        count = self.columns.facts.get(fact)
        return "" if count is None else row.cells.get(count.column, "")

    def _x(self, row: PointRow) -> float | None:
        name, axis = self.columns.x.column, self.columns.x.axis
        value = self.table.number(row, name, float)
        if value is None:
            return None
        x, (low, high) = value * self.columns.x.factor, axis.limits
        if value <= 0:
            self.table.add_problem(row, name, f"`{value:g}` is not positive")
        elif not low <= x <= high:
            unit = " GFLOP" if name == "gflop_per_example" else ""
            self.table.add_problem(row, name, f"`{value:g}`{unit} is out of range")
        return x

    def _fact(self, row: PointRow, name: str, count: Count) -> float | None:
        """A number that has to be positive, but for the seed; None for texts and empty cells."""
        if name in ("excluded", "group"):
            return None
        if name == "seed":
            return self.table.number(row, count.column, int, optional=True)
        value = self.table.number(row, count.column, float, optional=True)
        if value is None or (name == "passes" and value > 0):
            return value
        if round(value * count.factor) <= 0:
            self.table.add_problem(row, count.column, f"`{value:g}` is not positive")
        return round(value * count.factor)

    def _loss(self, row: PointRow) -> float | None:
        """The loss of a row; of a metric where larger is better, its distance from the best value."""
        name, measure = self.columns.loss, self.measure
        value = self.table.number(row, name, float)
        if value is None:
            return None
        if measure.best is not None:
            if value > measure.best:
                hint = "set `columns.best` to the best possible value"
                self.table.add_problem(row, name, f"`{value:g}` is better than {measure.best:g}", hint)
            return measure.best - value
        if abs(value) > LARGEST_LOSS:
            self.table.add_problem(
                row, name, f"`{value:g}` is out of range", "write `diverged` if the run did"
            )
        if value < 0 and measure.name == "logloss":
            hint = "name the column `relative_logloss` if it is one"
            self.table.add_problem(row, name, f"`{value:g}` is negative", hint)
        elif value < 0 and measure.name not in MEASURES:
            hint = "if larger values are better, add `--larger-is-better`"
            self.table.add_problem(row, name, f"`{value:g}` is negative", hint)
        return value
