"""Which column of a table is what: named in the settings, or recognized by its name."""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wukongctl.config.report import ColumnsSpec
from wukongctl.config.suggestions import did_you_mean
from wukongctl.errors import UsageError
from wukongctl.laws.axis import COMPUTE, DATA, PARAMETERS, TOKENS, TRAINING, Axis, of_key
from wukongctl.laws.measure import INVERTED, MEASURES, is_larger_better
from wukongctl.laws.table import PointTable

AXES: dict[str, Axis] = {
    "compute": COMPUTE, "training": TRAINING, "parameters": PARAMETERS, "data": DATA, "tokens": TOKENS,
}  # fmt: skip
CURVES = ("model", "curve", "architecture", "arch", "method", "family", "series")
PARAMS = (
    "params", "parameters", "n_params", "num_params", "n_parameters", "num_parameters", "model_size",
    "model_params", "non_embedding_params", "dense_params", "N",
)  # fmt: skip
TOKEN_COUNTS = ("tokens", "n_tokens", "num_tokens", "training_tokens", "train_tokens")
EXAMPLES = (
    "examples", "n_examples", "num_examples", "training_examples", "samples", "n_samples", "num_samples",
    "impressions", "dataset_size", "data_size", *TOKEN_COUNTS, "D",
)  # fmt: skip
TOTALS = ("flops", "flop", "training_flops", "training_flop", "train_flops", "total_flops", "compute", "C")
LOSSES = (
    *MEASURES, "log_loss", "loss", "test_loss", "valid_loss", "val_loss", "validation_loss", "eval_loss",
    "cross_entropy", "xent", "ce", "bce", "nll", "error_rate", "error", "err", "test_error", "val_error",
    "normalized_entropy", "ne", "bits_per_byte", "bpb", "perplexity", "ppl", "mse", "rmse", "mae", "L",
)  # fmt: skip
OTHERS = ("seed", "examples", "dense_params", "passes", "excluded", "group")
"""Optional columns besides; those of a count have the aliases above."""

FACTORS = {"k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12, "p": 1e15, "e": 1e18, "z": 1e21}
FLOP_PER_EXAMPLE = re.compile(r"([kmgtp]?)flops?_per_(?:example|sample|row)")
FLOP = re.compile(r"(?:training_|train_|total_)?([kmgtpez])flops?")
SCALED = re.compile(r"(.+?)_(k|m|b|t|thousands?|millions?|billions?|trillions?)")
PF_DAYS = ("pf_days", "pfdays", "petaflop_days", "pf_day")
FLOP_PER_PF_DAY = 1e15 * 86400
CLOSE, CLOSE_OPTIONAL = 0.75, 0.85
"""How alike a column and a missing one have to be to be a typo."""


@dataclass(frozen=True, slots=True)
class Count:
    """A column of numbers, one of which is `factor` in the unit of its axis."""

    column: str
    axis: Axis
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class PointColumns:
    """The columns of x and the loss, and those of the other facts by the name of the fact."""

    x: Count
    loss: str
    curve: str | None
    facts: dict[str, Count]

    @property
    def summary(self) -> str:
        """How the columns were understood, in one sentence."""
        used = [f"x is `{self.x.column}` ({self.x.axis.name})", f"the loss is `{self.loss}`"]
        used += [f"curves are named by `{self.curve}`"] if self.curve else ["all points are one curve"]
        used += [f"data is `{self.facts['examples'].column}`"] if "examples" in self.facts else []
        return f"Columns of the table: {', '.join(used)}."


def find(table: PointTable, wanted: ColumnsSpec) -> PointColumns:
    """The columns of a table.

    Raises `RecipeError` for columns that occur twice or look like typos, `UsageError` when x or the loss is
    not found.
    """
    _require_present(table, wanted)
    _check_twice(table, wanted)
    facts = {name: _count(column) for name, column in _facts(table, wanted)}
    loss = wanted.y or _first(table, LOSSES) or next(filter(_is_loss, table.header), None)
    curve = wanted.curve or _curve(table)
    x = _as_told(_count(wanted.x) if wanted.x else _x(table, facts), wanted)
    used = {loss, curve, None if x is None else x.column, *(fact.column for fact in facts.values())}
    _check_typos(table, used, missing_x=x is None, missing_loss=loss is None, missing_curve=curve is None)
    if x is None:
        raise _missing(table, "x", "compute, parameters, examples or tokens")
    if loss is None:
        raise _missing(table, "y", "the loss")
    if x.column == loss:
        raise UsageError(f"`{loss}` is both x and the loss", hint="name another column with `--x` or `--y`")
    facts = {name: fact for name, fact in facts.items() if fact.column != x.column}
    return PointColumns(x, loss, curve, facts)


# --- by name --------------------------------------------------------------------------------------------


def _normal(name: str) -> str:
    """A name as in the lists above; single capitals, such as `N`, keep their case."""
    return name if len(name) == 1 else re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _first(table: PointTable, names: Sequence[str]) -> str | None:
    """The column with the first of these names that there is."""
    present = {_normal(column): column for column in reversed(table.header)}
    return next((present[name] for name in names if name in present), None)


def counted(column: str) -> Count | None:
    """The axis and unit of a column by its name; None for other names."""
    name = _normal(column)
    if found := FLOP_PER_EXAMPLE.fullmatch(name):
        return Count(column, COMPUTE, FACTORS.get(found[1], 1.0) / 1e9)
    if name in PF_DAYS:
        return Count(column, TRAINING, FLOP_PER_PF_DAY)
    if name in TOTALS:
        return Count(column, TRAINING)
    if found := FLOP.fullmatch(name):
        return Count(column, TRAINING, FACTORS[found[1]])
    scaled = SCALED.fullmatch(name)
    for stem, factor in ((name, 1.0), *([(scaled[1], FACTORS[scaled[2][0]])] if scaled else [])):
        if stem in PARAMS:
            return Count(column, PARAMETERS, factor)
        if stem in EXAMPLES:
            return Count(column, TOKENS if stem in TOKEN_COUNTS else DATA, factor)
    return None


def _count(column: str) -> Count:
    return counted(column) or Count(column, of_key(column))


def _as_told(x: Count | None, wanted: ColumnsSpec) -> Count | None:
    """The column of x with the axis and unit of the settings, where these name them."""
    if x is None or (wanted.axis is None and wanted.unit is None):
        return x
    axis = AXES[wanted.axis] if wanted.axis else x.axis
    base = 1e-9 if axis is COMPUTE else 1.0
    if wanted.unit is None:
        return Count(x.column, axis, x.factor if axis is x.axis else base)
    return Count(x.column, axis, wanted.unit * base)


def _facts(table: PointTable, wanted: ColumnsSpec) -> Iterator[tuple[str, str]]:
    """Name and column of every optional fact in the table."""
    for name in OTHERS:
        known = {"examples": (EXAMPLES, (DATA, TOKENS)), "dense_params": (PARAMS, (PARAMETERS,))}
        column = getattr(wanted, name) or _of_axis(table, *known.get(name, ((name,), ())))
        if column is not None:
            yield name, column


def _of_axis(table: PointTable, names: Sequence[str], axes: tuple[Axis, ...]) -> str | None:
    """The column with the first of these names, else the first that counts the same in another unit."""
    scaled = (column for column in table.header if (found := counted(column)) and found.axis in axes)
    return _first(table, names) or next(scaled, None)


def _curve(table: PointTable) -> str | None:
    """The column that names curves; one with a name per row only if it is `model`."""
    for name in CURVES:
        column = _first(table, (name,))
        if column and (
            name == "model" or len({row.cells.get(column) for row in table.rows}) < len(table.rows)
        ):
            return column
    return None


def _x(table: PointTable, facts: dict[str, Count]) -> Count | None:
    """FLOP per example; else parameters if data is known, too; else training compute, parameters, data."""
    found = [count for column in _filled(table) if (count := counted(column))]
    both = all(name in facts and facts[name] in found for name in ("examples", "dense_params"))
    known = facts.get("dense_params")
    for axis in (COMPUTE, *((PARAMETERS,) if both else ()), TRAINING, PARAMETERS, DATA, TOKENS):
        if count := next((count for count in found if count.axis is axis), None):
            return known if axis is PARAMETERS and known in found else count
    return None


def _filled(table: PointTable) -> list[str]:
    """The columns that some row has a value for; all in a table without rows."""
    return [name for name in table.header if not table.rows or any(row.cells.get(name) for row in table.rows)]


def _is_loss(column: str) -> bool:
    return is_larger_better(_normal(column)) or INVERTED.fullmatch(column) is not None


# --- mistakes -------------------------------------------------------------------------------------------


def _require_present(table: PointTable, wanted: ColumnsSpec) -> None:
    for key in ("x", "y", "curve", *OTHERS):
        column = getattr(wanted, key)
        if column is not None and column not in table.header:
            listed = f"its columns are {_listed(table.header)}"
            raise UsageError(
                f"there is no column `{column}` in `{table.path}`",
                hint=did_you_mean(column, table.header) or listed,
            )


def _check_twice(table: PointTable, wanted: ColumnsSpec) -> None:
    for name in dict.fromkeys(table.header):
        if name and table.header.count(name) > 1:
            table.add_problem(table.header_row, name, f"column `{name}` occurs twice")
    losses = [name for name in MEASURES if name in table.header]
    if len(losses) > 1 and wanted.y is None:
        message = f"`{losses[0]}` and `{losses[1]}` are mutually exclusive"
        table.add_problem(table.header_row, losses[1], message, "name one with `--y`")


def _check_typos(
    table: PointTable, used: set[str | None], *, missing_x: bool, missing_loss: bool, missing_curve: bool
) -> None:
    """Raise `RecipeError` for unused columns whose names are almost those of missing ones."""
    missing: dict[str, float] = dict.fromkeys((name for name in OTHERS if name not in used), CLOSE_OPTIONAL)
    missing |= dict.fromkeys(("gflop_per_example", "params", "flops", "tokens") if missing_x else (), CLOSE)
    missing |= dict.fromkeys((*MEASURES, "loss", "error_rate") if missing_loss else (), CLOSE)
    missing |= dict.fromkeys(("model",) if missing_curve else (), CLOSE)
    for column in table.header:
        if column in used:
            continue
        for name in difflib.get_close_matches(_normal(column), missing, n=1, cutoff=CLOSE):
            if difflib.SequenceMatcher(None, name, _normal(column)).ratio() >= missing[name]:
                message = f"unknown column `{column}`, did you mean `{name}`?"
                table.add_problem(table.header_row, column, message)
                del missing[name]
    table.raise_problems()


def _missing(table: PointTable, option: str, what: str) -> UsageError:
    return UsageError(
        f"no column of `{table.path}` is known to be {what}; its columns are {_listed(table.header)}",
        hint=f"name it with `--{option} COLUMN`",
    )


def _listed(names: Sequence[str]) -> str:
    shown = [f"`{name}`" for name in names[:12]]
    return ", ".join(shown) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
