"""A straight line in ln x: y = p + q ln x. The baseline that a law has to beat."""

import numpy as np

from wukongctl.laws.form import Array, Form, geometric_mean


class LogLinear(Form):
    """The log-linear form; p is the value at x = 1."""

    name = "loglin"
    equation = "y = p + q ln x"

    def basis(self, x: Array, c: float | Array) -> Array:
        """-ln x."""
        return self.basis_at_log(np.log(x), c)

    def basis_at_log(self, log_x: Array, c: float | Array) -> Array:
        """-ln x."""
        return -(np.ones_like(c) * log_x)

    def center(self, x: Array) -> float:
        """The geometric mean."""
        return geometric_mean(x)


LOG_LINEAR = LogLinear()
