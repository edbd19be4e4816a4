"""Errors cross process borders whole."""

import pickle

import pytest

from wukongctl.errors import (
    CheckFailed,
    Interrupted,
    Problem,
    RecipeError,
    RunFailed,
    UsageError,
    WukongError,
)

PROBLEM = Problem("unknown key", "r.yaml", 3, 1, hint="did you mean `lr`?")


@pytest.mark.parametrize(
    "error",
    [
        UsageError("there is no run", hint="start one"),
        RunFailed("the loss is not finite"),
        RecipeError([PROBLEM, PROBLEM], hint="fix both"),
        CheckFailed("a checksum differs", problems=(PROBLEM,)),
        Interrupted("interrupted by SIGTERM", signal_number=15, hint="resume"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_pickled_error_is_equal(error: WukongError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
    assert copy.exit_code == error.exit_code
