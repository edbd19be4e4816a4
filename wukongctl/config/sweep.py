"""The sweep file: base recipes × sizes × shares of the data × seeds, and what is tried for each size."""

import itertools
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, SerializerFunctionWrapHandler, ValidationInfo, field_validator, model_serializer

from wukongctl.config.dataset import Identifier
from wukongctl.config.spec import Mistake, PositiveFraction, Spec
from wukongctl.config.training import WatchedMetric

Setting = dict[str, Any]
"""Dotted recipe keys → values, as in `train --set`."""
Seed = Annotated[int, Field(ge=0, lt=2**63)]


ScaleRule: TypeAlias = Literal["mup", "sqrt", "same"]
"""How rates follow the size of a model: `training.transfer.RULES`."""


class Search(Spec):
    """Hyperparameter search for every size. Chosen on the validation split only."""

    grid: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(default={})
    """Dotted recipe key → values; every combination is tried."""
    settings: tuple[Setting, ...] = ()
    """Settings to try, instead of a grid."""
    metric: WatchedMetric | None = None
    """Validation metric to choose by; the recipe's `early_stopping.metric` when omitted."""
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
    """A base recipe and its sizes: one curve of a scaling report."""

    recipe: str
    """A shipped recipe, or a file, searched beside the sweep file first."""
    name: Identifier | None = None
    """Name of the curve and prefix of its runs; the model's name when omitted."""
    set: Setting = Field(default={})
    """Recipe keys to set for all sizes, after those of the sweep."""
    sizes: Annotated[tuple[Setting, ...], Field(min_length=1)] = ({},)
    """Recipe keys to set per size, smallest first."""
    search: Search | None = None
    """Search of this ladder, instead of the sweep's."""


class SweepSpec(Spec):
    """Many runs from one file: ladders × sizes × fractions of the data × seeds."""

    name: Identifier
    """Name of the results folder."""
    ladders: Annotated[tuple[Ladder, ...], Field(min_length=1)]
    set: Setting = Field(default={})
    """Recipe keys to set for all ladders."""
    fractions: Annotated[tuple[PositiveFraction, ...], Field(min_length=1)] = (1.0,)
    """Fractions of the training examples to use (sets `max_examples`), for data scaling."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    """Seeds of the final runs of each size, with the chosen settings."""
    search: Search | None = None
    """Search over hyperparameters; none when omitted."""
    scale_rates: ScaleRule | None = None
    """Search only the first, smallest size of each ladder, and transfer its setting to the others. `mup` and
    `sqrt` scale learning rates and initial weights with the widths (maximal update parametrization, and the
    square root of its factors); `same` transfers them unchanged. Omitted: search every size."""

    def _mistakes(self) -> Iterator[Mistake]:
        for number, ladder in enumerate(self.ladders if self.scale_rates else ()):
            for index, size in enumerate(ladder.sizes):
                for key in (key for key in size if _is_rate(key)):
                    what = f"a size sets `{key}`, which `scale_rates` decides"
                    hint = "set it for all sizes in the recipe or `set`, or leave `scale_rates` out"
                    yield Mistake(what, ("ladders", number, "sizes", index, key), hint)

    @model_serializer(mode="wrap")
    def _without_absent_rule(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Sweeps without `scale_rates` keep the digests they had before there was this key."""
        content = serialize(self)
        if self.scale_rates is None:
            del content["scale_rates"]
        return content

    @field_validator("seeds", "fractions")
    @classmethod
    def _each_once(cls, value: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"`{info.field_name}` lists a value twice")
        return value


def _is_rate(key: str) -> bool:
    return key.startswith("optimizer") or key in ("model.embedding_init", "model.logit_scale")
