"""Errors as a traceback shows them: with the problems and the hint that the command line prints."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from wukongctl.errors import WukongError

P = ParamSpec("P")
R = TypeVar("R")


def explained(function: Callable[P, R]) -> Callable[P, R]:
    """Add problems and hint, as notes, to the errors of this package that `function` raises."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except WukongError as error:
            if not getattr(error, "__notes__", None):
                for note in (*map(str, error.problems), *([f"hint: {error.hint}"] if error.hint else [])):
                    error.add_note(note)
            raise

    return call
