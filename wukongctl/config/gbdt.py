"""LightGBM's page of a training recipe: the opponent that is no network."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from wukongctl.config.spec import Mistake, NonNegativeFloat, PositiveFloat, PositiveInt, Spec

Share = Annotated[float, Field(gt=0, le=1)]


class LightGBMSpec(Spec):
    """LightGBM (Ke et al. 2017): boosted decision trees on the prepared table. Keys and defaults are its own,
    but for `categorical`. Needs the extra `gbdt`."""

    name: Literal["lightgbm"]
    categorical: Literal["native", "ordered"] = "native"
    """`native`: categorical features are split as LightGBM splits categories. `ordered`: their ids are
    numbers, most frequent value first, which overfits less where a column has many values."""
    num_iterations: PositiveInt = 100
    """Trees. All are kept, unless `early_stopping.patience` asks to stop by the validation split."""
    learning_rate: PositiveFloat = 0.1
    """Factor on each tree."""
    num_leaves: Annotated[int, Field(gt=1, le=131072)] = 31
    """Most leaves of a tree."""
    max_depth: PositiveInt | None = None
    """Most levels of a tree; absent: no limit."""
    min_data_in_leaf: Annotated[int, Field(ge=0)] = 20
    """Fewest rows of a leaf."""
    min_sum_hessian_in_leaf: NonNegativeFloat = 1e-3
    """Smallest sum of p (1 - p) over the rows of a leaf."""
    min_gain_to_split: NonNegativeFloat = 0.0
    """A split must lower the loss by more than this."""
    lambda_l1: NonNegativeFloat = 0.0
    """L1 on the values of leaves."""
    lambda_l2: NonNegativeFloat = 0.0
    """L2 on the values of leaves."""
    path_smooth: NonNegativeFloat = 0.0
    """Pulls small leaves towards their parent; needs `min_data_in_leaf` of 2 or more."""
    feature_fraction: Share = 1.0
    """Share of the columns that each tree may use."""
    bagging_fraction: Share = 1.0
    """Share of the rows that a tree is grown on; works with `bagging_freq`."""
    bagging_freq: Annotated[int, Field(ge=0)] = 0
    """Draw those rows anew every so many trees; 0: no bagging."""
    extra_trees: bool = False
    """Try one random threshold per column instead of all."""
    max_bin: Annotated[int, Field(gt=1, le=65535)] = 255
    """Most bins of a numeric column."""
    min_data_in_bin: PositiveInt = 3
    """Fewest rows of a bin; a categorical value with fewer counts as missing."""
    min_data_per_group: PositiveInt = 100
    """Fewest rows of a group of categorical values."""
    max_cat_threshold: PositiveInt = 32
    """Most values on the smaller side of a categorical split."""
    max_cat_to_onehot: PositiveInt = 4
    """Columns of so many values or fewer are split one value against the rest."""
    cat_l2: NonNegativeFloat = 10.0
    """L2 in categorical splits."""
    cat_smooth: NonNegativeFloat = 10.0
    """Smooths the rate of a value before values are sorted by it; those with fewer rows are not sorted."""

    @property
    def needs_two_rows(self) -> bool:
        """Trees have no BatchNorm."""
        return False

    def _mistakes(self) -> Iterator[Mistake]:
        if self.bagging_fraction < 1 and not self.bagging_freq:
            what = "`bagging_fraction` does nothing while `bagging_freq` is 0"
            yield Mistake(what, ("bagging_fraction",), "add `bagging_freq: 1`", others=(("bagging_freq",),))
        if self.path_smooth and self.min_data_in_leaf < 2:
            what = "`path_smooth` needs `min_data_in_leaf` of 2 or more"
            yield Mistake(what, ("path_smooth",), others=(("min_data_in_leaf",),))
