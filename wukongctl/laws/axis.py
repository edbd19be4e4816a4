"""The x axis of a curve: compute, parameters, data, or any column of a table."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of an axis: its size in the unit of `Point.x`, and its name.

    `after` follows a value where that differs from the name: `2 billion parameters`, on an axis in billions.
    """

    size: float
    name: str
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Axis:
    """The meaning of `Point.x`.

    `key` names it in points.csv and report.json, where x has the unit of `Point.x`; `title` labels plots;
    `units` are in descending order. `largest` is the end at which laws are tested, `place` what runs at one x
    share.
    """

    name: str
    key: str
    title: str
    units: tuple[Unit, ...]
    per: str = ""
    """What follows a value in full, such as ` per example`."""
    largest: str = "largest size"
    place: str = "size"
    limits: tuple[float, float] = (1e-15, 1e30)
    """Values outside would overflow in a fit."""

    @property
    def places(self) -> str:
        """`place` in the plural."""
        head, space, rest = self.place.partition(" ")
        return f"{head}s{space}{rest}"

    @property
    def end(self) -> str:
        """The end with its article: `its largest size`, `the most data`."""
        return f"{'the' if self.largest.startswith('most') else 'its'} {self.largest}"

    def unit_for(self, x: float) -> Unit:
        """The largest unit not above `x`, else the smallest."""
        return next((unit for unit in self.units if x >= unit.size), self.units[-1])

    @property
    def base(self) -> str:
        """The unit of `Point.x` in words, such as `GFLOP per example`."""
        unit = next(unit for unit in self.units if unit.size == 1)
        return (unit.name if unit.after is None else unit.after) + self.per

    @property
    def unit_name(self) -> str:
        """The unit of `Point.x` behind a value, such as `GFLOP` or `parameters`."""
        return self.base.removesuffix(self.per)

    def titled(self, unit: Unit) -> str:
        """The title with a unit, such as `training examples (millions)`."""
        return self.title.replace("{unit}", unit.name).removesuffix(" ()")


_PREFIXES = (
    (1e24, "Y"),
    (1e21, "Z"),
    (1e18, "E"),
    (1e15, "P"),
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
)
_COUNTS = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"), (1e3, "thousand"))


def _counts(of: str) -> tuple[Unit, ...]:
    return (*(Unit(size, f"{name}s", f"{name} {of}") for size, name in _COUNTS), Unit(1.0, "", of))


COMPUTE = Axis(
    "compute",
    "gflop_per_example",
    "training {unit} per example",
    tuple(Unit(size / 1e9, f"{prefix}FLOP") for size, prefix in _PREFIXES[3:]),
    per=" per example",
    limits=(1e-15, 1e15),
)
"""x in GFLOP of training per example."""
TRAINING = Axis(
    "training compute",
    "training_flop",
    "training compute ({unit})",
    tuple(
        Unit(size, f"{prefix}FLOP", f"{prefix}FLOP of training") for size, prefix in (*_PREFIXES, (1.0, ""))
    ),
    largest="most compute",
    place="amount of compute",
)
"""x in FLOP of the whole training."""
PARAMETERS = Axis("parameters", "params", "parameters ({unit})", _counts("parameters"))
DENSE_PARAMETERS = Axis(
    "parameters", "dense_params", "dense parameters ({unit})", _counts("dense parameters")
)
DATA, TOKENS = (
    Axis("data", key, f"training {of} ({{unit}})", _counts(of), largest="most data", place="amount of data")
    for key, of in (("training_examples", "examples"), ("tokens", "tokens"))
)
AXES = (COMPUTE, TRAINING, PARAMETERS, DENSE_PARAMETERS, DATA, TOKENS)


def of_key(key: str) -> Axis:
    """The axis with this `key`, or that of any other column of this name."""
    other = Axis(key, key, key, (Unit(1.0, key),), largest=f"largest {key}", place=f"value of {key}")
    return next((axis for axis in AXES if axis.key == key), other)


def axis_of(unit: Unit) -> Axis | None:
    """The axis that has `unit`; None for other columns."""
    return next((axis for axis in AXES if unit in axis.units), None)
