"""`tune --space KEY=LOW..HIGH` and `--space KEY=[A, B, C]`: what a user wants searched."""

from dataclasses import dataclass
from typing import Any

from wukongctl.config.dimensions import Dimension, OneOf, RealRange, Steps
from wukongctl.config.positions import parse_scalar
from wukongctl.errors import UsageError

LOG_FROM = 10
"""A range whose ends differ by this factor is searched on a logarithmic scale."""
MOST_STEPS = 1000
HINT = "write `KEY=LOW..HIGH` or `KEY=[A, B, C]`"


@dataclass(frozen=True)
class SpaceOption:
    """One `--space`: the key, and the ends of a range (`is_range`) or the values to choose from."""

    text: str
    key: str
    values: tuple[Any, ...]
    is_range: bool

    @classmethod
    def parse(cls, text: str) -> "SpaceOption":
        """Raises UsageError for what is neither a range nor a list."""
        key, equals, value = text.partition("=")
        low, dots, high = value.partition("..")
        ends = (parse_scalar(low), parse_scalar(high)) if dots else ()
        if equals and key and ends:
            return cls._range(text, key, ends)
        listed = parse_scalar(value)
        if not (equals and key and isinstance(listed, list) and listed):
            raise UsageError(f"`--space {text}` is neither a range nor a list of values", hint=HINT)
        return cls(text, key, tuple(listed), is_range=False)

    @classmethod
    def _range(cls, text: str, key: str, ends: tuple[Any, Any]) -> "SpaceOption":
        if not all(map(_is_number, ends)) or not ends[0] < ends[1]:
            raise UsageError(f"`--space {text}`: the start of a range must be less than its end", hint=HINT)
        return cls(text, key, ends, is_range=True)

    def dimension(self, own: Any) -> Dimension:
        """What to search; a range between whole numbers is one of whole numbers, unless `own` is none."""
        if not self.is_range:
            if all(_is_number(value) for value in self.values):
                return Steps(tuple(sorted(self.values)))
            ordered = all(isinstance(value, list) for value in self.values)
            return Steps(self.values) if ordered else OneOf(self.values)
        low, high = self.values
        if isinstance(low, int) and isinstance(high, int) and not isinstance(own, float):
            if high - low >= MOST_STEPS:
                raise UsageError(
                    f"`--space {self.text}` is a range of {high - low + 1:,} integers",
                    hint="list those worth trying: `KEY=[A, B, C]`",
                )
            return Steps(tuple(range(low, high + 1)))
        return RealRange(float(low), float(high), log=low > 0 and high / low >= LOG_FROM)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
