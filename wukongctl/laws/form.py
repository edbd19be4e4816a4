"""The form of a law: y = level + amplitude g(x; c), where g falls with x.

A new form is a subclass in a file of its own, its instance in `forms.FORMS` and its name in
`config.report.FormName`. Fits, intervals, gates and reports get everything else from the object.
"""

from abc import ABC, abstractmethod
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wukongctl.config.report import FormName

Array: TypeAlias = NDArray[np.float64]
Floor: TypeAlias = Literal["free", "zero", "known"]


class Form(ABC):
    """One form; `equation` is shown in reports.

    With `exponents`, the ascending values of c to search, the parameters are E (where the floor is free), A
    and c, and E >= zero loss and A >= 0 hold. Without, g has no c: the form is a line p + q (-g) without
    floor or bounds.
    """

    name: FormName
    equation: str
    floor: Floor | None = None
    exponents: Array | None = None

    @abstractmethod
    def basis(self, x: Array, c: float | Array) -> Array:
        """g(x; c), broadcast."""

    def basis_at_log(self, log_x: Array, c: float | Array) -> Array:
        """g from ln x, broadcast; override it where this is cheaper."""
        return self.basis(np.exp(log_x), c)

    def decay(self, x: Array, c: float | Array) -> Array:
        """Minus the derivative of ln g by c, broadcast; override it where there is a closed form."""
        step = 1e-6 * c
        below, above = np.log(self.basis(x, c - step)), np.log(self.basis(x, c + step))
        return (below - above) / (2 * step)

    def center(self, x: Array) -> float:  # noqa: ARG002 some forms need it
        """The value that x is divided by for the fit, to decorrelate level, amplitude and c."""
        return 1.0

    def scale(self, c: float | Array, center: float) -> float | Array:  # noqa: ARG002 some forms need it
        """The factor from the amplitude of x / center to the amplitude of x."""
        return np.ones_like(c)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of the equation."""
        if self.exponents is None:
            return "p", "q"
        return ("E", "A", "c") if self.floor == "free" else ("A", "c")

    @property
    def has_free_level(self) -> bool:
        """Whether the level is fitted."""
        return self.floor in ("free", None)

    def linear(self, c: Array, center: float) -> dict[str, tuple[Array, Array]]:
        """Parameter → (u, s), where it equals u level + s amplitude for exponents c: (C,) each."""
        one, nothing = np.ones_like(c), np.zeros_like(c)
        if self.exponents is None:
            return {"p": (one, self.basis_at_log(np.log(1 / center), c)), "q": (nothing, -one)}
        floor = {"E": (one, nothing)} if self.floor == "free" else {}
        return {**floor, "A": (nothing, np.asarray(self.scale(c, center)))}

    def __repr__(self) -> str:
        return f"<form {self.name}>"


def geometric_mean(x: Array) -> float:
    """The geometric mean of x."""
    return float(np.exp(np.mean(np.log(x))))
