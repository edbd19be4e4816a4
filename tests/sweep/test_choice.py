"""The best trial of a search, determined by hand."""

from wukongctl.config.sweep import Search
from wukongctl.sweep.choice import choose

GRID = Search(grid={"lr": (0.1, 0.2, 0.3), "flag": (True, False)})


def test_lowest_logloss_and_highest_auc() -> None:
    values = [0.5, 0.4, 0.3, 0.6, 0.7, 0.35]
    low, high = choose(GRID, "logloss", values), choose(GRID, "auc", values)
    assert low is not None
    assert high is not None
    assert (low.index, low.value, low.at_edge) == (2, 0.3, ())
    assert low.why == "lowest valid logloss of 6 trials with seed 0"
    assert (high.index, high.at_edge) == (4, ("lr",))


def test_a_trial_without_a_result_is_never_chosen_and_is_reported() -> None:
    found = choose(GRID, "logloss", [None, 0.4, None, None, 0.4, None])
    assert found is not None
    assert found.index == 1  # the first of equals
    assert found.why.endswith("4 of them without a result")


def test_without_results_nothing_is_chosen() -> None:
    assert choose(GRID, "logloss", [None] * 6) is None


def test_listed_settings_have_no_edge() -> None:
    found = choose(Search(settings=({"lr": 1}, {"lr": 2}, {"lr": 3})), "auc", [1.0, 0.5, 0.5])
    assert found is not None
    assert found.at_edge == ()
