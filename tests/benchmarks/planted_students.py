"""What students with the first D components of `planted-64` lose: of all orders, and of the pairs alone.

    python tests/benchmarks/planted_students.py

Beside each excess is the lowest of logits a + b z, for the same student z: what was left out of the logit
makes the best slope less than 1. One core, half a minute.
"""

from dataclasses import replace

import numpy as np
from scipy.optimize import minimize

from tests.benchmarks.planted_law import TEST, divergence
from wukongctl.config import library, loading
from wukongctl.config.dataset import DatasetSpec
from wukongctl.data.synthetic import spectrum_teacher


def main() -> None:
    """One line per number of components."""
    spec = loading.load(library.find("planted-64", "datasets"), DatasetSpec).generator
    assert spec is not None
    teacher = spectrum_teacher.plant(spec)
    values = teacher.values(np.random.default_rng(1), TEST)
    p = teacher.probability(values)
    for count in (2, 3, 4, 6, 9, 13, 14, 20, 32, spec.rank):
        student = teacher.truncated(count)
        pairs = replace(student, windows=())
        print(
            f"{count:2} components: all orders {divergence(p, student.probability(values)):.4f}"
            f" ({calibrated(p, student.planted(values)):.4f}),"
            f" pairs {divergence(p, pairs.probability(values)):.4f}"
            f" ({calibrated(p, pairs.planted(values)):.4f})"
        )


def calibrated(p: np.ndarray, logit: np.ndarray) -> float:
    """The lowest excess of a + b logit."""

    def excess(line: np.ndarray) -> float:
        q = 1 / (1 + np.exp(-line[0] - line[1] * logit))
        return divergence(p, np.clip(q, 1e-9, 1 - 1e-9))

    return float(minimize(excess, [-0.5, 1.0], method="Nelder-Mead").fun)


if __name__ == "__main__":
    main()
