"""The sweep file: base recipes × sizes × shares of the data × seeds, and what is tried for each size."""

import itertools
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from wukongctl.config.dataset import Identifier
from wukongctl.config.spec import Mistake, Spec

Setting = dict[str, Any]
"""Dotted recipe keys → values, as in `train --set`."""
Share = Annotated[float, Field(gt=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Search(Spec):
    """What is tried for every size, to keep the best. The choice looks at the validation split alone."""

    grid: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(default={})
    """Dotted recipe key → values; every combination is tried."""
    settings: tuple[Setting, ...] = ()
    """The settings to try, one by one, instead of a grid."""
    metric: Literal["auc", "logloss"] | None = None
    """Validation metric that decides; absent: the `early_stopping.metric` of the recipe."""
    seed: Seed = 0
    """Seed of every trial."""

    def _mistakes(self) -> Iterator[Mistake]:
        if bool(self.grid) == bool(self.settings):
            yield Mistake("`search` needs either `grid` or `settings`", (), others=(("settings",),))

    @property
    def trials(self) -> tuple[Setting, ...]:
        """The settings to try, in the order of the file."""
        if self.settings:
            return self.settings
        return tuple(
            dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())
        )


class Ladder(Spec):
    """One base recipe and its sizes: a curve of a scaling report."""

    recipe: str
    """Name of a shipped recipe, or a file, looked for beside the sweep file first."""
    name: Identifier | None = None
    """Label of the curve, first part of run names; the model's name when absent."""
    set: Setting = Field(default={})
    """Recipe keys changed for all sizes, after those of the sweep."""
    sizes: Annotated[tuple[Setting, ...], Field(min_length=1)] = ({},)
    """Recipe keys changed for each size, smallest first."""
    search: Search | None = None
    """Instead of the search of the sweep."""


class SweepSpec(Spec):
    """Many runs from one file: every ladder, size, share of the data and seed."""

    name: Identifier
    """Names the folder of results."""
    ladders: Annotated[tuple[Ladder, ...], Field(min_length=1)]
    set: Setting = Field(default={})
    """Recipe keys changed for all ladders."""
    fractions: Annotated[tuple[Share, ...], Field(min_length=1)] = (1.0,)
    """Shares of the examples that a recipe would train on (key `max_examples`), for data scaling."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    """One run per size and seed, with the settings that the search chose."""
    search: Search | None = None
    """Absent: the settings of the recipes are taken as they are."""

    @field_validator("seeds", "fractions")
    @classmethod
    def _each_once(cls, value: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"`{info.field_name}` names a value twice")
        return value
