"""The x axis of a curve: training compute, dense parameters or training examples."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of an axis: its size in the unit of `Point.x`, and its name."""

    size: float
    name: str


@dataclass(frozen=True, slots=True)
class Axis:
    """The meaning of `Point.x`. `title` labels plots, `units` are in descending order."""

    name: Literal["compute", "parameters", "data"]
    title: str
    units: tuple[Unit, ...]

    def unit_for(self, x: float) -> Unit:
        """The largest unit not above `x`, else the smallest."""
        return next((unit for unit in self.units if x >= unit.size), self.units[-1])


_COUNTS = (Unit(1.0, "billions"), Unit(1e-3, "millions"), Unit(1e-6, "thousands"), Unit(1e-9, "single"))

COMPUTE = Axis(
    "compute",
    "training {unit} per example",
    (Unit(1e6, "PFLOP"), Unit(1e3, "TFLOP"), Unit(1.0, "GFLOP"), Unit(1e-3, "MFLOP"), Unit(1e-6, "kFLOP")),
)
"""x in GFLOP of training per example."""
PARAMETERS = Axis("parameters", "dense parameters ({unit})", _COUNTS)
"""x in 1e9 parameters."""
DATA = Axis("data", "training examples ({unit})", _COUNTS)
"""x in 1e9 examples."""
