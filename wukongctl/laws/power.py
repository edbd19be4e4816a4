"""Power laws: y = E + A x^-c with the floor E free, at zero loss, or known."""

import numpy as np

from wukongctl.config.report import FormName
from wukongctl.laws.form import Array, Floor, Form, geometric_mean

GRID_SIZE = 240
LARGEST_EXPONENT = 3.0


class PowerLaw(Form):
    """A power law with one kind of floor."""

    def __init__(self, name: FormName, equation: str, floor: Floor) -> None:
        self.name, self.equation, self.floor = name, equation, floor
        # With a free floor, laws with c below 1e-3 are straight lines in ln x and E is not identified.
        self.exponents = np.geomspace(1e-3 if floor == "free" else 1e-6, LARGEST_EXPONENT, GRID_SIZE)

    def basis(self, x: Array, c: float | Array) -> Array:
        """x^-c."""
        return x**-c

    def basis_at_log(self, log_x: Array, c: float | Array) -> Array:
        """x^-c."""
        return np.exp(-c * log_x)

    def decay(self, x: Array, c: float | Array) -> Array:  # noqa: ARG002 the same for every c
        """ln x."""
        return np.log(x)

    def center(self, x: Array) -> float:
        """The geometric mean."""
        return geometric_mean(x)

    def scale(self, c: float | Array, center: float) -> float | Array:
        """center^c."""
        return center**c


POWER = PowerLaw("power", "y = E + A x^-c", "free")
POWER_ZERO = PowerLaw("power0", "y = E + A x^-c, E zero loss", "zero")
POWER_KNOWN = PowerLaw("power-known-floor", "y = E + A x^-c, E known", "known")
