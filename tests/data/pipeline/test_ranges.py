"""Numbers outside the range of train, with and without a good reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.data.test_prepare import own, run
from wukongctl.config.dataset import DatasetSpec
from wukongctl.data import manifest as manifests
from wukongctl.data.pipeline.ranges import RangeDrift

ROWS = 1200
Check = Callable[..., RangeDrift]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Prepare a table whose `x` are the known numbers, then count new ones."""

    def ranges(known: np.ndarray, new: np.ndarray, **numeric: Any) -> RangeDrift:
        lines = [f"{i % 2},{value!r}" for i, value in enumerate(known.tolist())]
        (tmp_path / "clicks.csv").write_text("\n".join(["label,x", *lines]) + "\n")
        group = {"type": "numeric", "columns": ["x"], **numeric}
        split = {"by": "order", "ratio": {"train": 4, "valid": 1, "test": 1}}
        run(own(name="clicks", split=split, features=[group]), tmp_path, tmp_path)
        manifest = manifests.read(tmp_path / "clicks")
        (feature,) = (feature for feature in manifest.features if feature.of is None)
        spec = DatasetSpec.from_dict(manifest.recipe)
        scale = (feature.mean, feature.std)
        found = RangeDrift.of(spec, [scale], manifest.statistics, tmp_path / "clicks")
        values = np.log1p(np.maximum(new, 0)) if numeric.get("transform") == "log1p" else new
        if feature.mean is not None and feature.std is not None:
            values = (values - feature.mean) / feature.std
        found.count(pa.table({"x": pa.array(values.astype(np.float32))}))
        return found

    return ranges


@pytest.fixture
def prices() -> np.ndarray:
    """Heavy-tailed, as money is: the largest are a thousand times the median."""
    return np.random.default_rng(0).lognormal(6, 1.5, ROWS).round(2)


@pytest.mark.parametrize("numeric", [{}, {"transform": "log1p"}])
def test_a_hundredfold_is_an_alarm_where_many_values_have_a_coarse_histogram(
    check: Check, numeric: dict[str, Any]
) -> None:
    many = np.random.default_rng(1).lognormal(6, 1.5, 7200).round(2)
    assert len(check(many, many[-1200:] * 100, **numeric).alarms()) == 1
    assert check(many, many[-1200:], **numeric).alarms() == []


@pytest.mark.parametrize("factor", [100, 1000])
@pytest.mark.parametrize("numeric", [{}, {"standardize": False}, {"transform": "log1p"}])
def test_another_unit_is_an_alarm(
    check: Check, prices: np.ndarray, factor: int, numeric: dict[str, Any]
) -> None:
    assert check(prices, prices[-200:], **numeric).alarms() == []
    found = check(prices, prices[-200:] * factor, **numeric)
    (message,) = found.alarms()
    assert f"{prices[:800].max():.6g}"[:5] in message
    assert found.notes() == [message]


def test_a_fifth_outside_is_a_note_and_the_largest_values_alone_are_not(
    check: Check, prices: np.ndarray
) -> None:
    some = np.concatenate([prices[:80], np.full(20, 1e7)])
    found = check(prices, some)
    assert len(found.notes()) == 1
    assert found.alarms() == []
    largest = check(prices, np.sort(prices[:800])[-30:])  # unusual, and yet within the range
    assert largest.alarms() == largest.notes() == []


@pytest.mark.parametrize(
    ("known", "new"),
    [
        (np.full(ROWS, 5.0), np.full(50, 7.0)),  # constant: the model never learned from it
        (np.arange(ROWS) % 6 + 1.0, np.full(50, 7.0)),  # a seventh month
        (np.arange(ROWS) * 1.0, np.arange(50) + 1e4),  # grows with the order of the split
        (np.arange(ROWS) % 100 * 1.0, np.full(19, 1e6)),  # too few to judge
    ],
    ids=["constant", "whole", "time", "few"],
)
def test_expected_changes_are_not_reported(check: Check, known: np.ndarray, new: np.ndarray) -> None:
    found = check(known, new)
    assert found.alarms() == found.notes() == []
