"""The names that `wukongctl` imports when they are first used, for type checkers and editors."""

from wukongctl.api.datasets import Dataset, load
from wukongctl.api.laws import Law, fit_law
from wukongctl.api.networks import build, flops
from wukongctl.api.preparation import prepare
from wukongctl.api.runs import Run, train

__version__: str
__all__ = ["Dataset", "Law", "Run", "build", "fit_law", "flops", "load", "prepare", "train"]
