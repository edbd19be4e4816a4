"""Split boundaries, by hand."""

from hypothesis import given
from hypothesis import strategies as st

from wukongctl.config.dataset import boundaries


def test_criteo_kaggle_is_divided_as_published() -> None:
    first, second, last = boundaries(45_840_617, {"train": 12, "valid": 1, "test": 1})
    assert (first, second - first, last - second) == (39_291_958, 3_274_330, 3_274_329)


def test_order_of_names_in_the_recipe_does_not_matter() -> None:
    assert boundaries(10, {"test": 1, "train": 8, "valid": 1}) == (8, 9, 10)


@given(rows=st.integers(0, 10**12), train=st.integers(1, 99), test=st.integers(1, 99))
def test_every_row_has_a_split(rows: int, train: int, test: int) -> None:
    first, last = boundaries(rows, {"train": train, "test": test})
    assert last == rows
    assert 0 <= first - rows * train / (train + test) < 1 + rows * 1e-15
