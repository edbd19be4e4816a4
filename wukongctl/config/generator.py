"""The generator page of a dataset recipe: rows drawn from a planted teacher, nothing to download."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from wukongctl.config.spec import Mistake, NonNegativeFloat, PositiveInt, Spec

Order = Literal["order1", "order2", "order3", "order4", "order8"]
PLANTED: dict[str, dict[str, float]] = {
    "pair": {"order2": 3.0, "order4": 3.0, "order8": 2.0},
    "anova": {"order1": 1.5, "order2": 3.0, "order3": 3.0, "order4": 2.0},
}
"""Variance by order that each teacher plants on its own account."""


class Generator(Spec):
    """The embedded dataset: a planted teacher with known click probabilities, nothing to download."""

    rows: PositiveInt
    seed: int = 0
    teacher: Literal["pair", "anova"] = "pair"
    """`pair` multiplies pairs of fields into interactions of 4 and 8, as stacked factorization machines do;
    `anova` plants products of one number per field, as cross networks do."""
    fields: Annotated[int, Field(ge=4, le=64)] = 12
    """Independent categorical columns `c0`, `c1`, … with Zipf-distributed values."""
    min_values: Annotated[int, Field(ge=2)] = 4
    max_values: Annotated[int, Field(ge=2)] = 24
    """Vocabulary sizes are log-spaced between the two."""
    zipf: NonNegativeFloat = 1.0
    rank: Annotated[int, Field(ge=1, le=64)] = 4
    """Dimension of the hidden vectors of a field's values: the rank of the bilinear form behind a pair."""
    variance: dict[Order, NonNegativeFloat] | None = None
    """Variance of the planted logit by number of interacting fields. Absent: 3, 3 and 2 for 2, 4 and 8
    fields (`pair`), or 1.5, 3, 3 and 2 for 1 to 4 fields (`anova`)."""
    alpha: NonNegativeFloat | None = None
    """Inside an order the variance of the j-th term falls as j^-(1 + alpha). Absent: 0.3 (`pair`) or 0.5."""

    @property
    def planted(self) -> dict[str, float]:
        """Variance by order, the teacher's own where the recipe is silent."""
        return PLANTED[self.teacher] if self.variance is None else {**self.variance}

    @property
    def decay(self) -> float:
        """Alpha, the teacher's own where the recipe is silent."""
        return {"pair": 0.3, "anova": 0.5}[self.teacher] if self.alpha is None else self.alpha

    def _mistakes(self) -> Iterator[Mistake]:
        if self.max_values < self.min_values:
            what = "`max_values` must not be below `min_values`"
            yield Mistake(what, ("max_values",), others=(("min_values",),))
        if self.planted.get("order8") and self.fields < 8:
            what = "`variance.order8` needs at least 8 `fields`"
            yield Mistake(what, ("fields",), others=(("variance", "order8"),))
        known = ", ".join(f"`{order}`" for order in PLANTED[self.teacher])
        for order in self.variance or {}:
            if order not in PLANTED[self.teacher]:
                what = f"`variance.{order}` is none of teacher `{self.teacher}`: it has {known}"
                yield Mistake(what, ("variance", order), others=(("teacher",),))
