"""What a search may give one recipe key: kinds of ranges, and how a value is drawn from each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

SpacePoint = dict[str, float | int]
"""Parameter → value, as the sampler knows them; a dimension has one or two parameters."""


class Draw(Protocol):
    """Where parameters come from: a sampler, or a point that is known already."""

    def real(self, name: str, low: float, high: float, *, log: bool) -> float:
        """A real number from `low` to `high`."""
        ...

    def whole(self, name: str, low: int, high: int) -> int:
        """A whole number from `low` to `high`, near ones being alike."""
        ...

    def one_of(self, name: str, count: int) -> int:
        """The number of one of `count` things that have no order."""
        ...


@dataclass(frozen=True)
class RealRange:
    """A real number. `natural_low`, `natural_high`: nothing lies beyond that end, as below a dropout of 0."""

    low: float
    high: float
    log: bool = True
    natural_low: bool = False
    natural_high: bool = False

    def including(self, own: Any) -> "RealRange":
        """The range, reaching as far as a recipe's own value; 0 has no place on a logarithmic scale."""
        if not isinstance(own, int | float) or (self.log and own <= 0):
            return self
        return replace(self, low=min(self.low, own), high=max(self.high, own))

    def draw(self, key: str, draw: Draw) -> float:
        """Three digits, so that a recipe can be read."""
        drawn = draw.real(key, self.low, self.high, log=self.log)
        return float(min(max(float(f"{drawn:.3g}"), self.low), self.high))

    def nearest(self, key: str, own: Any) -> SpacePoint:
        """The parameter that comes closest to a recipe's own value; the middle where it has none."""
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        value = float(own) if isinstance(own, int | float) else middle
        return {key: min(max(value, self.low), self.high)}

    def at_edge(self, value: Any) -> bool:
        """Whether a value lies in the outer twentieth, where values beyond might be better."""
        if not isinstance(value, int | float):
            return False
        low, high, at = (math.log(x) if self.log else x for x in (self.low, self.high, max(value, self.low)))
        share = (at - low) / (high - low) if high > low else 0.5
        return (share > 0.95 and not self.natural_high) or (share < 0.05 and not self.natural_low)

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}{' (log)' * self.log}"


@dataclass(frozen=True)
class Steps:
    """Values in order, the ends of which can be passed: sizes, depths. `natural_low` as for a range."""

    values: tuple[Any, ...]
    natural_low: bool = False

    def including(self, own: Any) -> "Steps":
        """The steps with a recipe's own value in its place."""
        if own is None or own in self.values:
            return self
        return replace(self, values=tuple(sorted((*self.values, own))))

    def draw(self, key: str, draw: Draw) -> Any:
        """One of the values."""
        return self.values[draw.whole(key, 0, len(self.values) - 1)]

    def nearest(self, key: str, own: Any) -> SpacePoint:
        """The place of a recipe's own value or of the one nearest to it; the middle where none is near."""
        if own in self.values or not isinstance(own, int | float):
            return {key: self.values.index(own) if own in self.values else len(self.values) // 2}
        return {key: min(range(len(self.values)), key=lambda place: abs(self.values[place] - own))}

    def at_edge(self, value: Any) -> bool:
        """Whether a value is the first or last of three or more."""
        ends = self.values[-1:] if self.natural_low else (self.values[0], self.values[-1])
        return len(self.values) >= 3 and value in ends

    def __str__(self) -> str:
        return ", ".join(map(written, self.values))


@dataclass(frozen=True)
class OneOf:
    """Values without an order."""

    values: tuple[Any, ...]

    def including(self, own: Any) -> "OneOf":
        """The options with a recipe's own value among them."""
        return self if own in self.values else replace(self, values=(*self.values, own))

    def draw(self, key: str, draw: Draw) -> Any:
        """One of the values."""
        return self.values[draw.one_of(key, len(self.values))]

    def nearest(self, key: str, own: Any) -> SpacePoint:
        """The place of a recipe's own value, the first where it is not among them."""
        return {key: self.values.index(own) if own in self.values else 0}

    def at_edge(self, value: Any) -> bool:  # noqa: ARG002
        """They have none."""
        return False

    def __str__(self) -> str:
        return " or ".join(map(written, self.values))


@dataclass(frozen=True)
class Stack:
    """Hidden layers, all of one width."""

    widths: Steps
    depths: Steps

    def including(self, own: Any) -> "Stack":
        """The width and depth of a recipe's own layers too; of layers that differ, the first width."""
        if not isinstance(own, Sequence) or isinstance(own, str):
            return self
        widths = self.widths.including(own[0]) if own else self.widths
        return Stack(widths, self.depths.including(len(own)))

    def draw(self, key: str, draw: Draw) -> list[int]:
        """As many layers as drawn, of the width that is drawn."""
        return [self.widths.draw(f"{key} width", draw)] * self.depths.draw(f"{key} depth", draw)

    def nearest(self, key: str, own: Any) -> SpacePoint:
        """Width and depth of a recipe's own layers."""
        layers = list(own or ())
        width = self.widths.nearest(f"{key} width", layers[0] if layers else None)
        return width | self.depths.nearest(f"{key} depth", len(layers))

    def at_edge(self, value: Any) -> bool:
        """Whether width or depth are."""
        layers = list(value)
        return self.depths.at_edge(len(layers)) or (bool(layers) and self.widths.at_edge(layers[0]))

    def __str__(self) -> str:
        return f"{self.depths} layers of {self.widths}"


Dimension: TypeAlias = RealRange | Steps | OneOf | Stack
Space: TypeAlias = dict[str, Dimension]
"""Dotted recipe key → what a search may give it."""

# The ranges that the search spaces of several models share.
DROPOUT = RealRange(0.0, 0.5, log=False, natural_low=True)
LAYERS = Steps((1, 2, 3, 4), natural_low=True)
WIDTHS = Steps((64, 128, 256, 512))
DEPTHS = Steps((1, 2, 3))
HIDDEN = Stack(WIDTHS, DEPTHS)


def written(value: Any) -> str:
    """A value as a recipe has it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case list() | tuple():
            return f"[{', '.join(map(written, value))}]"
        case _:
            return str(value)
