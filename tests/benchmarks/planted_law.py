"""The exponents of the teacher `spectrum`, from students for which theory gives them.

    python tests/benchmarks/planted_law.py

Prints the excess of students with the first n components of `planted-law`, and of logistic regressions on a
growing number of rows, whose features are the components: the best number of them at each number of rows. One
core, about two minutes.
"""

import numpy as np

from wukongctl.config import library, loading
from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.generator import Generator
from wukongctl.data.synthetic import spectrum_teacher
from wukongctl.data.synthetic.spectrum_teacher import SpectrumTeacher

ROWS = 409_600
TEST = 100_000


def main() -> None:
    """Both laws, for the shipped recipe and for other exponents."""
    shipped = loading.load(library.find("planted-law", "datasets"), DatasetSpec).generator
    assert shipped is not None
    for alpha in (0.5, 1.0, 1.5):
        spec = shipped.model_copy(update={"alpha": alpha})
        size_law(f"planted-law, alpha {alpha}", spec, (1, 2, 4, 8, 16, 32))
    pairs = Generator(
        rows=1, teacher="spectrum", fields=8, min_values=512, max_values=512, rank=511,
        variance={"order2": 1.0},
    )  # fmt: skip
    for alpha in (0.5, 1.0, 1.5):
        spec = pairs.model_copy(update={"alpha": alpha})
        size_law(f"pairs alone, 511 components, alpha {alpha}", spec, (1, 2, 4, 8, 16, 32))
        data_law(f"pairs alone, 511 components, alpha {alpha}", spec)


def size_law(name: str, spec: Generator, sizes: tuple[int, ...]) -> None:
    """Excess of the students of `sizes` components."""
    teacher = spectrum_teacher.plant(spec)
    values = teacher.values(np.random.default_rng(1), TEST)
    p = teacher.probability(values)
    excess = [divergence(p, teacher.truncated(size).probability(values)) for size in sizes]
    left = [1 - float((teacher.scales[:size] ** 2).sum()) for size in sizes]
    print(f"{name}: size")
    for size, loss, share in zip(sizes, excess, left, strict=True):
        theory = 0.5 * np.mean(p * (1 - p)) * sum(spec.planted.values()) * share
        print(f"  n {size:3} excess {loss:.5f} theory {theory:.5f}")
    places = np.array(sizes) + 0.5
    found, exact = slope(places, excess), slope(places, left)
    print(f"  exponent {found:.3f}, of the variance left {exact:.3f}, planted {spec.decay}")


def data_law(name: str, spec: Generator) -> None:
    """Excess of the best regression at each number of rows."""
    teacher, rng = spectrum_teacher.plant(spec), np.random.default_rng(2)
    values = teacher.values(rng, ROWS + TEST)
    p = teacher.probability(values)
    label = rng.random(len(p)) < p
    x = np.hstack([np.ones((len(p), 1)), components(teacher, values, 192)])
    counts, best = [1_600 * 4**step for step in range(5)], []
    print(f"{name}: data")
    for rows in counts:
        sizes = [size for size in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192) if size < rows / 8]
        found = [
            divergence(p[ROWS:], fitted(x[:rows, : size + 1], label[:rows], x[ROWS:, : size + 1]))
            for size in sizes
        ]
        best.append(min(found))
        print(f"  N {rows:6} best n {sizes[int(np.argmin(found))]:3} excess {best[-1]:.5f}")
    theory = spec.decay / (1 + spec.decay)
    print(f"  exponent {slope(np.array(counts), best):.3f}, theory {theory:.3f}")


def components(teacher: SpectrumTeacher, values: list[np.ndarray], count: int) -> np.ndarray:
    """Σ_S Π_{f ∈ S} e_fr of the pairs, scaled to variance 1, (rows, count)."""
    total = np.zeros((len(values[0]), count))
    for x, y in teacher.pairs:
        total += teacher.bases[x][values[x], :count] * teacher.bases[y][values[y], :count]
    return total / np.sqrt(len(teacher.pairs))


def fitted(x: np.ndarray, label: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Probabilities for `new` of the logistic regression of `label` on `x`, by Newton's method."""
    weights = np.zeros(x.shape[1])
    for _ in range(6):
        q = 1 / (1 + np.exp(-x @ weights))
        weights += np.linalg.solve((x.T * (q * (1 - q))) @ x, x.T @ (label - q))
    return 1 / (1 + np.exp(-new @ weights))


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Mean KL divergence of Bernoulli distributions."""
    return float(np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))))


def slope(x: np.ndarray, y: list[float]) -> float:
    """The exponent c of y = a x^-c."""
    return -float(np.polyfit(np.log(x), np.log(np.array(y)), 1)[0])


if __name__ == "__main__":
    main()
