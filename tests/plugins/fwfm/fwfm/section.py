"""The keys of `model: {name: fwfm}`. Recipes are checked with this module alone: it imports no torch."""

from typing import Any, Literal

from wukongctl.config.dimensions import OneOf, Space
from wukongctl.config.model_section import FieldsSpec


class FwFMSpec(FieldsSpec):
    """FwFM (arXiv 1806.03514): an FM whose pairs have a learned weight each."""

    name: Literal["fwfm"]
    linear: bool = True
    """Add a linear model, one weight per feature value."""

    @classmethod
    def network(cls) -> type[Any]:
        """The network, imported only to count, build or train it."""
        from fwfm.network import FwFM

        return FwFM

    def search_space(self) -> Space:
        """What `tune` varies besides widths and rates."""
        return {"linear": OneOf((True, False))}

    @property
    def sums_over_width(self) -> bool:
        """Dot products grow with the width, which `scale_rates` has to know."""
        return True
