"""The hint after a run diverged."""

from pathlib import Path
from typing import Any

import pytest

from tests.training.test_design import manifest
from wukongctl.data.manifest import Manifest
from wukongctl.training.divergence import SLOWER, remedy


def hint(**feature: Any) -> str:
    ends = {key: feature.pop(key) for key in ("minimum", "maximum") if key in feature}
    features = [{"name": "calm", "type": "numeric"}, {"name": "x", "type": "numeric", **feature}]
    known = {"calm": {"missing": {}, "minimum": -3.0, "maximum": 9.0}, "x": {"missing": {}, **ends}}
    page = manifest().to_dict() | {"features": features, "statistics": {"label_rate": {}, "features": known}}
    return remedy(Manifest.from_dict(page), Path("data/d"))


@pytest.mark.parametrize("ends", [{"maximum": 5e6, "minimum": 0.0}, {"maximum": 1.0, "minimum": -5e6}])
def test_unscaled_feature_is_named(ends: dict[str, float]) -> None:
    assert hint(**ends) == (
        "`x` is not scaled and reaches 5e+06: set `standardize: true` for it in the recipe of dataset `d`, "
        "then run `wukongctl prepare` with `--force`"
    )


def test_long_tailed_feature_is_named_although_it_is_scaled() -> None:
    said = hint(minimum=-0.1, maximum=2500.0, mean=4.0, std=2.0)
    assert said.startswith(
        "`x` reaches 2.5e+03 standard deviations: set `encoding: bins` or `transform: log1p`"
    )


def test_otherwise_learning_rates_are_named() -> None:
    assert hint(minimum=-4.0, maximum=80.0) == SLOWER
    assert hint() == SLOWER
    assert hint(maximum=1e18, encoding="bins") == SLOWER  # models read its bins alone
    assert remedy(manifest(), Path("data/d")) == SLOWER
