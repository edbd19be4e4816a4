import math

import pytest

from wukongctl.config.training import EarlyStopping, ScheduleSpec
from wukongctl.training.schedules import Watch, factor


def curve(total: int, **keys: object) -> list[float]:
    spec = ScheduleSpec.from_dict(keys)
    return [factor(spec, step, total) for step in range(total)]


def test_warmup_rises_linearly_to_one_and_stays() -> None:
    assert curve(10, warmup=0.4) == pytest.approx([0.25, 0.5, 0.75, 1.0, 1, 1, 1, 1, 1, 1])


def test_linear_falls_towards_zero() -> None:
    assert curve(4, decay="linear") == pytest.approx([1, 0.75, 0.5, 0.25])


def test_cosine_is_half_way_in_the_middle() -> None:
    values = curve(8, decay="cosine", min_factor=0.1)
    assert values[4] == pytest.approx(0.5)
    assert values[7] == pytest.approx(max(0.1, 0.5 * (1 + math.cos(math.pi * 7 / 8))))
    assert min(values) == pytest.approx(0.1)


def test_plateau_shrinks_without_improvement_down_to_its_minimum() -> None:
    watch = Watch()
    stopping = EarlyStopping(metric="auc", patience=3)
    schedule = ScheduleSpec(decay="plateau", factor=0.1, min_factor=0.05)
    history = []
    for step, value in enumerate([0.5, 0.6, 0.6, 0.7, 0.65, 0.69, 0.69]):
        best = watch.update(value, step, stopping, schedule)
        history.append((best, watch.plateau, watch.exhausted(stopping)))
    assert [best for best, _, _ in history] == [True, True, False, True, False, False, False]
    assert [plateau for _, plateau, _ in history] == pytest.approx([1, 1, 0.1, 0.1, 0.05, 0.05, 0.05])
    assert [done for *_, done in history] == [False] * 6 + [True]
    assert (watch.best, watch.best_step) == (0.7, 3)
    assert factor(schedule, 5, 10, watch.plateau) == pytest.approx(0.05)


def test_lower_is_better_for_logloss_and_tiny_gains_do_not_count() -> None:
    watch, stopping = Watch(), EarlyStopping(metric="logloss", min_delta=1e-3)
    values = [0.5, 0.4995, 0.4, 0.41]
    assert [watch.update(v, i, stopping, ScheduleSpec()) for i, v in enumerate(values)] == [
        True, False, True, False,
    ]  # fmt: skip
    assert not watch.exhausted(stopping)  # no patience set: train to the end
