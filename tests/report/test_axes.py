from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from wukongctl.report.axes import limit_y, log_ticks, signed, spread


@given(low=st.floats(1e-9, 1e6), factor=st.floats(1.3, 1e7))
def test_a_logarithmic_axis_has_a_few_round_ticks(low: float, factor: float) -> None:
    axes = Figure().add_subplot()
    axes.set_xscale("log")
    axes.set_xlim(low, low * factor)
    log_ticks(axes, "x")
    ticks = axes.xaxis.get_majorticklocs()
    assert 2 <= len(ticks) <= 16
    assert all(low <= tick <= low * factor for tick in ticks)
    assert all(float(f"{tick:.2g}") == pytest.approx(tick) for tick in ticks)


@pytest.mark.parametrize("inches", [2.0, 4.4, 8.2])
def test_tick_labels_do_not_touch(inches: float) -> None:
    figure = Figure(figsize=(inches, 3.0))
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.set_xlim(20, 20_000)
    log_ticks(axes, "x")
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert len(boxes) >= 2
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert {100, 1_000} <= {round(tick) for tick in axes.xaxis.get_majorticklocs()}


def test_limits_follow_the_losses_and_survive_a_single_one() -> None:
    axes = Figure().add_subplot()
    limit_y(axes, [1.0, 2.0], logarithmic=False)
    assert axes.get_ylim() == pytest.approx((0.86, 2.14))
    limit_y(axes, [1.0, 1.0], logarithmic=False)
    low, high = axes.get_ylim()
    assert low < 1 < high


def test_numbers_have_a_sign_and_zero_has_none() -> None:
    assert [signed(value, None) for value in (0.5, -0.25, 0.0, -1e-17)] == ["+0.5", "−0.25", "0", "0"]


def test_labels_that_would_overlap_are_moved_apart() -> None:
    moved = spread([0.5, 0.5, 0.52, 0.9], 0.1)
    assert np.all(np.diff(moved) >= 0.1 - 1e-12)
    assert moved[3] == 0.9
    assert np.mean(moved[:3]) == pytest.approx(np.mean([0.5, 0.5, 0.52]))
    assert spread([0.1, 0.4], 0.1) == [0.1, 0.4]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0.001, 0.2))
def test_labels_stay_between_the_ends(heights: list[float], gap: float) -> None:
    moved = spread(sorted(heights), gap, ends=(0.0, 1.0))
    assert all(-1e-9 <= at <= 1 + 1e-9 for at in moved)
    least = min(gap, 1 / max(1, len(heights) - 1))
    assert all(upper - lower >= least - 1e-9 for lower, upper in pairwise(moved))
